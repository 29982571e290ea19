/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_LOCK_H
#define KV_LOCK_H

/*
 * kv/lock.h - a test-and-set lock, kept under a key of the store.
 *
 * The key holds "__unlocked" or the id of the handle that holds the lock. A handle is one
 * contender: threads that exclude each other open one each. A handle is used by one thread at a
 * time. The version at which a lock was acquired is its fencing token: it grows with every
 * acquisition, so whatever the lock guards can refuse those that come late.
 *
 * What will hurt you:
 *  - There is no lease. A holder that dies keeps the lock until somebody writes "__unlocked" to
 *    the key ("kvctl lock NAME --break"). So does a handle that is closed while it holds the lock,
 *    or after KV_MAYBE, when a Put of its may still arrive: settle it first.
 *  - A handle that holds the lock does not ask again: if somebody broke it, the handle learns that
 *    at its release. The token is what protects.
 *  - The key belongs to its locks: do not write, append to or delete it.
 *  - A memory-only server that starts anew has forgotten its locks, held or not, and tokens begin
 *    anew. A handle that held one learns that at its release (KV_BADSESSION), and others may hold
 *    it by then; it never gives back theirs.
 *  - In a forked child a handle holds nothing, and acquire, try and release answer KV_INVALID.
 */

#include <stdint.h>

#include <kv/kv.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kv_lock;

/*
 * Makes a handle for the lock `name` (a key, 1 to 1024 bytes, copied) in *lock, to be closed with
 * kv_lock_close() before `client` is. Its calls go over a view of `client`, with the time limit
 * that `client` has now. Nothing is sent yet. KV_INVALID: no name, or one too long, or a forked
 * child. KV_NOMEM: no memory, or the kernel has no random bits for the id.
 */
enum kv_status kv_lock_open(struct kv_client *client, struct kv_bytes name, struct kv_lock **lock);

/* Frees the handle, in a forked child too. Does not release the lock. NULL is fine. */
void kv_lock_close(struct kv_lock *lock);

/*
 * Takes the lock, waiting for it at most timeout_ms (0 = for ever, each call with the client's own
 * limit). KV_OK: held, kv_lock_token() tells the token; at once if this handle holds it already.
 *
 * Nobody queues. But a handle that takes it over and over, and met others who want it, leaves it
 * alone for 10 ms now and then, so that each has a turn.
 *
 * KV_TIMEOUT: not held, and no write of this handle can take it any more. To make sure of that may
 * take up to a second longer. KV_MAYBE: there was no making sure; the handle goes on with it at
 * its next use (acquire, try or release). KV_INVALID: the key holds what no lock writes. Other
 * statuses as kv_put(): not held, and as sure as KV_TIMEOUT.
 */
enum kv_status kv_lock_acquire(struct kv_lock *lock, unsigned timeout_ms);

/*
 * Takes the lock if it is free, without waiting for a holder: KV_OK; KV_BUSY if another holds it,
 * or was quicker each time; else as kv_lock_acquire(). Each call has the client's own limit.
 */
enum kv_status kv_lock_try(struct kv_lock *lock);

/*
 * Gives the lock back; each call has the client's own limit.
 *
 * KV_OK: this handle holds it no longer. KV_NOTHELD: it did not hold it (never, no longer, or
 * somebody broke the lock); nothing was changed. KV_MAYBE: it may still stand as held; release
 * again, or acquire, and the handle finds out. KV_BADSESSION: the store that held it is gone, and
 * the handle holds nothing. Other statuses as kv_put(): still held.
 */
enum kv_status kv_lock_release(struct kv_lock *lock);

/* The fencing token of the lock that this handle holds; 0 if it holds none. */
uint64_t kv_lock_token(const struct kv_lock *lock);

/* This handle's id, as it stands in the key: 128 random bits as 32 hexadecimal digits. */
const char *kv_lock_id(const struct kv_lock *lock);

/*
 * Writes "__unlocked" at the version read, whoever holds the lock: for a holder that died. Done
 * though it be free, so that no write sent before it can take the lock any more. KV_NOKEY: there
 * is no such lock; KV_VERSION: it changed hands meanwhile; KV_INVALID: no name, one too long, or
 * the key holds what no lock writes. Other statuses as kv_put().
 */
enum kv_status kv_lock_break(struct kv_client *client, struct kv_bytes name);

#ifdef __cplusplus
}
#endif

#endif

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
 * What will hurt you: there is no lease. A holder that dies keeps the lock until somebody writes
 * "__unlocked" to the key ("kvctl lock NAME --break").
 */

#include <stdint.h>

#include <kv/kv.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kv_lock;

/*
 * Makes a handle for the lock `name` (a key, 1 to 1024 bytes, copied) in *lock, to be closed with
 * kv_lock_close() before `client` is. Nothing is sent yet. KV_INVALID: no name, or one too long.
 * KV_NOMEM.
 */
enum kv_status kv_lock_open(struct kv_client *client, struct kv_bytes name, struct kv_lock **lock);

/* Frees the handle. Does not release the lock. NULL is fine. */
void kv_lock_close(struct kv_lock *lock);

/*
 * Takes the lock, waiting for it at most timeout_ms (0 = for ever). KV_OK: held, kv_lock_token()
 * tells the token; at once if this handle holds it already.
 *
 * KV_TIMEOUT: not held, and no write of this handle can take it any more. KV_MAYBE: time was up
 * and the server could not be reached to make sure of that; the handle finds out at its next use.
 * KV_INVALID: the key holds what no lock writes. Other statuses as kv_put(): not held.
 */
enum kv_status kv_lock_acquire(struct kv_lock *lock, unsigned timeout_ms);

/* Takes the lock if it is free: KV_OK; KV_BUSY if another holds it; else as kv_lock_acquire(). */
enum kv_status kv_lock_try(struct kv_lock *lock);

/*
 * Gives the lock back. KV_NOTHELD: this handle does not hold it; nothing was changed. KV_MAYBE: it
 * may still be held; release again, or acquire, and the handle finds out.
 */
enum kv_status kv_lock_release(struct kv_lock *lock);

/* The fencing token of the lock that this handle holds; 0 if it holds none. */
uint64_t kv_lock_token(const struct kv_lock *lock);

/* This handle's id, as it stands in the key: 128 random bits as 32 hexadecimal digits. */
const char *kv_lock_id(const struct kv_lock *lock);

/*
 * Writes "__unlocked" at the version read, whoever holds the lock: for a holder that died. KV_OK,
 * also if it was free; KV_NOKEY: there is no such lock; KV_VERSION: it changed hands meanwhile;
 * KV_INVALID: the key holds what no lock writes. Other statuses as kv_put().
 */
enum kv_status kv_lock_break(struct kv_client *client, struct kv_bytes name);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_LOCK_H
#define KV_LOCK_H

/*
 * kv/lock.h - a lock with fencing tokens, stored under a key, first come first served.
 *
 * The key holds "__unlocked" or the id of the handle that holds the lock. A handle is one
 * contender: threads that exclude each other open one each. A handle is used by one thread at a
 * time, but for kv_lock_interrupt(). The version at which a lock was acquired is its fencing token:
 * it grows with every acquisition, so a resource that the lock guards can refuse a holder that
 * comes too late.
 *
 * With kv_lock_set_ttl() the lock has a lease: of a holder that died, or lost the server, it is
 * free again that time later. The holder renews it, and can tell by its own clock when it may have
 * lost it. No thread of the library's own does that, and it calls nothing back.
 *
 * What will hurt you:
 *  - Without a ttl a holder that dies keeps the lock until it is broken ("kvctl lock NAME
 *    --break"). So does a handle that is closed while it holds the lock, or after KV_MAYBE, when
 *    its call may still arrive: acquire, try or release first.
 *  - A holder that is stopped for longer than its lease does not know it. Only the token protects
 *    the resource: kv_lock_fence() for what is stored in kv.
 *  - A handle that holds the lock does not ask again: that the lock was broken is reported by its
 *    release, and by kv_lock_renew().
 *  - The key belongs to its locks: do not write, append to or delete it. All that share a lock with
 *    a ttl need a libkv that knows of it.
 *  - A memory-only server that is restarted has lost its locks, and tokens restart at 1. A handle
 *    that held one gets KV_BADSESSION from its release, and others may hold the lock by then; it
 *    never releases theirs.
 *  - In a forked child a handle holds nothing, and acquire, try, renew and release return
 *    KV_INVALID.
 */

#include <stdbool.h>
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
 * Gives the lock that the next acquire or try takes a lease of ttl_ms; 0, as at first: none, the
 * lock is held until it is released. Needs a session. KV_INVALID: the handle holds the lock, or an
 * outcome is unknown (KV_MAYBE), or a forked child.
 */
enum kv_status kv_lock_set_ttl(struct kv_lock *lock, unsigned ttl_ms);

/* What a handle excludes while it holds the lock. */
enum kv_lock_mode {
	KV_LOCK_SIMPLE, /* as at first: all others; for a lock that has no shares */

	/* A share: those that are no shares. Any number of handles may have one. */
	KV_LOCK_SHARED,

	/* All others, beside shares. */
	KV_LOCK_EXCLUSIVE,
};

/*
 * Chooses what the next acquire or try takes: readers a share, writers KV_LOCK_EXCLUSIVE. Both wait
 * in one line, so neither starves: a handle that excludes shares is given the lock in its turn,
 * from then on no share is, and it waits until those that are there were released or their leases
 * ended.
 *
 * A share is the key NAME "/__share/" ID, which is what kv_lock_fence() and kv_lock_renew() of its
 * handle are about; its token is of use with its own key only. Without a ttl a share of a holder
 * that died stays until that key is broken. Needs a session, and a server with transactions
 * (KV_UNAVAILABLE). A handle that has a share cannot make it exclusive: release first. A try that
 * finds shares may make tries of others return KV_BUSY for a moment.
 *
 * KV_INVALID: as kv_lock_set_ttl(), or the share's key would be longer than KV_KEY_MAX.
 */
enum kv_status kv_lock_set_mode(struct kv_lock *lock, enum kv_lock_mode mode);

/* Bytes in a note, at most. */
#define KV_LOCK_NOTE_MAX 512

/*
 * Gives the lock a note of its holder, for people (kv_lock_inspect()), which the next acquire or
 * try writes under the key NAME "/__note" and the release deletes; copied. With it stands since
 * when the lock is held. `data` NULL: as kv_lock_describe(lock, NULL). `data` and size 0: none, as
 * at first, and no second key. A note needs a session; without one (and with an older server) none
 * is written.
 *
 * KV_INVALID: longer than KV_LOCK_NOTE_MAX, or the key would be longer than KV_KEY_MAX, or as
 * kv_lock_set_ttl().
 */
enum kv_status kv_lock_set_note(struct kv_lock *lock, struct kv_bytes note);

/*
 * Gives the lock a note of host, process, user, the program that it is held for (a path; NULL: this
 * one) and the time, as they are now. Returns what kv_lock_set_note() does.
 */
enum kv_status kv_lock_describe(struct kv_lock *lock, const char *program);

/*
 * Takes the lock, waiting for it at most timeout_ms (0 = for ever). KV_OK: held, kv_lock_token() is
 * the token; at once if this handle holds it already, which is renewed first if less than half of
 * its lease is left. A lock that is missing is a free one.
 *
 * It waits on the server, which hands the lock over in the order of coming, so a release costs the
 * next holder no pause. Where the server cannot let it wait (over udp, a stateless client, a server
 * older than this library) it looks again and again, with pauses of up to a second, there is no
 * order, and a handle that keeps re-acquiring a contended lock pauses for 10 ms from time to time.
 *
 * KV_TIMEOUT: not held, and no call of this handle can take it any more. To make sure of that may
 * take up to a second longer. KV_MAYBE: the outcome could not be determined; the next acquire, try
 * or release resolves it. KV_INVALID: the key exists but is not a lock (its value was not written
 * by a lock); a ttl or a share, and the client is stateless. KV_UNAVAILABLE: a ttl or a share, and
 * the server is older than this library. Other statuses as kv_put(): not held, and as sure as
 * KV_TIMEOUT.
 */
enum kv_status kv_lock_acquire(struct kv_lock *lock, unsigned timeout_ms);

/*
 * Takes the lock if it is free, without waiting for a holder: KV_OK; KV_BUSY if another holds it,
 * or was quicker each time; else as kv_lock_acquire(). Each call has the client's own limit.
 */
enum kv_status kv_lock_try(struct kv_lock *lock);

/*
 * Makes an acquire of this handle that waits return soon, with KV_TIMEOUT and as sure as that is,
 * or with KV_OK if it was quicker. Any thread may call it, but no signal handler. If none waits, it
 * is the next one that does not wait (as kv_interrupt()).
 */
void kv_lock_interrupt(struct kv_lock *lock);

/*
 * Renews the lease, to its whole ttl from now, and the note; without a ttl it only looks. The call
 * has the client's own limit: one that is longer than what is left of the lease is of little use.
 *
 * KV_OK: held. KV_NOTHELD: the handle does not hold the lock: never, no longer, or it was broken.
 * KV_BADSESSION: the store that held it is gone. Other statuses as kv_txn(), KV_MAYBE too: not
 * known; it is held for kv_lock_left_ms(), so renew again.
 */
enum kv_status kv_lock_renew(struct kv_lock *lock);

/*
 * Gives the lock back; each call has the client's own limit.
 *
 * KV_OK: this handle holds it no longer. KV_NOTHELD: it did not hold it (never, no longer, its
 * lease had ended, or the lock was broken); nothing was changed. KV_MAYBE: the outcome could not be
 * determined; the next release, acquire or try resolves it. KV_BADSESSION: the store that held it
 * is gone, and the handle holds nothing. Other statuses as kv_put(): still held.
 */
enum kv_status kv_lock_release(struct kv_lock *lock);

/* The fencing token of the lock that this handle holds, or held until its lease ended; else 0. */
uint64_t kv_lock_token(const struct kv_lock *lock);

/*
 * For how long the handle surely holds the lock, in milliseconds: what is left of the lease by the
 * clock of this machine (CLOCK_BOOTTIME), counted from before it was asked for, less an eighth of
 * the ttl for clocks that differ. 0: it does not hold it, or perhaps no more. UINT_MAX: it holds it
 * without a ttl. Sends nothing.
 */
unsigned kv_lock_left_ms(const struct kv_lock *lock);

/*
 * The condition that the handle holds the lock: KV_AT its name, the token. As a condition of a
 * kv_txn() it refuses a write (KV_UNMET) from the moment on at which the lock was released, broken,
 * or its lease ended. A handle that holds nothing returns one that never holds. Borrows the name
 * from the handle.
 */
struct kv_condition kv_lock_fence(const struct kv_lock *lock);

/* This handle's id, as it stands in the key: 128 random bits as 32 hexadecimal digits. */
const char *kv_lock_id(const struct kv_lock *lock);

/* What kv_lock_inspect() returns. Needs no free. */
struct kv_lock_info {
	bool is_held;
	char id[33];			 /* of the holder; "" if it is free */
	uint64_t token;			 /* version of the key: the holder's token if it is held */
	uint64_t ttl_left_ms;		 /* about; 0: no lease */
	uint32_t waiting;		 /* handles that wait for it on the server */
	uint64_t since_ms;		 /* since when it is held, by the holder's calendar, in ms
					    since 1970; 0: the holder left no note */
	size_t note_size;		 /* 0: the holder left no note */
	char note[KV_LOCK_NOTE_MAX + 1]; /* a NUL follows; may hold any bytes */
};

/*
 * Shows a lock's holder, what is left of its lease, and how many calls wait, in two or three calls:
 * not one point in time, but id, token and note belong together. *info is all zero on any status
 * but KV_OK.
 *
 * KV_NOKEY: there is no such key, so the lock is free; KV_INVALID: no name, one too long, or the
 * key holds what no lock writes; KV_UNAVAILABLE: the server is older than this library; KV_VERSION:
 * the lock changed hands again and again meanwhile. Other statuses as kv_get().
 */
enum kv_status kv_lock_inspect(struct kv_client *client, struct kv_bytes name,
			       struct kv_lock_info *info);

/*
 * Writes "__unlocked" at the version read, whether the lock is held or not: for a holder that died.
 * The first that waits for it gets it. A free lock is written too, so that no write sent before can
 * take it any more. KV_NOKEY: there is no such lock; KV_VERSION: it changed hands meanwhile;
 * KV_INVALID: no name, one too long, or the key holds what no lock writes. Other statuses as
 * kv_put().
 */
enum kv_status kv_lock_break(struct kv_client *client, struct kv_bytes name);

#ifdef __cplusplus
}
#endif

#endif

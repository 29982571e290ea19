/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_TXN_H
#define LOCK_TXN_H

/*
 * lock_txn.h - the lock by transactions: taking it, waiting for it on the server, its lease and its
 * note. Used by the thread that uses the handle.
 */

#include "lock_state.h"

/* As wait_ms: as long as it takes. */
#define LOCK_WAIT_FOR_EVER UINT32_MAX

/*
 * Takes the lock, and waits for it on the server for wait_ms; not while an outcome is unknown or
 * the lock is held. Of a limit that is not for ever the caller has taken the wait into account.
 *
 * KV_OK: held. KV_UNMET: it is not free. KV_INVALID: the client is stateless, or (wait_ms above 0)
 * cannot wait. KV_UNAVAILABLE: the server is older than transactions. KV_MAYBE: to be resolved.
 * Others as kv_txn(): not held.
 */
enum kv_status lock_txn_take(struct kv_lock *lock, const struct time_limit *limit,
			     unsigned wait_ms);

/* Renews the lease of a lock that is HELD: as kv_lock_renew(), in one call. */
enum kv_status lock_txn_renew(struct kv_lock *lock, const struct time_limit *limit);

/*
 * Releases a lock that is HELD and has a note, and deletes the note. Returns false if that is no
 * way to release it: *status is then nothing.
 */
bool lock_txn_release(struct kv_lock *lock, const struct time_limit *limit, enum kv_status *status);

/* As kv_lock_left_ms(), for a lock that is HELD. */
unsigned lock_txn_left_ms(const struct kv_lock *lock);

/* For how long the lease is over by now; 0: it is not. */
uint64_t lock_txn_over_ms(const struct kv_lock *lock);

/* Whether less than half of the lease is left, or the note was written before a wait. */
bool lock_txn_is_stale(const struct kv_lock *lock);

#endif

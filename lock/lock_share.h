/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_SHARE_H
#define LOCK_SHARE_H

/*
 * lock_share.h - shares of a lock: holders that do not exclude each other, and one that excludes
 * them. Used by the thread that uses the handle.
 */

#include "lock_state.h"

/* A share's key is the lock's name, this, and the id of its holder, which is its value, too. */
#define LOCK_SHARE_INFIX "/__share/"

enum {
	LOCK_SHARE_INFIX_SIZE = sizeof(LOCK_SHARE_INFIX) - 1,
	LOCK_SHARE_SIZE = LOCK_SHARE_INFIX_SIZE + LOCK_ID_DIGITS,
};

/* Names the keys that the handle writes, as its mode asks for. */
void lock_share_name_keys(struct kv_lock *lock);

/*
 * Why no share can be taken. KV_OK: the lock was held, and may be free now; KV_BUSY: another holds
 * it; KV_INVALID: the key holds what no lock writes; else why it could not be read.
 */
enum kv_status lock_share_look_why(struct kv_lock *lock, const struct time_limit *limit);

/*
 * Looks whether shares are left, for a lock that is HELD, and waits for one to end, for wait_ms at
 * most and not beyond half of the lease. KV_OK: there are none, and none can be taken while the
 * lock is held; KV_BUSY: there are some, or there were, so look again; else why they could not be
 * read.
 */
enum kv_status lock_share_drain(struct kv_lock *lock, const struct time_limit *limit,
				unsigned wait_ms);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_history.h"

#include "lock_txn.h"

void lock_history_end(struct kv_lock *lock) {
	kv_history_hold_end(lock->view, lock->name, lock->noted_token, lock->noted_at,
			    lock_txn_over_ms(lock));
	lock->noted_token = lock->noted_at = 0;
}

void lock_history_note(struct kv_lock *lock) {
	const uint64_t token = lock_state_is_held(lock) ? lock->version : 0;

	if (token == lock->noted_token)
		return;
	lock_history_end(lock);
	if (token == 0)
		return;
	lock->noted_token = token;
	lock->noted_at = kv_history_hold(lock->view, lock->name, token);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_txn.h"

#include <limits.h>
#include <string.h>

#include "lock_note.h"
#include "lock_platform.h"

/* Clocks may differ by so much of a lease, and the holder counts on less than there is. */
enum { MARGIN_PART = 8 };

/* After so long a wait it is written anew since when the lock is held. */
enum { NOTE_OLD_MS = 1000 };

static uint64_t end_of_lease(const struct kv_lock *lock) {
	const uint64_t ttl_ms = lock->held_ttl_ms;

	return lock->lease_ms + ttl_ms - (ttl_ms + MARGIN_PART - 1) / MARGIN_PART;
}

unsigned lock_txn_left_ms(const struct kv_lock *lock) {
	const uint64_t end_ms = end_of_lease(lock);
	const uint64_t now_ms = lock_platform_boot_ms();

	if (lock->held_ttl_ms == 0)
		return UINT_MAX;
	return now_ms < end_ms ? (unsigned)(end_ms - now_ms) : 0;
}

uint64_t lock_txn_over_ms(const struct kv_lock *lock) {
	const uint64_t end_ms = end_of_lease(lock);
	const uint64_t now_ms = lock_platform_boot_ms();

	return lock->held_ttl_ms > 0 && now_ms > end_ms ? now_ms - end_ms : 0;
}

bool lock_txn_is_stale(const struct kv_lock *lock) {
	return lock->is_note_old || (uint64_t)lock_txn_left_ms(lock) * 2 < lock->held_ttl_ms;
}

static struct kv_condition at_token(const struct kv_lock *lock) {
	return (struct kv_condition){.test = KV_AT, .key = lock->name, .version = lock->version};
}

static struct kv_change put_note(const struct kv_lock *lock, unsigned ttl_ms) {
	return (struct kv_change){
	    .kind = KV_CHANGE_PUT, .key = lock->note_key, .value = lock->note, .ttl_ms = ttl_ms};
}

enum kv_status lock_txn_take(struct kv_lock *lock, const struct time_limit *limit,
			     unsigned wait_ms) {
	const struct kv_condition is_free = {
	    .test = KV_FREE,
	    .key = lock->gate,
	    .value = {lock_state_unlocked, strlen(lock_state_unlocked)}};
	struct kv_change changes[2] = {{.kind = KV_CHANGE_PUT,
					.key = lock->name,
					.value = {lock->id, LOCK_ID_DIGITS},
					.ttl_ms = lock->ttl_ms},
				       put_note(lock, lock->ttl_ms)};
	struct kv_txn txn = {.conditions = &is_free,
			     .condition_count = 1,
			     .changes = changes,
			     .change_count = lock->note.size > 0 ? 2 : 1,
			     .wait_ms = wait_ms};
	enum kv_status status;

	if (wait_ms == LOCK_WAIT_FOR_EVER)
		kv_set_timeout(lock->view, 0);
	else if (!lock_state_limit_call(lock, limit))
		return KV_TIMEOUT;
	/* Whatever copy of the call runs, it runs after this. */
	lock->lease_ms = lock_platform_boot_ms();
	lock->held_ttl_ms = lock->ttl_ms;
	lock->has_note = lock->note.size > 0;
	lock->is_note_old = lock->is_doubted = false;
	if (lock->has_note)
		lock_note_stamp(lock);
	status = lock_state_heard(lock, kv_txn(lock->view, &txn));
	if (status == KV_OK || status == KV_UNMET)
		lock->polls = false;
	if (status == KV_OK) {
		lock->state = LOCK_HELD;
		lock->version = changes[0].version;
		lock->is_lock |= lock->mode != KV_LOCK_SHARED;
		lock->is_note_old =
		    lock->has_note && lock_platform_boot_ms() >= lock->lease_ms + NOTE_OLD_MS;
		if (lock->is_note_old)
			lock_note_stamp(lock);
	} else if (status == KV_MAYBE) {
		lock->state = LOCK_TXN_UNKNOWN;
	} else if (status == KV_UNMET || status == KV_BADSESSION) {
		lock->state = LOCK_UNKNOWN;
	}
	return status;
}

enum kv_status lock_txn_renew(struct kv_lock *lock, const struct time_limit *limit) {
	const struct kv_condition at = at_token(lock);
	struct kv_change changes[2];
	struct kv_txn txn = {.conditions = &at, .condition_count = 1, .changes = changes};
	uint64_t began_ms;
	enum kv_status status = lock->is_doubted ? lock_state_look(lock, limit) : KV_OK;

	if (status != KV_OK)
		return status;
	if (!lock_state_limit_call(lock, limit))
		return KV_TIMEOUT;
	if (lock->held_ttl_ms > 0)
		changes[txn.change_count++] = (struct kv_change){
		    .kind = KV_CHANGE_TOUCH, .key = lock->name, .ttl_ms = lock->held_ttl_ms};
	if (lock->has_note)
		changes[txn.change_count++] = put_note(lock, lock->held_ttl_ms);
	lock->is_note_old = false;
	began_ms = lock_platform_boot_ms();
	status = lock_state_heard(lock, kv_txn(lock->view, &txn));
	lock->is_doubted = status == KV_MAYBE;
	if (status == KV_OK)
		lock->lease_ms = began_ms;
	else if (status == KV_UNMET || status == KV_NOKEY || status == KV_BADSESSION)
		lock->state = LOCK_UNKNOWN;
	return status == KV_UNMET || status == KV_NOKEY ? KV_NOTHELD : status;
}

bool lock_txn_release(struct kv_lock *lock, const struct time_limit *limit,
		      enum kv_status *status) {
	const struct kv_condition at = at_token(lock);
	const bool is_share = lock->mode == KV_LOCK_SHARED;
	struct kv_change changes[2] = {
	    {.kind = is_share ? KV_CHANGE_DELETE : KV_CHANGE_PUT,
	     .key = lock->name,
	     .value = {lock_state_unlocked, is_share ? 0 : strlen(lock_state_unlocked)}},
	    {.kind = KV_CHANGE_DELETE, .key = lock->note_key}};
	struct kv_txn txn = {
	    .conditions = &at, .condition_count = 1, .changes = changes, .change_count = 2};

	if (!lock->has_note || !lock_state_limit_call(lock, limit))
		return false;
	*status = lock_state_heard(lock, kv_txn(lock->view, &txn));
	/* Others may have removed the note. */
	if (*status == KV_NOKEY)
		return false;
	if (*status == KV_OK) {
		lock->state = LOCK_FREE;
		lock->version = changes[0].version;
	} else if (*status == KV_MAYBE) {
		lock->state = LOCK_RELEASE_UNKNOWN;
	} else if (*status == KV_UNMET || *status == KV_BADSESSION) {
		lock->state = LOCK_UNKNOWN;
	}
	if (*status == KV_UNMET)
		*status = KV_NOTHELD;
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock handle is a small state machine over one key. It sends Gets of the key, conditional Puts
 * of its id or of "__unlocked", and transactions (lock_txn.c).
 *
 * What makes it hard is KV_MAYBE: a write whose outcome is unknown. Three rules keep what each
 * handle believes about itself true:
 *
 *  - One version. While the outcome of any Put, or of a release, is unknown, that write expects
 *    lock->version, and so does every further one until the outcome is resolved. A version is spent
 *    once, so at most one of them ever takes effect, and when the key is read at another version
 *    none of them can any more.
 *  - Read before writing. The outcome may be unknown because the server was replaced by one with
 *    another store, where lock->version is the version of something else. So a handle with an
 *    unknown write reads first, and writes only over what it expects there.
 *    So does one whose renewal is in doubt.
 *  - Settle before reading. A transaction that takes the lock expects no version, so a read proves
 *    nothing about one that may still run: kv_settle() makes sure that it does not.
 */
#include "lock_state.h"

#include <string.h>

#include "lock_platform.h"

const char lock_state_unlocked[] = "__unlocked";

struct time_limit lock_state_limit(unsigned timeout_ms) {
	return (struct time_limit){.deadline_ms = lock_platform_now_ms() + timeout_ms};
}

unsigned lock_state_left_ms(const struct time_limit *limit) {
	uint64_t now_ms = lock_platform_now_ms();

	return now_ms < limit->deadline_ms ? (unsigned)(limit->deadline_ms - now_ms) : 0;
}

/* --- Calls within a time limit ------------------------------------------------------------- */

bool lock_state_limit_call(const struct kv_lock *lock, const struct time_limit *limit) {
	unsigned timeout_ms = limit->is_for_ever ? lock->own_ms : lock_state_left_ms(limit);

	/* To the client 0 means for ever. */
	if (timeout_ms == 0 && !limit->is_for_ever)
		return false;
	kv_set_timeout(lock->view, timeout_ms);
	return true;
}

enum kv_status lock_state_heard(struct kv_lock *lock, enum kv_status status) {
	if (status == KV_BADSESSION) {
		lock->is_lock = false;
		lock->drained = 0;
	}
	return status;
}

static enum kv_status get(struct kv_lock *lock, const struct time_limit *limit,
			  struct kv_value *value) {
	if (!lock_state_limit_call(lock, limit))
		return KV_TIMEOUT;
	return lock_state_heard(lock, kv_get(lock->view, lock->name, value));
}

static enum kv_status put(struct kv_lock *lock, const struct time_limit *limit, const char *text,
			  uint64_t *version) {
	struct kv_bytes value = {text, strlen(text)};

	if (!lock_state_limit_call(lock, limit))
		return KV_TIMEOUT;
	if (lock->mode == KV_LOCK_SHARED)
		return lock_state_heard(lock,
					kv_delete(lock->view, lock->name, lock->version, version));
	return lock_state_heard(lock,
				kv_put(lock->view, lock->name, value, lock->version, version));
}

/* --- The state machine ------------------------------------------------------------------------
 */

static bool is_text(const struct kv_value *value, const char *text) {
	return value->size == strlen(text) && memcmp(value->data, text, value->size) == 0;
}

static bool is_id(const struct kv_value *value) {
	const char *digits = value->data;

	if (value->size != LOCK_ID_DIGITS)
		return false;
	for (size_t i = 0; i < LOCK_ID_DIGITS; i++) {
		if (digits[i] == '\0' || strchr("0123456789abcdef", digits[i]) == NULL)
			return false;
	}
	return true;
}

enum content lock_state_content(const struct kv_value *value, const char *own_id) {
	if (value->size == 0)
		return CONTENT_INVALID;
	if (is_text(value, lock_state_unlocked))
		return CONTENT_FREE;
	if (is_text(value, own_id))
		return CONTENT_ID;
	return is_id(value) ? CONTENT_OTHER_ID : CONTENT_INVALID;
}

bool lock_state_is_unknown(const struct kv_lock *lock) {
	return lock->state == LOCK_ACQUIRE_UNKNOWN || lock->state == LOCK_RELEASE_UNKNOWN ||
	       lock->state == LOCK_TXN_UNKNOWN;
}

bool lock_state_is_idle(const struct kv_lock *lock) {
	return kv_is_owner(lock->view) && lock->state != LOCK_HELD && !lock_state_is_unknown(lock);
}

bool lock_state_is_held(const struct kv_lock *lock) {
	return lock->state == LOCK_HELD &&
	       (lock->mode != KV_LOCK_EXCLUSIVE || lock->drained == lock->version);
}

/* By a Put. */
static void hold_without_ttl(struct kv_lock *lock) {
	lock->state = LOCK_HELD;
	lock->held_ttl_ms = 0;
	lock->has_note = lock->is_doubted = false;
}

/* Applies what a Get showed. Not called in FREE and HELD, where nothing is read. */
static void observe(struct kv_lock *lock, enum content content, uint64_t version) {
	enum content before = lock->state == LOCK_RELEASE_UNKNOWN ? CONTENT_ID : CONTENT_FREE;

	lock->is_lock |= version > 0 && content != CONTENT_INVALID;
	/* It was settled: the id stands there if the transaction has taken the lock. */
	if (lock->state == LOCK_TXN_UNKNOWN) {
		lock->state = content == CONTENT_ID	? LOCK_HELD
			      : content == CONTENT_FREE ? LOCK_FREE
							: LOCK_UNKNOWN;
		lock->version = version;
		lock->is_doubted = false;
		return;
	}

	/* "After KV_MAYBE, a read that shows the state from before the write proves nothing." */
	if (lock_state_is_unknown(lock) && version == lock->version && content == before)
		return;

	/*
	 * "It holds the lock only if its id stands at a version above the one it expected." The id
	 * of a handle without an unknown Put was written by another program: it counts as
	 * another's.
	 */
	if (lock_state_is_unknown(lock) && version > lock->version && content == CONTENT_ID)
		hold_without_ttl(lock);
	else if (content == CONTENT_FREE)
		lock->state = LOCK_FREE;
	else
		lock->state = LOCK_UNKNOWN;
	lock->version = version;
}

enum kv_status lock_state_put(struct kv_lock *lock, const struct time_limit *limit,
			      const char *text) {
	uint64_t version = 0;
	enum kv_status status = put(lock, limit, text, &version);

	switch (status) {
	case KV_OK:
		/* It spent the version, so no unknown Put can take effect any more. */
		if (text == lock->id)
			hold_without_ttl(lock);
		else
			lock->state = LOCK_FREE;
		lock->version = version;
		lock->is_lock = true;
		if (lock->state == LOCK_HELD)
			lock_backoff_acquired(&lock->backoff, lock_platform_now_ms());
		else
			lock_backoff_released(&lock->backoff, lock_platform_now_ms());
		break;
	case KV_MAYBE:
		if (lock->state == LOCK_FREE)
			lock->state = LOCK_ACQUIRE_UNKNOWN;
		else if (lock->state == LOCK_HELD)
			lock->state = LOCK_RELEASE_UNKNOWN;
		break;
	case KV_VERSION:
	case KV_NOKEY:
	case KV_BADSESSION:
		/*
		 * The key has moved on, or the store is another: the known version is void. An
		 * unknown Put stays unknown until the key is read.
		 */
		if (!lock_state_is_unknown(lock))
			lock->state = LOCK_UNKNOWN;
		break;
	case KV_TIMEOUT:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_TOOBIG:
	case KV_FULL:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_UNMET:
	case KV_COMPACTED:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		/* Nothing was written. */
		break;
	}
	return status;
}

enum kv_status lock_state_read(struct kv_lock *lock, const struct time_limit *limit) {
	struct kv_value value = {0};
	enum kv_status status = get(lock, limit, &value);
	enum content content = CONTENT_FREE;

	if (status != KV_OK && status != KV_NOKEY)
		return status;
	if (status == KV_OK)
		content = lock_state_content(&value, lock->id);
	observe(lock, content, status == KV_OK ? value.version : 0);
	kv_value_free(&value);
	if (lock->state != LOCK_UNKNOWN)
		return KV_OK;
	if (content == CONTENT_OTHER_ID)
		lock_backoff_contended(&lock->backoff, lock->version);
	return content == CONTENT_INVALID ? KV_INVALID : KV_BUSY;
}

enum kv_status lock_state_look(struct kv_lock *lock, const struct time_limit *limit) {
	struct kv_value value = {0};
	enum kv_status status = get(lock, limit, &value);

	if (status == KV_NOKEY ||
	    (status == KV_OK && (value.version != lock->version ||
				 lock_state_content(&value, lock->id) != CONTENT_ID)))
		status = KV_NOTHELD;
	kv_value_free(&value);
	if (status == KV_OK)
		lock->is_doubted = false;
	else if (status == KV_NOTHELD || status == KV_BADSESSION)
		lock->state = LOCK_UNKNOWN;
	return status;
}

bool lock_state_has_changed(enum kv_status status) {
	return status == KV_VERSION || status == KV_NOKEY || status == KV_MAYBE ||
	       status == KV_BADSESSION;
}

enum kv_status lock_state_make_free(struct kv_lock *lock, const struct time_limit *limit) {
	uint64_t version = 0;
	enum kv_status status = put(lock, limit, lock_state_unlocked, &version);

	if (status == KV_OK)
		lock->version = version;
	else if (lock_state_has_changed(status))
		lock->state = LOCK_UNKNOWN;
	return status;
}

/* A transaction cannot take the lock any more: then what the key shows is true. */
static enum kv_status settle_and_read(struct kv_lock *lock, const struct time_limit *limit) {
	enum kv_status status;

	if (!lock_state_limit_call(lock, limit))
		return KV_TIMEOUT;
	status = kv_settle(lock->view);
	return status == KV_OK ? lock_state_read(lock, limit) : status;
}

enum kv_status lock_state_resolve(struct kv_lock *lock, const struct time_limit *limit) {
	enum kv_status status = KV_MAYBE;

	for (unsigned step = 0; step < LOCK_STEPS_MAX && lock_state_is_unknown(lock); step++) {
		status = lock->state == LOCK_TXN_UNKNOWN ? settle_and_read(lock, limit)
							 : lock_state_read(lock, limit);
		if (status == KV_OK && lock_state_is_unknown(lock))
			status = lock_state_put(lock, limit, lock_state_unlocked);
		if (!lock_state_has_changed(status))
			break;
	}
	return status;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A share is a key of its own, so it has a lease, a token and a note as a lock has, and ends with
 * its holder. It is made by a transaction that asks for the lock to be free, and so none is made
 * while the lock is held. A handle that excludes shares takes the lock first, in its turn, and then
 * waits for those that are there: from then on they become fewer only.
 */
#include "lock_share.h"

#include <string.h>

#include "lock_note.h"
#include "lock_platform.h"
#include "lock_txn.h"

enum {
	PAGE = 100,
	WAIT_MAX_MS = 60 * 1000, /* of one call */
	WAIT_MIN_MS = 10,
	REPLY_MS = 1000, /* for the reply to one that has waited */
	PAUSE_MS = 100,	 /* where it cannot wait on the server */
};

void lock_share_name_keys(struct kv_lock *lock) {
	size_t size = lock->gate.size;

	if (lock->mode == KV_LOCK_SHARED) {
		memcpy(lock->name_bytes + size, LOCK_SHARE_INFIX, LOCK_SHARE_INFIX_SIZE);
		memcpy(lock->name_bytes + size + LOCK_SHARE_INFIX_SIZE, lock->id, LOCK_ID_DIGITS);
		size += LOCK_SHARE_SIZE;
	}
	memcpy(lock->name_bytes + size, LOCK_NOTE_SUFFIX, LOCK_NOTE_SUFFIX_SIZE);
	lock->name = (struct kv_bytes){lock->name_bytes, size};
	lock->note_key = (struct kv_bytes){lock->name_bytes, size + LOCK_NOTE_SUFFIX_SIZE};
	if (lock->note_key.size > KV_KEY_MAX)
		lock->note_key = (struct kv_bytes){0};
}

enum kv_status kv_lock_set_mode(struct kv_lock *lock, enum kv_lock_mode mode) {
	const size_t share_size = lock->gate.size + LOCK_SHARE_SIZE;
	const size_t note_size = lock->note.size > 0 ? LOCK_NOTE_SUFFIX_SIZE : 0;

	if (!lock_state_is_idle(lock) ||
	    (mode == KV_LOCK_SHARED && share_size + note_size > KV_KEY_MAX))
		return KV_INVALID;
	lock->mode = mode;
	lock->state = LOCK_UNKNOWN;
	lock->is_lock = lock->polls = false;
	lock_share_name_keys(lock);
	return KV_OK;
}

enum kv_status lock_share_look_why(struct kv_lock *lock, const struct time_limit *limit) {
	struct kv_value value = {0};
	enum kv_status status;
	enum content content = CONTENT_FREE;

	if (!lock_state_limit_call(lock, limit))
		return KV_TIMEOUT;
	status = lock_state_heard(lock, kv_get(lock->view, lock->gate, &value));
	if (status == KV_OK)
		content = lock_state_content(&value, "");
	lock->is_lock = status == KV_OK && content != CONTENT_INVALID;
	kv_value_free(&value);
	if (status != KV_OK)
		return status == KV_NOKEY ? KV_OK : status;
	return content == CONTENT_INVALID ? KV_INVALID : content == CONTENT_FREE ? KV_OK : KV_BUSY;
}

/* --- Waiting until there are none -------------------------------------------------------------
 */

/* One that was broken is none, and neither is its note. */
static bool is_share(const struct kv_key *key, size_t prefix_size) {
	return key->key.size == prefix_size + LOCK_ID_DIGITS && key->size == LOCK_ID_DIGITS;
}

struct share {
	unsigned char bytes[KV_KEY_MAX];
	struct kv_bytes key;
	uint64_t version;
};

/* KV_OK: *share is one; KV_NOKEY: there is none. */
static enum kv_status find_share(struct kv_lock *lock, const struct time_limit *limit,
				 struct share *share) {
	unsigned char bytes[KV_KEY_MAX];
	const struct kv_bytes prefix = {bytes, lock->gate.size + LOCK_SHARE_INFIX_SIZE};
	struct kv_list list = {0};
	enum kv_status status;

	memcpy(bytes, lock->gate.data, lock->gate.size);
	memcpy(bytes + lock->gate.size, LOCK_SHARE_INFIX, LOCK_SHARE_INFIX_SIZE);
	share->key = (struct kv_bytes){0};
	do {
		kv_list_free(&list);
		if (!lock_state_limit_call(lock, limit))
			return KV_TIMEOUT;
		status =
		    lock_state_heard(lock, kv_list(lock->view, prefix, share->key, PAGE, &list));
		if (status != KV_OK)
			return status;
		status = KV_NOKEY;
		for (size_t i = 0; i < list.count && status == KV_NOKEY; i++) {
			const struct kv_key *key = &list.keys[i];

			memcpy(share->bytes, key->key.data, key->key.size);
			share->key = (struct kv_bytes){share->bytes, key->key.size};
			share->version = key->version;
			if (is_share(key, prefix.size))
				status = KV_OK;
		}
	} while (status == KV_NOKEY && list.more && list.count > 0);
	kv_list_free(&list);
	return status;
}

/* Until it is time to renew the lease. */
static unsigned cut_wait(const struct kv_lock *lock, unsigned wait_ms) {
	const unsigned keep_ms = lock->held_ttl_ms / 2;
	const unsigned left_ms = lock_txn_left_ms(lock);
	unsigned max_ms = WAIT_MAX_MS;

	if (lock->held_ttl_ms > 0 && left_ms < keep_ms + WAIT_MAX_MS)
		max_ms = left_ms > keep_ms + WAIT_MIN_MS ? left_ms - keep_ms : WAIT_MIN_MS;
	return wait_ms < max_ms ? wait_ms : max_ms;
}

/* On the server, if that can be. Less if there is reason to look again. */
static void wait_for_end(struct kv_lock *lock, const struct share *share, unsigned wait_ms) {
	struct kv_value value = {0};
	enum kv_status status;

	kv_set_timeout(lock->view, wait_ms + REPLY_MS);
	status = lock_state_heard(lock,
				  kv_wait(lock->view, share->key, share->version, wait_ms, &value));
	kv_value_free(&value);
	/* Over udp, or too many wait already. */
	if (status == KV_INVALID || status == KV_FULL)
		lock_platform_sleep_ms(wait_ms < PAUSE_MS ? wait_ms : PAUSE_MS);
}

enum kv_status lock_share_drain(struct kv_lock *lock, const struct time_limit *limit,
				unsigned wait_ms) {
	const bool has_room = lock->gate.size + LOCK_SHARE_SIZE <= KV_KEY_MAX;
	struct share share;
	enum kv_status status = has_room ? find_share(lock, limit, &share) : KV_NOKEY;

	/* A server that is older than lists has no transactions either, and so no shares. */
	if (status == KV_NOKEY || status == KV_UNAVAILABLE) {
		lock->drained = lock->version;
		return KV_OK;
	}
	if (status != KV_OK)
		return status;
	if (wait_ms > 0)
		wait_for_end(lock, &share, cut_wait(lock, wait_ms));
	return KV_BUSY;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of kv/lock.h: how the lock is taken, waited for and released. What is known of it
 * is in lock_state.c. Two ways lead to the lock:
 *
 *  - Transactions, which wait on the server (lock_txn.c).
 *  - Looking and writing again and again (take_if_free()), where the server, or a client without a
 *    session, can do no better.
 */
#include <kv/lock.h>

#include <stdlib.h>
#include <string.h>

#include "lock_history.h"
#include "lock_note.h"
#include "lock_platform.h"
#include "lock_share.h"
#include "lock_state.h"
#include "lock_txn.h"

/* Max. time beyond their own that acquire and try take to resolve an unknown write. */
enum { RESOLVE_MS = 1000 };

/* --- What a use is made of ----------------------------------------------------------------- */

/* How one acquire or try goes on. */
struct use {
	struct time_limit limit;
	bool is_try;
	bool waits; /* on the server */
	bool polls; /* there are no transactions */
};

/* The limit, and the time to resolve what is unknown at its end. */
static struct time_limit extended(const struct use *use) {
	struct time_limit limit = use->limit;

	limit.deadline_ms += RESOLVE_MS;
	return limit;
}

/* Pauses so long at most, with jitter in the upper half. False: the time is up. */
static bool pause_within(const struct time_limit *limit, unsigned pause_ms) {
	uint32_t random;

	if (lock_platform_random(&random, sizeof(random)))
		pause_ms -= random % (pause_ms / 2 + 1);
	if (!limit->is_for_ever && lock_state_left_ms(limit) < pause_ms)
		pause_ms = lock_state_left_ms(limit);
	if (pause_ms > 0)
		lock_platform_sleep_ms(pause_ms);
	return limit->is_for_ever || lock_state_left_ms(limit) > 0;
}

/* Max. half the time, so that yielding does not use up a short time limit. */
static void yield_to_others(struct kv_lock *lock, const struct time_limit *limit) {
	unsigned pause_ms = 0;

	if (lock->state == LOCK_FREE)
		pause_ms = lock_backoff_yield_ms(&lock->backoff, lock_platform_now_ms());
	if (!limit->is_for_ever && pause_ms > lock_state_left_ms(limit) / 2)
		pause_ms = lock_state_left_ms(limit) / 2;
	if (pause_ms > 0)
		(void)pause_within(limit, pause_ms);
}

/* Takes the lock if it is free: KV_OK, KV_BUSY, or why not. May leave an unknown Put. */
static enum kv_status take_if_free(struct kv_lock *lock, const struct time_limit *limit) {
	enum kv_status status = KV_BUSY;

	for (unsigned step = 0; step < LOCK_STEPS_MAX; step++) {
		if (lock->state == LOCK_HELD)
			return KV_OK;
		/* A key known to be free needs no look: that saves one of two round trips. */
		status = lock->state == LOCK_FREE ? KV_OK : lock_state_read(lock, limit);
		if (status == KV_OK && lock->state == LOCK_FREE && lock->version == 0)
			status = lock_state_make_free(lock, limit);
		/*
		 * Also in RELEASE_UNKNOWN: "A handle with an unresolved release takes the lock
		 * again by writing its id at that version (a new token), never by reading."
		 */
		if (status == KV_OK && lock->state != LOCK_HELD)
			status = lock_state_put(lock, limit, lock->id);
		if (status == KV_VERSION)
			lock_backoff_contended(&lock->backoff, 0);
		if (!lock_state_has_changed(status))
			return status;
	}
	/* Each time another was quicker. */
	return status == KV_BADSESSION ? status : KV_BUSY;
}

/* Looking and writing is what is left. */
static enum kv_status begin_to_poll(struct kv_lock *lock, struct use *use) {
	use->polls = true;
	lock->polls = true;
	if (!use->is_try)
		yield_to_others(lock, &use->limit);
	return take_if_free(lock, &use->limit);
}

/* Why it is not free: KV_OK: it was not, and may be now; KV_BUSY: another holds it; or an error. */
static enum kv_status look_why(struct kv_lock *lock, const struct use *use) {
	enum kv_status status;

	if (lock->is_lock)
		return KV_BUSY;
	if (lock->mode == KV_LOCK_SHARED)
		return lock_share_look_why(lock, &use->limit);
	status = lock_state_read(lock, &use->limit);
	/* A missing key may become anything: it is not waited for. */
	return status == KV_OK && lock->state != LOCK_FREE ? KV_BUSY : status;
}

/* Not for ever for what may be no lock at all. */
static unsigned wait_for(const struct kv_lock *lock, const struct use *use) {
	if (!use->waits || !lock->is_lock)
		return 0;
	return use->limit.is_for_ever ? LOCK_WAIT_FOR_EVER : lock_state_left_ms(&use->limit);
}

/* Takes the lock by transactions: KV_OK, KV_BUSY, or why not. KV_MAYBE: it is to be resolved. */
static enum kv_status take_by_txn(struct kv_lock *lock, struct use *use) {
	const struct time_limit wait_limit = extended(use);
	enum kv_status status = KV_BUSY;

	for (unsigned step = 0; step < LOCK_STEPS_MAX; step++) {
		const unsigned wait_ms = wait_for(lock, use);

		status = lock_txn_take(lock, wait_ms > 0 ? &wait_limit : &use->limit, wait_ms);
		if (status == KV_UNMET && wait_ms > 0)
			return KV_BUSY;
		if (status == KV_UNMET) {
			status = look_why(lock, use);
			/* If another holds it, it can be waited for now. */
			if (status != KV_OK && (status != KV_BUSY || !use->waits))
				return status;
		} else if ((status == KV_INVALID || status == KV_FULL) && wait_ms > 0) {
			use->waits = false;
		} else if ((status == KV_INVALID || status == KV_UNAVAILABLE) &&
			   lock->ttl_ms == 0 && lock->mode != KV_LOCK_SHARED) {
			return begin_to_poll(lock, use);
		} else if (status != KV_BADSESSION) {
			return status;
		}
	}
	return status == KV_BADSESSION ? status : KV_BUSY;
}

/* Takes the lock: KV_OK, KV_BUSY, or why not. May leave an unknown write. */
static enum kv_status take(struct kv_lock *lock, struct use *use) {
	enum kv_status status = KV_MAYBE;

	/* A Put is made again: see take_if_free(). */
	if (lock->polls && lock_state_is_unknown(lock) && lock->state != LOCK_TXN_UNKNOWN)
		return take_if_free(lock, &use->limit);
	for (unsigned step = 0; step < LOCK_STEPS_MAX && status == KV_MAYBE; step++) {
		status = lock_state_resolve(lock, &use->limit);
		if (lock_state_is_unknown(lock))
			return status;
		if (lock->state == LOCK_HELD)
			return KV_OK;
		status = use->polls ? take_if_free(lock, &use->limit) : take_by_txn(lock, use);
	}
	return status;
}

/*
 * Renews a lease of which less than half is left, so that "held" holds for a while, and a note that
 * was written before a wait. KV_OK: held;
 * KV_BUSY: it was lost; KV_MAYBE: it may have been, and is to be resolved.
 */
static enum kv_status refresh(struct kv_lock *lock, const struct time_limit *limit) {
	enum kv_status status;

	if (!lock_txn_is_stale(lock))
		return KV_OK;
	status = lock_txn_renew(lock, limit);
	if (status == KV_OK || status == KV_BADSESSION)
		return status;
	if (status == KV_NOTHELD)
		return KV_BUSY;
	if (lock_txn_left_ms(lock) > 0)
		return KV_OK;
	lock->state = LOCK_TXN_UNKNOWN;
	return KV_MAYBE;
}

/* How long it may wait for shares now. */
static unsigned wait_for_shares(const struct kv_lock *lock, const struct use *use) {
	if (use->is_try || atomic_load(&lock->is_interrupted))
		return 0;
	return use->limit.is_for_ever ? LOCK_WAIT_FOR_EVER : lock_state_left_ms(&use->limit);
}

/* Waits until there are no shares that the handle excludes. KV_BUSY: there are, or it lost the
 * lock. */
static enum kv_status drain(struct kv_lock *lock, const struct use *use) {
	const struct time_limit limit = extended(use);
	enum kv_status status = KV_OK;

	while (status == KV_OK && !lock_state_is_held(lock)) {
		const unsigned wait_ms = wait_for_shares(lock, use);

		status = lock_share_drain(lock, &limit, wait_ms);
		if (status == KV_BUSY && wait_ms > 0)
			status = refresh(lock, &limit);
	}
	return status;
}

/* take(), and what it returns is true for a while. */
static enum kv_status take_for_a_while(struct kv_lock *lock, struct use *use) {
	const struct time_limit limit = extended(use);
	enum kv_status status = take(lock, use);

	if (status == KV_OK)
		status = refresh(lock, &limit);
	return status == KV_OK ? drain(lock, use) : status;
}

/* Of a lock that is HELD. */
static enum kv_status release(struct kv_lock *lock, const struct time_limit *limit) {
	enum kv_status status = lock->is_doubted ? lock_state_look(lock, limit) : KV_OK;

	if (status != KV_OK || lock_txn_release(lock, limit, &status))
		return status;
	status = lock_state_put(lock, limit, lock_state_unlocked);
	/* Its lease ended, or the lock was broken: no other write moves the key on. */
	return status == KV_VERSION || status == KV_NOKEY ? KV_NOTHELD : status;
}

/*
 * What an acquire that came to `status` returns: no refusal before it is sure that no write of this
 * handle can still take the lock, and that it does not hold it while shares are left.
 */
static enum kv_status finish(struct kv_lock *lock, const struct use *use, enum kv_status status) {
	struct use last = {.limit = lock_state_limit(RESOLVE_MS), .is_try = true};
	const struct time_limit *limit = &last.limit;

	if (!use->limit.is_for_ever && extended(use).deadline_ms < limit->deadline_ms)
		last.limit = extended(use);
	if (lock_state_is_unknown(lock)) {
		(void)lock_state_resolve(lock, limit);
		if (lock->state == LOCK_HELD && refresh(lock, limit) == KV_OK &&
		    drain(lock, &last) == KV_OK)
			return KV_OK;
	}
	if (lock->state == LOCK_HELD && !lock_state_is_held(lock) &&
	    release(lock, limit) == KV_MAYBE)
		(void)lock_state_resolve(lock, limit);
	if (lock_state_is_unknown(lock) || (lock->state == LOCK_HELD && !lock_state_is_held(lock)))
		return KV_MAYBE;
	/* A try: its calls were not answered, unless they have no limit. */
	if (status == KV_MAYBE)
		return lock->own_ms > 0 ? KV_TIMEOUT : KV_BUSY;
	return status;
}

/* --- Public functions ---------------------------------------------------------------------- */

static bool make_id(char id[LOCK_ID_DIGITS + 1]) {
	static const char digits[] = "0123456789abcdef";
	unsigned char bits[LOCK_ID_BYTES];

	if (!lock_platform_random(bits, sizeof(bits)))
		return false;
	for (size_t i = 0; i < LOCK_ID_BYTES; i++) {
		id[2 * i] = digits[bits[i] >> 4];
		id[2 * i + 1] = digits[bits[i] & 15];
	}
	id[LOCK_ID_DIGITS] = '\0';
	return true;
}

enum kv_status kv_lock_open(struct kv_client *client, struct kv_bytes name, struct kv_lock **lock) {
	struct kv_lock *new;
	enum kv_status status;

	*lock = NULL;
	if (name.size == 0 || name.data == NULL || name.size > KV_KEY_MAX)
		return KV_INVALID;
	new = calloc(1, sizeof(*new) + name.size + LOCK_SHARE_SIZE + LOCK_NOTE_SUFFIX_SIZE);
	if (new == NULL || !make_id(new->id)) {
		free(new);
		return KV_NOMEM;
	}
	new->own_ms = kv_timeout(client);
	status = kv_with_timeout(client, new->own_ms, &new->view);
	if (status != KV_OK) {
		free(new);
		return status;
	}
	new->state = LOCK_UNKNOWN;
	memcpy(new->name_bytes, name.data, name.size);
	new->gate = (struct kv_bytes){new->name_bytes, name.size};
	lock_share_name_keys(new);
	atomic_init(&new->is_interrupted, false);
	*lock = new;
	return KV_OK;
}

void kv_lock_close(struct kv_lock *lock) {
	if (lock == NULL)
		return;
	lock_history_end(lock);
	kv_close(lock->view);
	free(lock);
}

enum kv_status kv_lock_set_ttl(struct kv_lock *lock, unsigned ttl_ms) {
	if (!lock_state_is_idle(lock))
		return KV_INVALID;
	lock->ttl_ms = ttl_ms;
	return KV_OK;
}

/* Whether to try again, later. */
static bool is_to_be_waited_for(enum kv_status status) {
	return status == KV_BUSY || status == KV_TIMEOUT || status == KV_BADSESSION ||
	       status == KV_MAYBE;
}

enum kv_status kv_lock_acquire(struct kv_lock *lock, unsigned timeout_ms) {
	struct use use = {.limit = {.is_for_ever = true}, .waits = true};
	enum kv_status status;
	bool goes_on;

	if (!kv_is_owner(lock->view))
		return KV_INVALID;
	if (timeout_ms > 0)
		use.limit = lock_state_limit(timeout_ms);
	lock_backoff_reset(&lock->backoff);
	do {
		status = take_for_a_while(lock, &use);
		goes_on = is_to_be_waited_for(status);
	} while (goes_on && !atomic_load(&lock->is_interrupted) &&
		 pause_within(&use.limit, lock_backoff_next_ms(&lock->backoff)));
	status = finish(lock, &use, goes_on ? KV_TIMEOUT : status);
	lock_history_note(lock);
	atomic_store(&lock->is_interrupted, false);
	return status;
}

void kv_lock_interrupt(struct kv_lock *lock) {
	atomic_store(&lock->is_interrupted, true);
	kv_interrupt(lock->view);
}

enum kv_status kv_lock_try(struct kv_lock *lock) {
	struct use use = {.limit = {.is_for_ever = true}, .is_try = true};
	enum kv_status status;

	if (!kv_is_owner(lock->view))
		return KV_INVALID;
	status = take_for_a_while(lock, &use);
	status = finish(lock, &use, status);
	lock_history_note(lock);
	return status;
}

enum kv_status kv_lock_renew(struct kv_lock *lock) {
	const struct time_limit own = {.is_for_ever = true};
	enum kv_status status;

	if (!kv_is_owner(lock->view))
		return KV_INVALID;
	(void)lock_state_resolve(lock, &own);
	if (lock_state_is_unknown(lock))
		return KV_MAYBE;
	if (!lock_state_is_held(lock))
		return KV_NOTHELD;
	/* Without a lease there is nothing to renew. */
	status = lock->held_ttl_ms > 0 ? lock_txn_renew(lock, &own) : lock_state_look(lock, &own);
	lock_history_note(lock);
	return status;
}

/* Releases what the handle holds, or may hold. */
static enum kv_status release_all(struct kv_lock *lock) {
	const struct time_limit own = {.is_for_ever = true};
	bool was_held = lock->state == LOCK_RELEASE_UNKNOWN;

	for (unsigned step = 0; step < LOCK_STEPS_MAX; step++) {
		enum kv_status status;

		(void)lock_state_resolve(lock, &own);
		if (lock->state != LOCK_HELD)
			break;
		was_held = true;
		status = release(lock, &own);
		if (status != KV_MAYBE)
			return status;
	}
	if (lock_state_is_unknown(lock))
		return KV_MAYBE;
	return was_held ? KV_OK : KV_NOTHELD;
}

enum kv_status kv_lock_release(struct kv_lock *lock) {
	enum kv_status status;

	if (!kv_is_owner(lock->view))
		return KV_INVALID;
	/* While it is under way another may be given the lock. */
	lock_history_end(lock);
	status = release_all(lock);
	lock_history_note(lock);
	/* It has the key and does not count as its holder, so "still held" would mislead. */
	return lock->state == LOCK_HELD && !lock_state_is_held(lock) ? KV_MAYBE : status;
}

uint64_t kv_lock_token(const struct kv_lock *lock) {
	return lock_state_is_held(lock) && kv_is_owner(lock->view) ? lock->version : 0;
}

unsigned kv_lock_left_ms(const struct kv_lock *lock) {
	return kv_lock_token(lock) != 0 ? lock_txn_left_ms(lock) : 0;
}

struct kv_condition kv_lock_fence(const struct kv_lock *lock) {
	const uint64_t token = kv_lock_token(lock);

	return (struct kv_condition){
	    .test = KV_AT, .key = lock->name, .version = token != 0 ? token : KV_ANY - 1};
}

const char *kv_lock_id(const struct kv_lock *lock) {
	return lock->id;
}

enum kv_status kv_lock_break(struct kv_client *client, struct kv_bytes name) {
	const struct kv_bytes free_text = {lock_state_unlocked, strlen(lock_state_unlocked)};
	struct kv_value value = {0};
	enum kv_status status;
	enum content content;
	uint64_t version;

	if (name.size == 0 || name.size > KV_KEY_MAX)
		return KV_INVALID;
	status = kv_get(client, name, &value);
	if (status != KV_OK)
		return status;
	content = lock_state_content(&value, "");
	version = value.version;
	kv_value_free(&value);
	if (content == CONTENT_INVALID)
		return KV_INVALID;
	/* Written though it be free: a Put of the dead holder's that is still on its way dies too.
	 */
	return kv_put(client, name, free_text, version, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock handle is a small state machine over one key. It sends nothing but Gets of the key and
 * conditional Puts, of its id or of "__unlocked".
 *
 * What makes it hard is KV_MAYBE: a Put that may have happened, may yet, or never will. Two rules
 * keep every handle right about itself:
 *
 *  - One version. While any Put of this handle is in doubt, it expects lock->version, and so does
 *    every further Put until the doubt is over. A version is spent once, so at most one of them
 *    ever takes effect, and when the key is seen at another version none of them can any more.
 *  - Look before writing. A Put may have ended in doubt because the server was replaced by one
 *    with another store, where lock->version is the version of something else. So a handle in
 *    doubt reads first, and writes only over what it believes to stand there.
 */
#include <kv/lock.h>

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "lock_platform.h"
#include "lock_backoff.h"

enum {
	ID_BYTES = 16,
	ID_DIGITS = 2 * ID_BYTES,

	/* What acquire and try may take beyond their time to settle a Put in doubt. */
	SETTLE_MS = 1000,

	/* How often one use goes on at once after a Put that was refused or came into doubt. */
	TURNS_MAX = 8,
};

static const char unlocked[] = "__unlocked";

enum lock_state {
	/* Does not hold the lock and knows nothing of the key. */
	LOCK_UNKNOWN,

	/* Does not hold it; the key was free ("__unlocked", or missing: 0) at `version`. */
	LOCK_FREE,

	/* Holds it: the id was put there at `version`, the token. */
	LOCK_HELD,

	/* The key was free at `version`; Puts of this handle that expect it are in doubt. */
	LOCK_TAKING,

	/* The id stood there at `version`; Puts of this handle that expect it are in doubt. */
	LOCK_GIVING,
};

/*
 * In UNKNOWN, FREE and HELD no Put of this handle is in doubt. TAKING and GIVING end only when a
 * Put that expects `version` is answered KV_OK, or a look shows that the key has moved on.
 */
struct kv_lock {
	struct kv_client *view; /* of its own: told for itself when the store is another */
	unsigned own_ms;	/* the client's time limit, for a use without one */
	pid_t opener;		/* in a forked child the handle is the parent's */
	enum lock_state state;
	uint64_t version; /* as the state says; nothing in UNKNOWN */
	struct patience patience;
	char id[ID_DIGITS + 1];
	struct kv_bytes name; /* the bytes behind the struct */
	unsigned char name_bytes[];
};

/* How long a use may last. For ever: each call has the client's time limit. */
struct time_limit {
	bool is_for_ever;
	uint64_t deadline_ms;
};

static struct time_limit limit_within(unsigned timeout_ms) {
	return (struct time_limit){.deadline_ms = lock_platform_now_ms() + timeout_ms};
}

/* Not for a limit that is for ever. */
static unsigned limit_left_ms(const struct time_limit *limit) {
	uint64_t now_ms = lock_platform_now_ms();

	return now_ms < limit->deadline_ms ? (unsigned)(limit->deadline_ms - now_ms) : 0;
}

/* --- Calls within a time limit ------------------------------------------------------------- */

/* Gives the next call what is left of the limit. False: nothing is. */
static bool limit_next_call(const struct kv_lock *lock, const struct time_limit *limit) {
	unsigned timeout_ms = limit->is_for_ever ? lock->own_ms : limit_left_ms(limit);

	/* To the client 0 means for ever. */
	if (timeout_ms == 0 && !limit->is_for_ever)
		return false;
	kv_set_timeout(lock->view, timeout_ms);
	return true;
}

static enum kv_status get(const struct kv_lock *lock, const struct time_limit *limit,
			  struct kv_value *value) {
	if (!limit_next_call(lock, limit))
		return KV_TIMEOUT;
	return kv_get(lock->view, lock->name, value);
}

static enum kv_status put(const struct kv_lock *lock, const struct time_limit *limit,
			  const char *text, uint64_t *version) {
	struct kv_bytes value = {text, strlen(text)};

	if (!limit_next_call(lock, limit))
		return KV_TIMEOUT;
	return kv_put(lock->view, lock->name, value, lock->version, version);
}

/* --- The state machine: every change of state is in saw() and write_at() ------------------- */

enum content {
	CONTENT_FREE,
	CONTENT_ID,	 /* of this handle */
	CONTENT_ANOTHER, /* the id of another handle */
	CONTENT_STRANGE, /* what no lock writes */
};

static bool is_text(const struct kv_value *value, const char *text) {
	return value->size == strlen(text) && memcmp(value->data, text, value->size) == 0;
}

static bool is_id(const struct kv_value *value) {
	const char *digits = value->data;

	if (value->size != ID_DIGITS)
		return false;
	for (size_t i = 0; i < ID_DIGITS; i++) {
		if (digits[i] == '\0' || strchr("0123456789abcdef", digits[i]) == NULL)
			return false;
	}
	return true;
}

static enum content content_of(const struct kv_value *value, const char *own_id) {
	if (value->size == 0)
		return CONTENT_STRANGE;
	if (is_text(value, unlocked))
		return CONTENT_FREE;
	if (is_text(value, own_id))
		return CONTENT_ID;
	return is_id(value) ? CONTENT_ANOTHER : CONTENT_STRANGE;
}

static bool is_in_doubt(const struct kv_lock *lock) {
	return lock->state == LOCK_TAKING || lock->state == LOCK_GIVING;
}

/* Takes in what a Get showed, in UNKNOWN or in doubt: in the other states nothing is asked. */
static void saw(struct kv_lock *lock, enum content content, uint64_t version) {
	enum content before = lock->state == LOCK_GIVING ? CONTENT_ID : CONTENT_FREE;

	/* "After KV_MAYBE, a read that shows the state from before the write proves nothing." */
	if (is_in_doubt(lock) && version == lock->version && content == before)
		return;

	/*
	 * "It holds the lock only if its id stands at a version above the one it expected." The id
	 * of a handle that has nothing in doubt was put there by somebody else: it counts as
	 * another's.
	 */
	if (is_in_doubt(lock) && version > lock->version && content == CONTENT_ID)
		lock->state = LOCK_HELD;
	else if (content == CONTENT_FREE)
		lock->state = LOCK_FREE;
	else
		lock->state = LOCK_UNKNOWN;
	lock->version = version;
}

/* Puts the id or "__unlocked" at lock->version; not in UNKNOWN. */
static enum kv_status write_at(struct kv_lock *lock, const struct time_limit *limit,
			       const char *text) {
	uint64_t version = 0;
	enum kv_status status = put(lock, limit, text, &version);

	switch (status) {
	case KV_OK:
		/* It spent the version, so whatever was in doubt can never take effect. */
		lock->state = text == lock->id ? LOCK_HELD : LOCK_FREE;
		lock->version = version;
		if (lock->state == LOCK_HELD)
			lock_backoff_acquired(&lock->patience, lock_platform_now_ms());
		else
			lock_backoff_released(&lock->patience, lock_platform_now_ms());
		break;
	case KV_MAYBE:
		if (lock->state == LOCK_FREE)
			lock->state = LOCK_TAKING;
		else if (lock->state == LOCK_HELD)
			lock->state = LOCK_GIVING;
		break;
	case KV_VERSION:
	case KV_NOKEY:
	case KV_BADSESSION:
		/*
		 * The key has moved on, or the store is another: what was known holds no longer. A
		 * doubt stays, for only a look can tell how it ended.
		 */
		if (!is_in_doubt(lock))
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
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		/* Nothing was written. */
		break;
	}
	return status;
}

/*
 * Reads the key, in UNKNOWN or in doubt. KV_OK: held, or there is something to write at
 * lock->version; KV_BUSY: another holds it; KV_INVALID: it holds what no lock writes; else why it
 * could not be read.
 */
static enum kv_status look(struct kv_lock *lock, const struct time_limit *limit) {
	struct kv_value value = {0};
	enum kv_status status = get(lock, limit, &value);
	enum content content = CONTENT_FREE;

	if (status != KV_OK && status != KV_NOKEY)
		return status;
	if (status == KV_OK)
		content = content_of(&value, lock->id);
	saw(lock, content, status == KV_OK ? value.version : 0);
	kv_value_free(&value);
	if (lock->state != LOCK_UNKNOWN)
		return KV_OK;
	if (content == CONTENT_ANOTHER)
		lock_backoff_contended(&lock->patience, lock->version);
	return content == CONTENT_STRANGE ? KV_INVALID : KV_BUSY;
}

/* --- What a use is made of ----------------------------------------------------------------- */

/* Whether to go on at once: the key, or what is known of it, has changed. */
static bool is_worth_a_turn(enum kv_status status) {
	return status == KV_VERSION || status == KV_NOKEY || status == KV_MAYBE ||
	       status == KV_BADSESSION;
}

/* Takes the lock if it is free: KV_OK, KV_BUSY, or why not. May leave a doubt. */
static enum kv_status take(struct kv_lock *lock, const struct time_limit *limit) {
	enum kv_status status = KV_BUSY;

	for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
		if (lock->state == LOCK_HELD)
			return KV_OK;
		/* A key known to be free needs no look: that saves one of two round trips. */
		status = lock->state == LOCK_FREE ? KV_OK : look(lock, limit);
		/*
		 * Also in GIVING: "A handle with an unsettled release takes the lock again by
		 * writing its id at that version (a new token), never by reading."
		 */
		if (status == KV_OK && lock->state != LOCK_HELD)
			status = write_at(lock, limit, lock->id);
		if (status == KV_VERSION)
			lock_backoff_contended(&lock->patience, 0);
		if (!is_worth_a_turn(status))
			return status;
	}
	/* Each time another was quicker. */
	return status == KV_BADSESSION ? status : KV_BUSY;
}

/*
 * Ends a doubt: finds that the key has moved on, or spends the version on "__unlocked". Afterwards
 * the handle may turn out to hold the lock; is_in_doubt() tells if it did not work.
 */
static void settle(struct kv_lock *lock, const struct time_limit *limit) {
	for (unsigned turn = 0; turn < TURNS_MAX && is_in_doubt(lock); turn++) {
		enum kv_status status = look(lock, limit);

		if (status == KV_OK && is_in_doubt(lock))
			status = write_at(lock, limit, unlocked);
		if (!is_worth_a_turn(status))
			return;
	}
}

/*
 * What an acquire that came to `status` answers: no refusal before it is sure that no Put of this
 * handle can still take the lock.
 */
static enum kv_status conclude(struct kv_lock *lock, enum kv_status status) {
	if (is_in_doubt(lock)) {
		struct time_limit little = limit_within(SETTLE_MS);

		settle(lock, &little);
	}
	if (is_in_doubt(lock))
		return KV_MAYBE;
	return lock->state == LOCK_HELD ? KV_OK : status;
}

/* Pauses so long at most, with jitter in the upper half. False: the time is up. */
static bool wait_a_little(const struct time_limit *limit, unsigned pause_ms) {
	uint32_t chance;

	if (lock_platform_random(&chance, sizeof(chance)))
		pause_ms -= chance % (pause_ms / 2 + 1);
	if (!limit->is_for_ever && limit_left_ms(limit) < pause_ms)
		pause_ms = limit_left_ms(limit);
	if (pause_ms > 0)
		lock_platform_sleep_ms(pause_ms);
	return limit->is_for_ever || limit_left_ms(limit) > 0;
}

/* A courtesy takes half the time at most: who has little of it is not made to come too late. */
static void let_others_first(struct kv_lock *lock, const struct time_limit *limit) {
	unsigned pause_ms = 0;

	if (lock->state == LOCK_FREE)
		pause_ms = lock_backoff_yield_ms(&lock->patience, lock_platform_now_ms());
	if (!limit->is_for_ever && pause_ms > limit_left_ms(limit) / 2)
		pause_ms = limit_left_ms(limit) / 2;
	if (pause_ms > 0)
		(void)wait_a_little(limit, pause_ms);
}

/* --- The public face ----------------------------------------------------------------------- */

static bool make_id(char id[ID_DIGITS + 1]) {
	static const char digits[] = "0123456789abcdef";
	unsigned char bits[ID_BYTES];

	if (!lock_platform_random(bits, sizeof(bits)))
		return false;
	for (size_t i = 0; i < ID_BYTES; i++) {
		id[2 * i] = digits[bits[i] >> 4];
		id[2 * i + 1] = digits[bits[i] & 15];
	}
	id[ID_DIGITS] = '\0';
	return true;
}

enum kv_status kv_lock_open(struct kv_client *client, struct kv_bytes name, struct kv_lock **lock) {
	struct kv_lock *new;
	enum kv_status status;

	*lock = NULL;
	if (name.size == 0 || name.data == NULL || name.size > KV_KEY_MAX)
		return KV_INVALID;
	new = calloc(1, sizeof(*new) + name.size);
	if (new == NULL || !make_id(new->id)) {
		free(new);
		return KV_NOMEM;
	}
	new->own_ms = kv_timeout(client);
	status = kv_within(client, new->own_ms, &new->view);
	if (status != KV_OK) {
		free(new);
		return status;
	}
	new->opener = getpid();
	new->state = LOCK_UNKNOWN;
	memcpy(new->name_bytes, name.data, name.size);
	new->name = (struct kv_bytes){new->name_bytes, name.size};
	*lock = new;
	return KV_OK;
}

void kv_lock_close(struct kv_lock *lock) {
	if (lock == NULL)
		return;
	kv_close(lock->view);
	free(lock);
}

enum kv_status kv_lock_acquire(struct kv_lock *lock, unsigned timeout_ms) {
	struct time_limit limit = {.is_for_ever = true};
	enum kv_status status;

	if (lock->opener != getpid())
		return KV_INVALID;
	if (timeout_ms > 0)
		limit = limit_within(timeout_ms);
	let_others_first(lock, &limit);
	lock_backoff_reset(&lock->patience);
	do {
		status = take(lock, &limit);
		if (status != KV_BUSY && status != KV_TIMEOUT && status != KV_BADSESSION)
			return conclude(lock, status);
	} while (wait_a_little(&limit, lock_backoff_next_ms(&lock->patience)));
	return conclude(lock, KV_TIMEOUT);
}

enum kv_status kv_lock_try(struct kv_lock *lock) {
	const struct time_limit own = {.is_for_ever = true};

	if (lock->opener != getpid())
		return KV_INVALID;
	return conclude(lock, take(lock, &own));
}

enum kv_status kv_lock_release(struct kv_lock *lock) {
	const struct time_limit own = {.is_for_ever = true};
	bool was_held = lock->state == LOCK_GIVING;

	if (lock->opener != getpid())
		return KV_INVALID;
	for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
		enum kv_status status;

		settle(lock, &own);
		if (lock->state != LOCK_HELD)
			break;
		was_held = true;
		status = write_at(lock, &own, unlocked);
		/* Only somebody who broke the lock can have moved the key on. */
		if (status == KV_VERSION || status == KV_NOKEY)
			return KV_NOTHELD;
		if (status != KV_MAYBE)
			return status;
	}
	if (is_in_doubt(lock))
		return KV_MAYBE;
	return was_held ? KV_OK : KV_NOTHELD;
}

uint64_t kv_lock_token(const struct kv_lock *lock) {
	return lock->state == LOCK_HELD && lock->opener == getpid() ? lock->version : 0;
}

const char *kv_lock_id(const struct kv_lock *lock) {
	return lock->id;
}

enum kv_status kv_lock_break(struct kv_client *client, struct kv_bytes name) {
	const struct kv_bytes free_text = {unlocked, strlen(unlocked)};
	struct kv_value value = {0};
	enum kv_status status;
	enum content content;
	uint64_t version;

	if (name.size == 0 || name.size > KV_KEY_MAX)
		return KV_INVALID;
	status = kv_get(client, name, &value);
	if (status != KV_OK)
		return status;
	content = content_of(&value, "");
	version = value.version;
	kv_value_free(&value);
	if (content == CONTENT_STRANGE)
		return KV_INVALID;
	/* Written though it be free: a Put of the dead holder's that is still on its way dies too.
	 */
	return kv_put(client, name, free_text, version, NULL);
}

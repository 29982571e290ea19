/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "cond_wait.h"

/*
 * Invariants, under the mutex:
 *  - client_id is 0 if there is no session, and then nothing else of it counts.
 *  - Slots of an earlier session do not count any more: their calls have the old client id.
 *  - One thread at a time opens a session.
 */
struct session {
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* a slot came free, or the opening ended */

	uint64_t client_id;
	uint64_t generation;
	uint64_t lease_ms;
	uint64_t answered_ms;	      /* when a call in it was last answered */
	uint64_t all;		      /* a bit for each slot that there is */
	uint64_t held;		      /* ... that a write has */
	uint64_t unresolved;	      /* ... of which a write before this one may still run */
	uint64_t seqs[SESSION_SLOTS]; /* the last one given out; 0: none */
	uint64_t left_id;	      /* a session that was left with an unresolved slot; 0: none */
	uint64_t left_generation;
	unsigned waiting; /* of those held: writes that wait for their condition */
	unsigned blocked; /* threads without a slot that cannot use any */

	bool is_opening;
	bool has_nonce;
	uint8_t nonce[NONCE_SIZE];
};

struct session *session_new(void) {
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return NULL;
	(void)pthread_mutex_init(&session->mutex, NULL);
	cond_wait_init(&session->changed);
	return session;
}

void session_free(struct session *session, bool is_child) {
	if (session == NULL)
		return;
	if (!is_child) {
		(void)pthread_cond_destroy(&session->changed);
		(void)pthread_mutex_destroy(&session->mutex);
	}
	free(session);
}

/*
 * A session idle past its lease ends, and a write into it is answered KV_BADSESSION, which over udp
 * means KV_MAYBE. So one that was idle for most of it is not trusted with a new write; the last
 * quarter is for clocks and networks. Calls under way keep it alive, or find out for themselves. An
 * unresolved slot is no reason to stay: the expiry ends what is under way on it.
 */
static bool is_too_idle(const struct session *session, uint64_t now_ms) {
	return session->lease_ms > 0 && session->held == 0 &&
	       now_ms - session->answered_ms > session->lease_ms - session->lease_ms / 4;
}

_Static_assert(SESSION_SLOTS == 64, "a bit for each slot");

static uint64_t bit(uint32_t index) {
	return (uint64_t)1 << index;
}

/*
 * The lowest slot, for the server takes memory for those that were used; but "a slot left with
 * KV_MAYBE is the next one used, so that it is resolved soon". By a write that waits it would not
 * be.
 */
static bool pick(const struct session *session, bool waits, uint32_t *index) {
	const uint64_t free_ones = session->all & ~session->held;
	const uint64_t first_ones =
	    free_ones & (waits ? ~session->unresolved : session->unresolved);

	if (free_ones == 0)
		return false;
	*index = (uint32_t)__builtin_ctzll(first_ones != 0 ? first_ones : free_ones);
	return true;
}

/* "Greater than last: new. Numbers may be skipped." */
static void give(struct session *session, uint32_t index, bool waits, struct slot *slot) {
	session->held |= bit(index);
	session->waiting += waits;
	*slot = (struct slot){.client_id = session->client_id,
			      .generation = session->generation,
			      .index = index,
			      .seq = ++session->seqs[index],
			      .waits = waits,
			      .is_only = session->all == 1};
}

/* Whether one more write may wait. On an only slot none does: it is sent to run now or never. */
static bool may_wait(const struct session *session) {
	unsigned all = (unsigned)__builtin_popcountll(session->all);
	unsigned spare = all > 2 * SESSION_SLOTS_SPARE ? SESSION_SLOTS_SPARE : 1;

	return all == 1 || session->waiting < all - spare;
}

/* A slot came free. */
static void wake(struct session *session) {
	/* One slot, so one thread: of many that wait all others would wake in vain. */
	if (session->blocked == 0)
		(void)pthread_cond_signal(&session->changed);
	else
		(void)pthread_cond_broadcast(&session->changed);
}

/*
 * Gives the session up, though the server may still have it. Of several that were left with an
 * unresolved slot only the last is known: the others are older by most of a lease.
 */
static void leave(struct session *session) {
	if (session->client_id != 0 && session->unresolved != 0) {
		session->left_id = session->client_id;
		session->left_generation = session->generation;
	}
	session->client_id = 0;
}

enum slot_take session_acquire_slot(struct session *session, uint64_t generation,
				    const struct backoff *backoff, bool waits, struct slot *slot) {
	enum slot_take news = SLOT_TIMEOUT;
	bool is_late = false;
	uint32_t index;

	(void)pthread_mutex_lock(&session->mutex);
	for (;;) {
		bool has_session = session->client_id != 0 && session->generation >= generation &&
				   !is_too_idle(session, backoff_now(backoff));

		if (has_session && session->generation > generation) {
			/* It may have been woken for a slot that another can use. */
			wake(session);
			news = SLOT_WRONG_GENERATION;
			break;
		}
		if (has_session && (!waits || may_wait(session)) && pick(session, waits, &index)) {
			give(session, index, waits, slot);
			news = SLOT_HELD;
			break;
		}
		if (!has_session && !session->is_opening) {
			leave(session);
			session->is_opening = true;
			news = SLOT_OPEN;
			break;
		}
		if (is_late)
			break;
		session->blocked += waits;
		is_late = !cond_wait_until(&session->changed, &session->mutex, backoff);
		session->blocked -= waits;
	}
	(void)pthread_mutex_unlock(&session->mutex);
	return news;
}

void session_nonce(struct session *session, const struct transport *transport,
		   uint8_t nonce[NONCE_SIZE]) {
	(void)pthread_mutex_lock(&session->mutex);
	if (!session->has_nonce) {
		const uint64_t bits[] = {transport->random(transport->context),
					 transport->random(transport->context)};

		_Static_assert(sizeof(bits) == NONCE_SIZE, "a nonce is two draws");
		memcpy(session->nonce, bits, NONCE_SIZE);
		session->has_nonce = true;
	}
	memcpy(nonce, session->nonce, NONCE_SIZE);
	(void)pthread_mutex_unlock(&session->mutex);
}

void session_opened(struct session *session, uint64_t generation, const struct response *response,
		    uint64_t now_ms, bool waits, struct slot *slot) {
	(void)pthread_mutex_lock(&session->mutex);
	session->client_id = response->client_id;
	session->generation = generation;
	session->lease_ms = response->lease_ms;
	session->answered_ms = now_ms;
	session->all = response->slots < SESSION_SLOTS ? bit(response->slots) - 1 : UINT64_MAX;
	session->held = 0;
	session->unresolved = 0;
	session->waiting = 0;
	memset(session->seqs, 0, sizeof(session->seqs));
	session->is_opening = false;
	session->has_nonce = false;
	give(session, 0, waits, slot);
	(void)pthread_cond_broadcast(&session->changed);
	(void)pthread_mutex_unlock(&session->mutex);
}

void session_not_opened(struct session *session, bool is_answered) {
	(void)pthread_mutex_lock(&session->mutex);
	session->is_opening = false;
	if (is_answered)
		session->has_nonce = false;
	(void)pthread_cond_broadcast(&session->changed);
	(void)pthread_mutex_unlock(&session->mutex);
}

void session_release(struct session *session, const struct slot *slot, enum slot_release end,
		     uint64_t now_ms) {
	(void)pthread_mutex_lock(&session->mutex);
	if (session->client_id == slot->client_id) {
		session->held &= ~bit(slot->index);
		session->waiting -= slot->waits;
		/* A call that never arrived ends nothing. */
		if (end == SLOT_UNRESOLVED)
			session->unresolved |= bit(slot->index);
		else if (end == SLOT_ANSWERED)
			session->unresolved &= ~bit(slot->index);
		if (end == SLOT_ANSWERED)
			session->answered_ms = now_ms;
		wake(session);
	}
	(void)pthread_mutex_unlock(&session->mutex);
}

void session_invalidate(struct session *session, const struct slot *slot, bool is_gone) {
	(void)pthread_mutex_lock(&session->mutex);
	if (session->client_id == slot->client_id) {
		if (is_gone)
			session->client_id = 0;
		else
			leave(session);
		(void)pthread_cond_broadcast(&session->changed);
	}
	(void)pthread_mutex_unlock(&session->mutex);
}

/* --- Slots of which a write may still run ---------------------------------------------------- */

void session_unresolved(struct session *session, struct unresolved *left) {
	(void)pthread_mutex_lock(&session->mutex);
	*left = (struct unresolved){.client_id = session->client_id,
				    .slots = session->client_id != 0 ? session->unresolved : 0,
				    .left_id = session->left_id,
				    .left_generation = session->left_generation};
	(void)pthread_mutex_unlock(&session->mutex);
}

bool session_acquire_unresolved(struct session *session, struct unresolved *left,
				const struct backoff *backoff, struct slot *slot) {
	bool is_late = false;

	*slot = (struct slot){0};
	(void)pthread_mutex_lock(&session->mutex);
	for (;;) {
		uint64_t free_ones;

		if (session->client_id != left->client_id)
			left->slots = 0;
		left->slots &= session->unresolved;
		free_ones = left->slots & ~session->held;
		if (free_ones != 0) {
			give(session, (uint32_t)__builtin_ctzll(free_ones), false, slot);
			left->slots &= ~bit(slot->index);
		}
		if (is_late || left->slots == 0 || free_ones != 0)
			break;
		session->blocked++;
		is_late = !cond_wait_until(&session->changed, &session->mutex, backoff);
		session->blocked--;
	}
	(void)pthread_mutex_unlock(&session->mutex);
	return !is_late || left->slots == 0 || slot->client_id != 0;
}

void session_forget_left(struct session *session, uint64_t left_id) {
	(void)pthread_mutex_lock(&session->mutex);
	if (session->left_id == left_id)
		session->left_id = 0;
	(void)pthread_mutex_unlock(&session->mutex);
}

uint64_t session_client_id(struct session *session, uint64_t generation) {
	uint64_t client_id;

	(void)pthread_mutex_lock(&session->mutex);
	client_id = session->generation == generation ? session->client_id : 0;
	(void)pthread_mutex_unlock(&session->mutex);
	return client_id;
}

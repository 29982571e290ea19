/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "cond_wait.h"

/*
 * Invariants, under the mutex:
 *  - client_id is 0 if there is no session, and then nothing else of it counts.
 *  - Slots of an earlier session are nobody's: their holders know them by the old client id.
 *  - One thread at a time opens a session.
 */
struct session {
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* a slot came free, or the opening ended */

	uint64_t client_id;
	uint64_t life;
	uint64_t lease_ms;
	uint64_t answered_ms;	      /* when a call in it was last answered */
	uint64_t all;		      /* a bit for each slot that there is */
	uint64_t held;		      /* ... that a write has */
	uint64_t unsettled;	      /* ... of which a write before this one may still run */
	uint64_t seqs[SESSION_SLOTS]; /* the last one given out; 0: none */

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
 * unsettled slot is no reason to stay: the expiry settles it.
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
 * KV_MAYBE is the next one used, so that it is settled soon".
 */
static bool pick(const struct session *session, uint32_t *index) {
	const uint64_t free_ones = session->all & ~session->held;
	const uint64_t first_ones = free_ones & session->unsettled;

	if (free_ones == 0)
		return false;
	*index = (uint32_t)__builtin_ctzll(first_ones != 0 ? first_ones : free_ones);
	return true;
}

/* "Greater than last: new. Numbers may be skipped." */
static void give(struct session *session, uint32_t index, struct slot *slot) {
	session->held |= bit(index);
	*slot = (struct slot){.client_id = session->client_id,
			      .life = session->life,
			      .index = index,
			      .seq = ++session->seqs[index]};
}

enum slot_news session_acquire_slot(struct session *session, uint64_t life, const struct backoff *backoff,
			    struct slot *slot) {
	enum slot_news news = SLOT_TIMEOUT;
	bool is_late = false;
	uint32_t index;

	(void)pthread_mutex_lock(&session->mutex);
	for (;;) {
		bool has_session = session->client_id != 0 && session->life >= life &&
				   !is_too_idle(session, backoff_now(backoff));

		if (has_session && session->life > life) {
			/* It may have been woken for a slot that another can use. */
			(void)pthread_cond_signal(&session->changed);
			news = SLOT_WRONG_GENERATION;
			break;
		}
		if (has_session && pick(session, &index)) {
			give(session, index, slot);
			news = SLOT_HELD;
			break;
		}
		if (!has_session && !session->is_opening) {
			session->client_id = 0;
			session->is_opening = true;
			news = SLOT_OPEN;
			break;
		}
		if (is_late)
			break;
		is_late = !cond_wait_until(&session->changed, &session->mutex, backoff);
	}
	(void)pthread_mutex_unlock(&session->mutex);
	return news;
}

void session_nonce(struct session *session, const struct transport *transport,
		   uint8_t nonce[NONCE_SIZE]) {
	(void)pthread_mutex_lock(&session->mutex);
	if (!session->has_nonce) {
		const uint64_t bits[] = {transport->chance(transport->context),
					 transport->chance(transport->context)};

		_Static_assert(sizeof(bits) == NONCE_SIZE, "a nonce is two draws");
		memcpy(session->nonce, bits, NONCE_SIZE);
		session->has_nonce = true;
	}
	memcpy(nonce, session->nonce, NONCE_SIZE);
	(void)pthread_mutex_unlock(&session->mutex);
}

void session_opened(struct session *session, uint64_t life, const struct response *response,
		    uint64_t now_ms, struct slot *slot) {
	(void)pthread_mutex_lock(&session->mutex);
	session->client_id = response->client_id;
	session->life = life;
	session->lease_ms = response->lease_ms;
	session->answered_ms = now_ms;
	session->all = response->slots < SESSION_SLOTS ? bit(response->slots) - 1 : UINT64_MAX;
	session->held = 0;
	session->unsettled = 0;
	memset(session->seqs, 0, sizeof(session->seqs));
	session->is_opening = false;
	session->has_nonce = false;
	give(session, 0, slot);
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

void session_release(struct session *session, const struct slot *slot, enum slot_end end,
		     uint64_t now_ms) {
	(void)pthread_mutex_lock(&session->mutex);
	if (session->client_id == slot->client_id) {
		session->held &= ~bit(slot->index);
		/* What never arrived settles nothing. */
		if (end == SLOT_UNSETTLED)
			session->unsettled |= bit(slot->index);
		else if (end == SLOT_ANSWERED)
			session->unsettled &= ~bit(slot->index);
		if (end == SLOT_ANSWERED)
			session->answered_ms = now_ms;
		/* One slot, so one thread: of many that wait all others would wake in vain. */
		(void)pthread_cond_signal(&session->changed);
	}
	(void)pthread_mutex_unlock(&session->mutex);
}

void session_invalidate(struct session *session, const struct slot *slot) {
	(void)pthread_mutex_lock(&session->mutex);
	if (session->client_id == slot->client_id) {
		session->client_id = 0;
		(void)pthread_cond_broadcast(&session->changed);
	}
	(void)pthread_mutex_unlock(&session->mutex);
}

uint64_t session_client_id(struct session *session, uint64_t life) {
	uint64_t client_id;

	(void)pthread_mutex_lock(&session->mutex);
	client_id = session->life == life ? session->client_id : 0;
	(void)pthread_mutex_unlock(&session->mutex);
	return client_id;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "backoff.h"

enum {
	ATTEMPT_DOUBLINGS = 5, /* up to 32 times attempt_ms, as kv.h promises */
	PAUSE_DOUBLINGS = 31,  /* enough for any backoff_max_ms, and shifts within 64 bits */
};

void backoff_start(struct backoff *backoff, const struct transport *transport,
		   const struct pace *pace, unsigned timeout_ms) {
	*backoff =
	    (struct backoff){.transport = transport, .pace = pace, .deadline_ms = NO_DEADLINE};
	if (timeout_ms > 0)
		backoff->deadline_ms = backoff_now(backoff) + timeout_ms;
}

uint64_t backoff_now(const struct backoff *backoff) {
	return backoff->transport->now_ms(backoff->transport->context);
}

bool backoff_expired(const struct backoff *backoff) {
	return backoff_now(backoff) >= backoff->deadline_ms;
}

static uint64_t within_deadline(const struct backoff *backoff, uint64_t span_ms) {
	uint64_t until_ms = backoff_now(backoff) + span_ms;

	return until_ms < backoff->deadline_ms ? until_ms : backoff->deadline_ms;
}

uint64_t backoff_connect_until(const struct backoff *backoff) {
	return within_deadline(backoff, backoff->pace->attempt_ms);
}

uint64_t backoff_attempt_until(const struct backoff *backoff) {
	return within_deadline(backoff, (uint64_t)backoff->pace->attempt_ms << backoff->unanswered);
}

void backoff_lengthen_attempt(struct backoff *backoff) {
	if (backoff->unanswered < ATTEMPT_DOUBLINGS)
		backoff->unanswered++;
}

bool backoff_pause(struct backoff *backoff) {
	const struct transport *transport = backoff->transport;
	uint64_t most = (uint64_t)backoff->pace->backoff_ms << backoff->pauses;
	uint64_t least;

	if (backoff->is_one_try || backoff_expired(backoff))
		return false;
	if (most > backoff->pace->backoff_max_ms)
		most = backoff->pace->backoff_max_ms;
	if (backoff->pauses < PAUSE_DOUBLINGS)
		backoff->pauses++;

	/* Clients that lost one server together must not come back together. */
	least = most - most / 2;
	least += transport->chance(transport->context) % (most / 2 + 1);
	transport->pause(transport->context, within_deadline(backoff, least));
	return !backoff_expired(backoff);
}

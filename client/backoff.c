/* SPDX-License-Identifier: BSD-3-Clause */
#include "backoff.h"

enum {
	ATTEMPT_DOUBLINGS = 5, /* up to 32 times attempt_ms, as kv.h promises */
	ADDRESS_MS = 250,      /* for one of several addresses, in the first round */
	PAUSE_DOUBLINGS = 31,  /* enough for any backoff_max_ms, and shifts within 64 bits */
};

void backoff_start(struct backoff *backoff, const struct transport *transport,
		   const struct retry_options *retry, unsigned timeout_ms) {
	*backoff =
	    (struct backoff){.transport = transport, .retry = retry, .deadline_ms = NO_DEADLINE};
	backoff->began_ms = backoff_now(backoff);
	if (timeout_ms > 0)
		backoff->deadline_ms = backoff->began_ms + timeout_ms;
}

uint64_t backoff_now(const struct backoff *backoff) {
	return backoff->transport->now_ms(backoff->transport->context);
}

static uint64_t interrupted_ms(const struct backoff *backoff) {
	return backoff->interrupted_ms != NULL ? atomic_load(backoff->interrupted_ms) : 0;
}

bool backoff_is_interrupted(const struct backoff *backoff) {
	return interrupted_ms(backoff) != 0;
}

uint64_t backoff_deadline(const struct backoff *backoff) {
	uint64_t end_ms = interrupted_ms(backoff);

	if (end_ms == 0)
		return backoff->deadline_ms;
	/* It may be from before the call. */
	if (end_ms < backoff->began_ms)
		end_ms = backoff->began_ms;
	end_ms += backoff->retry->attempt_ms;
	return end_ms < backoff->deadline_ms ? end_ms : backoff->deadline_ms;
}

bool backoff_expired(const struct backoff *backoff) {
	return backoff_now(backoff) >= backoff_deadline(backoff);
}

static uint64_t within_deadline(const struct backoff *backoff, uint64_t span_ms) {
	const uint64_t until_ms = backoff_now(backoff) + span_ms;
	const uint64_t deadline_ms = backoff_deadline(backoff);

	return until_ms < deadline_ms ? until_ms : deadline_ms;
}

static uint64_t address_until(const struct backoff *backoff, uint64_t until_ms, size_t count,
			      size_t untried) {
	const uint64_t now_ms = backoff_now(backoff);
	const uint64_t deadline_ms = backoff_deadline(backoff);
	uint64_t span_ms = (uint64_t)ADDRESS_MS << backoff->pauses;

	if (count < 2)
		return until_ms;
	if (deadline_ms != NO_DEADLINE && untried > 1 && deadline_ms > now_ms &&
	    (deadline_ms - now_ms) / untried < span_ms)
		span_ms = (deadline_ms - now_ms) / untried;
	return now_ms + span_ms < until_ms ? now_ms + span_ms : until_ms;
}

uint64_t backoff_connect_until(const struct backoff *backoff, size_t count, size_t untried) {
	return address_until(backoff, within_deadline(backoff, backoff->retry->attempt_ms), count,
			     untried);
}

uint64_t backoff_hello_until(const struct backoff *backoff, size_t count, size_t untried) {
	return address_until(backoff, backoff_attempt_until(backoff), count, untried);
}

uint64_t backoff_attempt_until(const struct backoff *backoff) {
	return within_deadline(backoff,
			       (uint64_t)backoff->retry->attempt_ms << backoff->unanswered);
}

void backoff_lengthen_attempt(struct backoff *backoff) {
	if (backoff->unanswered < ATTEMPT_DOUBLINGS)
		backoff->unanswered++;
}

bool backoff_pause(struct backoff *backoff) {
	const struct transport *transport = backoff->transport;
	uint64_t max_ms = (uint64_t)backoff->retry->backoff_ms << backoff->pauses;
	uint64_t pause_ms;

	if (backoff->is_one_try || backoff_expired(backoff))
		return false;
	if (max_ms > backoff->retry->backoff_max_ms)
		max_ms = backoff->retry->backoff_max_ms;
	if (backoff->pauses < PAUSE_DOUBLINGS)
		backoff->pauses++;

	/* Clients that lost one server together must not come back together. */
	pause_ms = max_ms - max_ms / 2;
	pause_ms += transport->random(transport->context) % (max_ms / 2 + 1);
	transport->sleep_until(transport->context, within_deadline(backoff, pause_ms));
	return !backoff_expired(backoff);
}

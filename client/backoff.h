/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BACKOFF_H
#define BACKOFF_H

/*
 * backoff.h - the time of one call: the deadline of each attempt, the pauses between attempts, and
 * the deadline of the call. Used by one thread.
 */

#include "transport.h"

/* How a client waits, from its options; defaults filled in. */
struct retry_options {
	unsigned attempt_ms;	 /* the first attempt, and connecting */
	unsigned backoff_ms;	 /* the first pause */
	unsigned backoff_max_ms; /* the longest pause */
	bool fail_fast;		 /* see kv.h */
};

/* A deadline that never comes. */
#define NO_DEADLINE UINT64_MAX

struct backoff {
	const struct transport *transport;
	const struct retry_options *retry;
	uint64_t began_ms;
	uint64_t deadline_ms; /* of the call; backoff_deadline() is the one that counts */
	const atomic_uint_fast64_t *interrupted_ms; /* NULL: it cannot be interrupted */
	unsigned unanswered;			    /* attempts that got no reply in their time */
	unsigned pauses;
	bool is_one_try; /* no retry: backoff_pause() returns false */
};

/* The call has `timeout_ms` from now; 0: no limit. Borrows both tables. */
void backoff_start(struct backoff *backoff, const struct transport *transport,
		   const struct retry_options *retry, unsigned timeout_ms);

uint64_t backoff_now(const struct backoff *backoff);

/* Whether the waiting of the call is over, though its time is not: see kv_interrupt(). */
bool backoff_is_interrupted(const struct backoff *backoff);

/* The deadline of the call, or NO_DEADLINE: attempt_ms after an interrupt, if that is earlier. */
uint64_t backoff_deadline(const struct backoff *backoff);
bool backoff_expired(const struct backoff *backoff);

/*
 * The deadline for connecting to an address, and for its HELLO. Of several addresses each has at
 * first 250 ms, the Connection Attempt Delay of RFC 8305, and twice as long in each later round, so
 * that one which is silent costs little; and no more than its share of the call's time. `count` is
 * the number of addresses, `untried` of those not yet tried in this round, this one included.
 */
uint64_t backoff_connect_until(const struct backoff *backoff, size_t count, size_t untried);
uint64_t backoff_hello_until(const struct backoff *backoff, size_t count, size_t untried);

/* The deadline of an attempt that starts now: later after each backoff_lengthen_attempt(). */
uint64_t backoff_attempt_until(const struct backoff *backoff);
void backoff_lengthen_attempt(struct backoff *backoff);

/*
 * Pauses before the next attempt, each time about twice as long. Returns false, perhaps at once, if
 * no time is left for another one.
 */
bool backoff_pause(struct backoff *backoff);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BACKOFF_H
#define BACKOFF_H

/*
 * backoff.h - the time that one call has: until when an attempt may take, how long to pause before
 * the next one, and when to give up. Belongs to one thread.
 */

#include "transport.h"

/* How a client waits, from its options; defaults filled in. */
struct pace {
	unsigned attempt_ms;	 /* the first attempt, and connecting */
	unsigned backoff_ms;	 /* the first pause */
	unsigned backoff_max_ms; /* the longest pause */
};

/* As a deadline: wait for ever. */
#define NO_DEADLINE UINT64_MAX

struct backoff {
	const struct transport *transport;
	const struct pace *pace;
	uint64_t deadline_ms; /* nothing goes on after it */
	unsigned unanswered;  /* attempts that waited their time and got no answer */
	unsigned pauses;
	bool is_one_try; /* do not pause: what failed once is given up */
};

/* Starts the clock of a call: `timeout_ms` from now, 0 = for ever. Borrows both tables. */
void backoff_start(struct backoff *backoff, const struct transport *transport,
		   const struct pace *pace, unsigned timeout_ms);

uint64_t backoff_now(const struct backoff *backoff);
bool backoff_expired(const struct backoff *backoff);

/* Until when connecting may take. */
uint64_t backoff_connect_until(const struct backoff *backoff);

/* Until when an attempt that starts now may take: longer after each backoff_lengthen_attempt(). */
uint64_t backoff_attempt_until(const struct backoff *backoff);
void backoff_lengthen_attempt(struct backoff *backoff);

/*
 * Pauses before the next attempt, each time about twice as long. False, perhaps at once, if there
 * is no time for another one.
 */
bool backoff_pause(struct backoff *backoff);

#endif

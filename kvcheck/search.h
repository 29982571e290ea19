/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SEARCH_H
#define SEARCH_H

/*
 * search.h - the search for an order of a plan's calls that explains their replies: just-in-time
 * linearization (Lowe, "Testing for linearizability", 2017).
 *
 * It walks through the events in time with all the states in which the key may be, each with the
 * set of pending calls that have taken effect by then. A call takes effect only when one must:
 * when a call returns. A call that changes nothing is taken as soon as the state is the one that
 * it read, for that can do no harm.
 */

#include "plan.h"

enum search_answer {
	SEARCH_ORDERED,
	SEARCH_STUCK,	 /* there is no order; *stuck is the step at whose return that was clear */
	SEARCH_TOO_LONG, /* more than steps_left */
	SEARCH_TOO_BIG,	 /* more than memory_max, or there is no memory */
};

struct search_limits {
	uint64_t steps_left; /* counts down */
	size_t memory_max;
	void (*progress)(void *context,
			 size_t calls); /* or NULL: with the returns that were seen */
	void *context;
};

enum search_answer search_run(const struct plan *plan, struct search_limits *limits,
			      uint32_t *stuck);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALL_TIMES_H
#define CALL_TIMES_H

/*
 * call_times.h - how many calls of each procedure got a reply, and how long after the turn began in
 * which they came. The clock is not read for each call: those that came and got their reply in one
 * turn count as taking all of it, and while turns follow closely the clock is read at the end of
 * one in CALL_TIMES_TURNS, for the calls of the others too. The thread of the event loop calls it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/stat_histogram.h"

enum {
	CALL_TIMES_MAX = 32, /* numbers of procedures */
	CALL_TIMES_TURNS = 32,
	CALL_TIMES_APART_NS = 100 * 1000 * 1000, /* turns follow closely if they are less apart */
};

/* All zero: nothing was counted. */
struct call_times {
	uint64_t now_ns;		    /* when the turn began */
	uint64_t ended_ns;		    /* the beginning of the turn whose end was timed last */
	uint32_t turns;			    /* since then */
	uint32_t pending;		    /* calls that `immediate` counts */
	uint32_t immediate[CALL_TIMES_MAX]; /* replies in the turn in which the call came */
	struct stat_histogram of[CALL_TIMES_MAX]; /* microseconds */
};

/* A call of this procedure, which came when call_times.now_ns was `began_ns`, gets its reply. */
static inline void call_times_replied(struct call_times *times, unsigned number,
				      uint64_t began_ns) {
	if (began_ns == times->now_ns) {
		times->immediate[number]++;
		times->pending++;
	} else {
		stat_histogram_add(&times->of[number], (times->now_ns - began_ns) / 1000, 1);
	}
}

/* At the end of a turn: whether call_times_end_turn() is to be called. */
static inline bool call_times_are_due(struct call_times *times) {
	return times->pending > 0 && (++times->turns == CALL_TIMES_TURNS ||
				      times->now_ns - times->ended_ns >= CALL_TIMES_APART_NS);
}
void call_times_end_turn(struct call_times *times, uint64_t now_ns);

/* Adds the counters of the procedures that were called. */
void call_times_add_stats(const struct call_times *times, struct stats *stats);

#endif

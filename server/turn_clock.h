/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TURN_CLOCK_H
#define TURN_CLOCK_H

/*
 * turn_clock.h - the clock of the operations: leases count on it, and it is logged. It is a clock
 * of the time in which the server serves. It continues after a restart at the last logged time, and
 * if the process is stopped, or a turn takes long, it moves on by little. So leases do not end
 * because the server did not serve.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	TURN_CLOCK_STALL_MS = 100, /* at most so much of a turn that is no planned sleep counts */
	/*
	 * After so many rounds, each connection received all that was there before them: each gives
	 * at least 64 KiB a round, and a socket buffers 6 MiB (tcp_rmem).
	 */
	TURN_CLOCK_UNREAD_MAX = 128,
};

struct turn_clock {
	uint64_t now_ms;       /* the time of this turn */
	uint64_t monotonic_ms; /* when it was set */
	unsigned round_turns;  /* a round: in so many turns each ready connection has its turn */
	unsigned unread_turns; /* one after another, with input left; one with SOME is a round */
};

/* How much of the input that was ready a turn received. */
enum turn_input {
	TURN_INPUT_ALL,
	TURN_INPUT_SOME, /* from each connection that was ready, but there may be more */
	TURN_INPUT_PART, /* from as many connections as a turn handles; there may be others */
	TURN_INPUT_NONE, /* or little: receiving is paused, or stopped in the middle */
};

/*
 * A turn begins at `monotonic_ms`, after a sleep that was planned to last up to `sleep_ms`
 * (UINT64_MAX: until something happens). Returns the time of the turn.
 */
uint64_t turn_clock_advance(struct turn_clock *clock, uint64_t monotonic_ms, uint64_t sleep_ms);

/*
 * Returns whether leases may end in this turn: only if it took in all calls that came before, which
 * may renew them. To be called once a turn.
 */
bool turn_clock_may_expire(struct turn_clock *clock, enum turn_input input);

#endif

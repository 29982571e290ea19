/* SPDX-License-Identifier: BSD-3-Clause */
#include "turn_clock.h"

uint64_t turn_clock_advance(struct turn_clock *clock, uint64_t monotonic_ms, uint64_t sleep_ms) {
	uint64_t passed_ms = monotonic_ms - clock->monotonic_ms;

	if (sleep_ms < UINT64_MAX - TURN_CLOCK_STALL_MS &&
	    passed_ms > sleep_ms + TURN_CLOCK_STALL_MS)
		passed_ms = sleep_ms + TURN_CLOCK_STALL_MS;
	clock->monotonic_ms = monotonic_ms;
	clock->now_ms += passed_ms;
	return clock->now_ms;
}

/* Counts so many more turns with input left, unless there have been enough. */
static bool has_read_enough(struct turn_clock *clock, unsigned turns) {
	if (clock->unread_turns >= TURN_CLOCK_UNREAD_MAX * clock->round_turns)
		return true;
	clock->unread_turns += turns;
	return false;
}

bool turn_clock_may_expire(struct turn_clock *clock, enum turn_input input) {
	switch (input) {
	case TURN_INPUT_ALL:
		clock->unread_turns = 0;
		return true;
	case TURN_INPUT_SOME:
		return has_read_enough(clock, clock->round_turns);
	case TURN_INPUT_PART:
		return has_read_enough(clock, 1);
	case TURN_INPUT_NONE:
		return false;
	}
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock of the operations while the server is stopped, and when leases may end. */
#include "test.h"
#include "turn_clock.h"

enum { LOGGED_MS = 5000, STARTED_MS = 900000, HOUR_MS = 60 * 60 * 1000 };

static struct turn_clock clock_at_start(void) {
	return (struct turn_clock){
	    .now_ms = LOGGED_MS, .monotonic_ms = STARTED_MS, .round_turns = 1};
}

TEST(rule_5_3_it_goes_on_from_the_last_logged_time) {
	struct turn_clock clock = clock_at_start();

	ck_assert_uint_eq(turn_clock_advance(&clock, STARTED_MS, 0), LOGGED_MS);
	ck_assert_uint_eq(turn_clock_advance(&clock, STARTED_MS + 7, 10), LOGGED_MS + 7);
	ck_assert_uint_eq(turn_clock_advance(&clock, STARTED_MS + 17, 10), LOGGED_MS + 17);
}

TEST(rule_5_3_a_planned_sleep_counts_whole_and_of_a_stall_100_ms) {
	struct turn_clock clock = clock_at_start();
	uint64_t monotonic_ms = STARTED_MS + 3000;

	ck_assert_uint_eq(turn_clock_advance(&clock, monotonic_ms, 3000), LOGGED_MS + 3000);
	monotonic_ms += HOUR_MS;
	ck_assert_uint_eq(turn_clock_advance(&clock, monotonic_ms, 50), LOGGED_MS + 3150);
	/* What was lost stays lost. */
	monotonic_ms += 20;
	ck_assert_uint_eq(turn_clock_advance(&clock, monotonic_ms, 20), LOGGED_MS + 3170);
	/* Turns that take long lose as well. */
	monotonic_ms += 300;
	ck_assert_uint_eq(turn_clock_advance(&clock, monotonic_ms, 0), LOGGED_MS + 3270);
}

TEST(without_anything_due_all_time_counts) {
	struct turn_clock clock = clock_at_start();

	ck_assert_uint_eq(turn_clock_advance(&clock, STARTED_MS + HOUR_MS, UINT64_MAX),
			  LOGGED_MS + HOUR_MS);
}

TEST(rule_5_4_leases_end_only_in_a_turn_that_took_in_everything) {
	struct turn_clock clock = clock_at_start();

	ck_assert(turn_clock_may_expire(&clock, TURN_INPUT_ALL));
	ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_SOME));
	ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_NONE));
	ck_assert(turn_clock_may_expire(&clock, TURN_INPUT_ALL));
}

TEST(a_peer_that_sends_without_end_does_not_keep_them_forever) {
	struct turn_clock clock = clock_at_start();

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < TURN_CLOCK_UNREAD_MAX; i++)
			ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_SOME));
		ck_assert(turn_clock_may_expire(&clock, TURN_INPUT_SOME));
		ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_NONE));
		ck_assert(turn_clock_may_expire(&clock, TURN_INPUT_ALL));
	}
}

TEST(nor_do_more_connections_than_a_turn_handles_which_take_turns) {
	struct turn_clock clock = clock_at_start();

	clock.round_turns = 3;
	/* A turn in which each was read is a round. */
	for (unsigned i = 0; i < TURN_CLOCK_UNREAD_MAX / 2; i++)
		ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_SOME));
	for (unsigned i = 0; i < 3 * TURN_CLOCK_UNREAD_MAX / 2; i++) {
		ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_PART));
		/* A pause neither helps nor hinders. */
		ck_assert(!turn_clock_may_expire(&clock, TURN_INPUT_NONE));
	}
	ck_assert(turn_clock_may_expire(&clock, TURN_INPUT_PART));
	ck_assert(turn_clock_may_expire(&clock, TURN_INPUT_SOME));
}

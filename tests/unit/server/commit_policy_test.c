/* SPDX-License-Identifier: BSD-3-Clause */
/* When the turn waits for the disk itself, and when no longer: commit_policy.h. */
#include <stdlib.h>

#include "commit_policy.h"
#include "test.h"

static struct commit_policy commit_policy;

static void begin(void) {
	commit_policy = (struct commit_policy){.turns = 0};
}

/* A write comes; then, if the thread makes it, the news that it is durable. */
static void write_alone(unsigned times) {
	while (times-- > 0) {
		commit_policy_observe(&commit_policy, true, false, false, true);
		if (!commit_policy_is_inline(&commit_policy))
			commit_policy_observe(&commit_policy, false, false, true, true);
	}
}

/* Another's read: answered at once. */
static void read_between(bool was_writing) {
	commit_policy_observe(&commit_policy, true, true, was_writing, was_writing);
}

CASE(commit_policy, .setup = begin);

TEST(after_enough_writes_in_which_no_client_could_be_served_the_turn_waits) {
	ck_assert(!commit_policy_is_inline(&commit_policy));
	write_alone(COMMIT_POLICY_TURNS - 1);
	ck_assert(!commit_policy_is_inline(&commit_policy));
	write_alone(1);
	ck_assert(commit_policy_is_inline(&commit_policy));
	write_alone(1000000);
	commit_policy_synced(&commit_policy, COMMIT_POLICY_WAIT_US, false);
	ck_assert(commit_policy_is_inline(&commit_policy));
}

TEST(many_who_only_write_are_as_good_as_one) {
	for (unsigned i = 0; i < COMMIT_POLICY_TURNS; i++) {
		ck_assert(!commit_policy_is_inline(&commit_policy));
		commit_policy_observe(&commit_policy, true, false, i > 0, true);
	}
	ck_assert(commit_policy_is_inline(&commit_policy));
	for (unsigned i = 0; i < 100; i++) {
		commit_policy_synced(&commit_policy, 1, true);
		commit_policy_observe(&commit_policy, true, false, false, true);
		ck_assert(commit_policy_is_inline(&commit_policy));
	}
}

TEST(who_is_answered_while_a_batch_is_on_its_way_ends_it) {
	write_alone(COMMIT_POLICY_TURNS);
	read_between(true);
	ck_assert(!commit_policy_is_inline(&commit_policy));
	write_alone(COMMIT_POLICY_TURNS - 1);
	ck_assert(!commit_policy_is_inline(&commit_policy));
	write_alone(1);
	ck_assert(commit_policy_is_inline(&commit_policy));
}

TEST(who_is_answered_in_a_turn_that_has_writes_ends_it) {
	write_alone(COMMIT_POLICY_TURNS);
	commit_policy_observe(&commit_policy, true, true, false, true);
	ck_assert(!commit_policy_is_inline(&commit_policy));
}

TEST(a_read_that_the_turn_kept_waiting_ends_it) {
	write_alone(COMMIT_POLICY_TURNS);
	commit_policy_synced(&commit_policy, 1, true);
	read_between(false);
	ck_assert(!commit_policy_is_inline(&commit_policy));
	write_alone(COMMIT_POLICY_TURNS);
	ck_assert(commit_policy_is_inline(&commit_policy));
	/* One that came later was not kept waiting. */
	commit_policy_synced(&commit_policy, 1, true);
	commit_policy_observe(&commit_policy, true, false, false, true);
	commit_policy_synced(&commit_policy, 1, false);
	read_between(false);
	ck_assert(commit_policy_is_inline(&commit_policy));
}

/* Else a write now and then would make all the readers wait for the disk. */
TEST(turns_that_only_read_do_not_count) {
	for (unsigned i = 0; i < 10 * COMMIT_POLICY_TURNS; i++) {
		for (unsigned j = 0; j < 10 * COMMIT_POLICY_TURNS; j++)
			read_between(false);
		commit_policy_observe(&commit_policy, true, false, false, true);
		ck_assert(!commit_policy_is_inline(&commit_policy));
		read_between(true);
		commit_policy_observe(&commit_policy, false, false, true, true);
	}
}

TEST(reads_of_a_lone_client_change_nothing) {
	for (unsigned i = 0; i < COMMIT_POLICY_TURNS; i++) {
		ck_assert(!commit_policy_is_inline(&commit_policy));
		write_alone(1);
		read_between(false);
	}
	ck_assert(commit_policy_is_inline(&commit_policy));
}

TEST(a_slow_disk_is_not_waited_for_again_soon) {
	write_alone(COMMIT_POLICY_TURNS);
	for (unsigned i = 1; i < COMMIT_POLICY_SLOW; i++) {
		commit_policy_synced(&commit_policy, COMMIT_POLICY_WAIT_US + 1, false);
		ck_assert(commit_policy_is_inline(&commit_policy));
	}
	commit_policy_synced(&commit_policy, COMMIT_POLICY_WAIT_US + 1, false);
	ck_assert(!commit_policy_is_inline(&commit_policy));
	write_alone(COMMIT_POLICY_TURNS);
	ck_assert(commit_policy_is_inline(&commit_policy));
}

TEST(a_disk_that_is_slow_now_and_then_is_waited_for) {
	write_alone(COMMIT_POLICY_TURNS);
	for (unsigned i = 0; i < 100; i++) {
		commit_policy_synced(&commit_policy,
				     COMMIT_POLICY_WAIT_US + (i % COMMIT_POLICY_SLOW == 0 ? 0 : 1),
				     false);
		ck_assert(commit_policy_is_inline(&commit_policy));
	}
}

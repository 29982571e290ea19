/* SPDX-License-Identifier: BSD-3-Clause */
/* The turn writes itself, in place of the journal's thread and beside it: journal_write(). */
#include <errno.h>

#include "journal_live.h"

START_TEST(what_the_turn_writes_is_durable_at_once) {
	await_spare();
	ck_assert(!journal_write(journal));
	ck_assert(put(10));
	ck_assert(put(20));
	ck_assert(journal_is_writing(journal));
	ck_assert(journal_write(journal));
	ck_assert(!journal_is_writing(journal));
	ck_assert_uint_eq(journal_durable(journal), 2);
	ck_assert(journal_stop(journal));
	assert_found(2, true);
}
END_TEST

START_TEST(the_turn_writes_nothing_while_the_thread_does) {
	await_spare();
	gate_set(true);
	ck_assert(put(10));
	journal_turn(journal);
	ck_assert(put(20));
	ck_assert(!journal_write(journal));
	ck_assert_uint_eq(journal_durable(journal), 0);
	gate_set(false);
	turn_until(2);
}
END_TEST

START_TEST(a_large_batch_is_left_to_the_thread) {
	const unsigned segment = 1 << 20;

	stop();
	begin(segment);
	ck_assert(journal_start(journal, world.file, world.found.last));
	world.file = NULL;
	await_spare();
	ck_assert(put(segment / 8));
	ck_assert(!journal_write(journal));
	ck_assert_uint_eq(journal_durable(journal), 0);
	journal_turn(journal);
	turn_until(1);
}
END_TEST

/* It takes the file from the thread and gives it back while spares are made and segments end. */
START_TEST(turn_and_thread_write_by_turns_over_many_segments) {
	unsigned here = 0;

	for (unsigned i = 0; i < 3000; i++) {
		while (!put(9000))
			turn();
		if (i % 3 != 0 && journal_write(journal)) {
			here++;
			ck_assert_uint_eq(journal_durable(journal), world.tape.count);
			continue;
		}
		journal_turn(journal);
		if (i % 2 == 0)
			turn_until(world.tape.count);
	}
	ck_assert_uint_gt(here, 0);
	turn_until(3000);
	ck_assert(journal_stop(journal));
	assert_found(3000, true);
}
END_TEST

START_TEST(a_failure_is_told_to_a_turn_that_writes) {
	struct fake_plan plan = {.before = pass, .fail_change = 2, .error = -EIO};

	await_spare();
	fake_disk_plan(world.disk, &plan);
	ck_assert(put(10));
	ck_assert(journal_write(journal));
	ck_assert_ptr_nonnull(journal_failure(journal));
	ck_assert_uint_eq(journal_durable(journal), 0);
	ck_assert(put(10));
	ck_assert(!journal_write(journal));
	ck_assert(!journal_stop(journal));
}
END_TEST

static void add(TCase *tests) {
	tcase_add_checked_fixture(tests, start, stop);
	tcase_add_test(tests, what_the_turn_writes_is_durable_at_once);
	tcase_add_test(tests, the_turn_writes_nothing_while_the_thread_does);
	tcase_add_test(tests, a_large_batch_is_left_to_the_thread);
	tcase_add_test(tests, turn_and_thread_write_by_turns_over_many_segments);
	tcase_add_test(tests, a_failure_is_told_to_a_turn_that_writes);
}

int main(void) {
	return run_suite("the turn writes", add);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* When the turn takes its client for a lone one, and when no longer: solitude.h. */
#include <stdlib.h>

#include <check.h>

#include "solitude.h"

static struct solitude solitude;

static void begin(void) {
	solitude = (struct solitude){.writes = 0};
}

/* A write comes; then, if the thread makes it, the news that it is durable. */
static void write_alone(unsigned times) {
	while (times-- > 0) {
		solitude_ran(&solitude, true, false, true);
		if (!solitude_is(&solitude))
			solitude_ran(&solitude, false, true, true);
	}
}

START_TEST(a_client_is_alone_after_enough_writes_while_which_nobody_came) {
	ck_assert(!solitude_is(&solitude));
	write_alone(SOLITUDE_WRITES - 1);
	ck_assert(!solitude_is(&solitude));
	write_alone(1);
	ck_assert(solitude_is(&solitude));
	write_alone(1000000);
	solitude_waited(&solitude, SOLITUDE_WAIT_US, false);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(who_comes_while_a_batch_is_on_its_way_is_another) {
	write_alone(SOLITUDE_WRITES);
	solitude_ran(&solitude, true, true, true);
	ck_assert(!solitude_is(&solitude));
	write_alone(SOLITUDE_WRITES - 1);
	ck_assert(!solitude_is(&solitude));
	write_alone(1);
	ck_assert(solitude_is(&solitude));
}
END_TEST

/* Else a write now and then would make all the readers wait for the disk. */
START_TEST(reads_make_nobody_a_lone_client) {
	for (unsigned i = 0; i < 10 * SOLITUDE_WRITES; i++) {
		for (unsigned j = 0; j < 10 * SOLITUDE_WRITES; j++)
			solitude_ran(&solitude, true, false, false);
		solitude_ran(&solitude, true, false, true);
		ck_assert(!solitude_is(&solitude));
		solitude_ran(&solitude, true, true, true);
		solitude_ran(&solitude, false, true, true);
	}
}
END_TEST

START_TEST(reads_of_a_lone_client_change_nothing) {
	for (unsigned i = 0; i < SOLITUDE_WRITES; i++) {
		ck_assert(!solitude_is(&solitude));
		write_alone(1);
		solitude_ran(&solitude, true, false, false);
	}
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(who_comes_while_the_turn_waits_is_another) {
	write_alone(SOLITUDE_WRITES);
	solitude_waited(&solitude, 1, true);
	ck_assert(!solitude_is(&solitude));
	write_alone(SOLITUDE_WRITES);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(a_slow_disk_is_not_waited_for_again_soon) {
	write_alone(SOLITUDE_WRITES);
	for (unsigned i = 1; i < SOLITUDE_SLOW; i++) {
		solitude_waited(&solitude, SOLITUDE_WAIT_US + 1, false);
		ck_assert(solitude_is(&solitude));
	}
	solitude_waited(&solitude, SOLITUDE_WAIT_US + 1, false);
	ck_assert(!solitude_is(&solitude));
	write_alone(SOLITUDE_WRITES);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(a_disk_that_is_slow_now_and_then_is_waited_for) {
	write_alone(SOLITUDE_WRITES);
	for (unsigned i = 0; i < 100; i++) {
		solitude_waited(&solitude, SOLITUDE_WAIT_US + (i % SOLITUDE_SLOW == 0 ? 0 : 1),
				false);
		ck_assert(solitude_is(&solitude));
	}
}
END_TEST

static void add(TCase *tests) {
	tcase_add_checked_fixture(tests, begin, NULL);
	tcase_add_test(tests, a_client_is_alone_after_enough_writes_while_which_nobody_came);
	tcase_add_test(tests, who_comes_while_a_batch_is_on_its_way_is_another);
	tcase_add_test(tests, reads_make_nobody_a_lone_client);
	tcase_add_test(tests, reads_of_a_lone_client_change_nothing);
	tcase_add_test(tests, who_comes_while_the_turn_waits_is_another);
	tcase_add_test(tests, a_slow_disk_is_not_waited_for_again_soon);
	tcase_add_test(tests, a_disk_that_is_slow_now_and_then_is_waited_for);
}

int main(void) {
	Suite *suite = suite_create("solitude");
	TCase *tests = tcase_create("solitude");
	SRunner *runner;
	int failed;

	add(tests);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* When the turn takes its client for a lone one, and when no longer: solitude.h. */
#include <stdlib.h>

#include <check.h>

#include "solitude.h"

static struct solitude solitude;

static void begin(void) {
	solitude = (struct solitude){.turns = 0};
}

static void come(unsigned times) {
	while (times-- > 0)
		solitude_came(&solitude, false);
}

START_TEST(a_client_is_alone_after_enough_calls_of_which_none_came_while_the_disk_was_busy) {
	ck_assert(!solitude_is(&solitude));
	come(SOLITUDE_TURNS - 1);
	ck_assert(!solitude_is(&solitude));
	come(1);
	ck_assert(solitude_is(&solitude));
	come(1000000);
	solitude_waited(&solitude, SOLITUDE_WAIT_US, false);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(who_comes_while_a_batch_is_on_its_way_is_another) {
	come(SOLITUDE_TURNS);
	solitude_came(&solitude, true);
	ck_assert(!solitude_is(&solitude));
	come(SOLITUDE_TURNS - 1);
	ck_assert(!solitude_is(&solitude));
	come(1);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(who_comes_while_the_turn_waits_is_another) {
	come(SOLITUDE_TURNS);
	solitude_waited(&solitude, 1, true);
	ck_assert(!solitude_is(&solitude));
	come(SOLITUDE_TURNS);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(a_slow_disk_is_not_waited_for_again_soon) {
	come(SOLITUDE_TURNS);
	for (unsigned i = 1; i < SOLITUDE_SLOW; i++) {
		solitude_waited(&solitude, SOLITUDE_WAIT_US + 1, false);
		ck_assert(solitude_is(&solitude));
	}
	solitude_waited(&solitude, SOLITUDE_WAIT_US + 1, false);
	ck_assert(!solitude_is(&solitude));
	come(SOLITUDE_TURNS);
	ck_assert(solitude_is(&solitude));
}
END_TEST

START_TEST(a_disk_that_is_slow_now_and_then_is_waited_for) {
	come(SOLITUDE_TURNS);
	for (unsigned i = 0; i < 100; i++) {
		solitude_waited(&solitude, SOLITUDE_WAIT_US + (i % SOLITUDE_SLOW == 0 ? 0 : 1),
				false);
		ck_assert(solitude_is(&solitude));
	}
}
END_TEST

static void add(TCase *tests) {
	tcase_add_checked_fixture(tests, begin, NULL);
	tcase_add_test(
	    tests, a_client_is_alone_after_enough_calls_of_which_none_came_while_the_disk_was_busy);
	tcase_add_test(tests, who_comes_while_a_batch_is_on_its_way_is_another);
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

/* SPDX-License-Identifier: BSD-3-Clause */
/* One line when a limit is reached, and one when that is over. */

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "full_log.h"
#include "log.h"
#include "test.h"

static int ends[2];

static void setup(void) {
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	log_open("kvd", 0);
}

static void check_logged(const char *lines) {
	char text[1024] = "";

	(void)!read(ends[0], text, sizeof(text) - 1);
	ck_assert_str_eq(text, lines);
}

CASE(lines, .setup = setup);

TEST(a_limit_that_refuses_none_says_nothing) {
	struct full_log log = {.what = "writes"};

	ck_assert_uint_eq(full_log_observe(&log, 0, 1), UINT64_MAX);
	ck_assert_uint_eq(full_log_observe(&log, 0, 1000000), UINT64_MAX);
	check_logged("");
}

TEST(many_refusals_are_one_line_and_their_end_is_one_with_their_number) {
	struct full_log log = {.what = "writes"};

	for (uint64_t i = 1; i <= 1000; i++)
		ck_assert_uint_eq(full_log_observe(&log, i, i), FULL_LOG_QUIET_MS);
	check_logged("kvd: refusing writes\n");
	ck_assert_uint_eq(full_log_observe(&log, 1000, 1000 + FULL_LOG_QUIET_MS - 1), 1);
	check_logged("");
	ck_assert_uint_eq(full_log_observe(&log, 1000, 1000 + FULL_LOG_QUIET_MS), UINT64_MAX);
	check_logged("kvd: no longer refusing writes; 1000 were\n");
	/* Again, and the first ones are not counted twice. */
	(void)full_log_observe(&log, 1003, 50000);
	(void)full_log_observe(&log, 1003, 50000 + FULL_LOG_QUIET_MS);
	check_logged("kvd: refusing writes\nkvd: no longer refusing writes; 3 were\n");
}

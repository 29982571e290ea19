/* SPDX-License-Identifier: BSD-3-Clause */
/* The rate limit of log lines. */
#include "log_limit.h"
#include "test.h"

TEST(a_period_has_a_few_lines_and_the_next_one_says_how_many_were_left_out) {
	struct log_limit limit = {0};
	char more[LOG_LIMIT_TEXT_MAX];
	uint64_t now_ms = 5 * LOG_LIMIT_PERIOD_MS;

	for (unsigned i = 0; i < LOG_LIMIT_LINES; i++) {
		ck_assert(log_limit_allows(&limit, now_ms, more));
		ck_assert_str_eq(more, "");
	}
	for (unsigned i = 0; i < 17; i++)
		ck_assert(!log_limit_allows(&limit, now_ms + LOG_LIMIT_PERIOD_MS - 1, more));
	ck_assert(log_limit_allows(&limit, now_ms + LOG_LIMIT_PERIOD_MS, more));
	ck_assert_str_eq(more, " (and 17 more like it)");
	ck_assert(log_limit_allows(&limit, now_ms + LOG_LIMIT_PERIOD_MS, more));
	ck_assert_str_eq(more, "");
}

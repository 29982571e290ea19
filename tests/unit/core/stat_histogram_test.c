/* SPDX-License-Identifier: BSD-3-Clause */
/* The histogram of few buckets: where a value falls, and what STATUS shows of it. */
#include "core/stat_histogram.h"
#include "test.h"

CASE(stat_histogram);

TEST(a_value_falls_below_the_next_power_of_four) {
	static const struct {
		uint64_t value;
		unsigned bucket;
	} cases[] = {{0, 0},
		     {1, 0},
		     {4, 0},
		     {5, 1},
		     {16, 1},
		     {17, 2},
		     {64, 2},
		     {65, 3},
		     {4194304, 10},
		     {4194305, STAT_BUCKETS - 1},
		     {UINT64_MAX, STAT_BUCKETS - 1}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stat_histogram histogram = {.sum = 0};

		stat_histogram_add(&histogram, cases[i].value, 3);
		ck_assert_uint_eq(histogram.buckets[cases[i].bucket], 3);
		ck_assert_uint_eq(stat_histogram_count(&histogram), 3);
		ck_assert_uint_eq(histogram.sum, 3 * cases[i].value);
	}
}

TEST(buckets_and_sum_are_shown_by_their_names) {
	static const char *const names[] = STAT_HISTOGRAM_NAMES("x_");
	struct stat_histogram histogram = {.sum = 0};
	struct stats stats = {.count = 0};

	stat_histogram_add(&histogram, 10, 1);
	stat_histogram_add(&histogram, 5000000, 2);
	stat_histogram_add_stats(&histogram, names, &stats);
	ck_assert_uint_eq(stats.count, STAT_NAMES);
	ck_assert_uint_eq(stats_value(&stats, "x_le_16"), 1);
	ck_assert_uint_eq(stats_value(&stats, "x_le_inf"), 2);
	ck_assert_uint_eq(stats_value(&stats, "x_sum"), 10000010);
}

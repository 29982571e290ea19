/* SPDX-License-Identifier: BSD-3-Clause */
/* Latencies counted, and read back with a bounded error. */

#include <stdlib.h>

#include "histogram.h"
#include "test.h"

static struct histogram histogram;
static struct histogram other;

static void empty(void) {
	histogram = (struct histogram){0};
	other = (struct histogram){0};
}

CASE(histogram, .setup = empty);

TEST(a_share_is_the_value_that_so_many_are_at_or_below) {
	for (uint64_t i = 1; i <= 1000; i++)
		histogram_add(&histogram, i);
	ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 500);
	ck_assert_uint_eq(histogram_quantile(&histogram, 0.999), 999);
	ck_assert_uint_eq(histogram_quantile(&histogram, 1), 1000);
	ck_assert_uint_eq(histogram_quantile(&histogram, 0), 1);
	ck_assert_double_eq_tol(histogram_mean(&histogram), 500.5, 1e-9);
}

TEST(an_empty_histogram_is_zero_everywhere) {
	ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 0);
	ck_assert_double_eq(histogram_mean(&histogram), 0);
}

/* One value below it and one far above, so that what is read is no maximum. */
TEST(any_value_is_read_back_at_most_a_five_hundredth_too_high) {
	for (uint64_t value = 1; value < HISTOGRAM_MAX / 3; value += value / 7 + 1) {
		uint64_t read = 0;
		empty();
		histogram_add(&histogram, value);
		histogram_add(&histogram, HISTOGRAM_MAX);
		read = histogram_quantile(&histogram, 0.5);
		ck_assert_uint_ge(read, value);
		ck_assert_uint_le(read - value, value / 500);
	}
}

TEST(what_is_above_the_range_counts_as_its_end) {
	histogram_add(&histogram, UINT64_MAX);
	ck_assert_uint_eq(histogram_quantile(&histogram, 1), HISTOGRAM_MAX);
}

TEST(merged_histograms_are_as_one) {
	histogram_add(&histogram, 10);
	histogram_add(&other, 5000000);
	histogram_add(&other, 20);
	histogram_merge(&histogram, &other);
	ck_assert_uint_eq(histogram.count, 3);
	ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 20);
	ck_assert_uint_eq(histogram_quantile(&histogram, 1), 5000000);
}

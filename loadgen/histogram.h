/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

/*
 * histogram.h - A histogram of latencies, in fixed memory and with a bounded error. One thread.
 *
 * A high dynamic range histogram: counts for each of 512 steps between a power of two and the next,
 * so that what is read back is above what was added by at most 0.2 %. Below 1024 it is exact.
 * From 0 to HISTOGRAM_MAX; what is above counts as HISTOGRAM_MAX.
 */

#include <stdint.h>

#define HISTOGRAM_MAX ((UINT64_C(1) << 37) - 1) /* 137 s, in nanoseconds */

enum {
	HISTOGRAM_STEP_BITS = 9,
	HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
	HISTOGRAM_BITS = 37,
	/* The first 2 * STEPS are exact; then STEPS for each further power of two. */
	HISTOGRAM_BINS = (HISTOGRAM_BITS - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS,
};

/* All zero is an empty histogram. It is large: keep it off the stack. */
struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max; /* exact */
	uint64_t bins[HISTOGRAM_BINS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds all that is in `other`. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/*
 * The minimum value that at least `share` (0 to 1) of all values are at or below, rounded up by at
 * most 0.2 %; 0 if there are none.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

/* 0 if there are none. */
double histogram_mean(const struct histogram *histogram);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STAT_HISTOGRAM_H
#define STAT_HISTOGRAM_H

/*
 * stat_histogram.h - histogram of few buckets for STATUS, whose bounds are powers of four: cheap
 * enough for every call.
 */

#include <stdint.h>

#include "core/stats.h"

enum {
	STAT_BUCKETS = 12,	       /* up to 4, 16, 64, ... 4194304, and what is above */
	STAT_NAMES = STAT_BUCKETS + 1, /* of the buckets and the sum */
};

/* All zero: empty. */
struct stat_histogram {
	uint64_t buckets[STAT_BUCKETS];
	uint64_t sum;
};

/* The names under which stat_histogram_add_stats() adds one: constant strings. */
#define STAT_HISTOGRAM_NAMES(prefix)                                                               \
	{                                                                                          \
		prefix "le_4", prefix "le_16", prefix "le_64", prefix "le_256", prefix "le_1024",  \
		    prefix "le_4096", prefix "le_16384", prefix "le_65536", prefix "le_262144",    \
		    prefix "le_1048576", prefix "le_4194304", prefix "le_inf", prefix "sum"        \
	}

/* Adds a value `times` times. */
static inline void stat_histogram_add(struct stat_histogram *histogram, uint64_t value,
				      uint64_t times) {
	unsigned digits = value > 4 ? (unsigned)(65 - __builtin_clzll(value - 1)) / 2 - 1 : 0;

	histogram->buckets[digits < STAT_BUCKETS ? digits : STAT_BUCKETS - 1] += times;
	histogram->sum += value * times;
}

/* How many values there are. */
uint64_t stat_histogram_count(const struct stat_histogram *histogram);

void stat_histogram_add_stats(const struct stat_histogram *histogram,
			      const char *const names[STAT_NAMES], struct stats *stats);

#endif

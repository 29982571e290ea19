/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/stat_histogram.h"

uint64_t stat_histogram_count(const struct stat_histogram *histogram) {
	uint64_t count = 0;

	for (unsigned i = 0; i < STAT_BUCKETS; i++)
		count += histogram->buckets[i];
	return count;
}

void stat_histogram_add_stats(const struct stat_histogram *histogram,
			      const char *const names[STAT_NAMES], struct stats *stats) {
	for (unsigned i = 0; i < STAT_BUCKETS; i++)
		stats_add(stats, names[i], histogram->buckets[i]);
	stats_add(stats, names[STAT_BUCKETS], histogram->sum);
}

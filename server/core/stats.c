/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/stats.h"

#include <assert.h>
#include <string.h>

void stats_add(struct stats *stats, const char *name, uint64_t value) {
	unsigned i = 0;

	/* A turn does it for all names: to compare pointers costs next to nothing. */
	while (i < stats->count && stats->list[i].name != name)
		i++;
	assert(i < STATS_MAX);
	if (i == stats->count)
		stats->list[stats->count++] = (struct stat_value){.name = name};
	stats->list[i].value += value;
}

uint64_t stats_value(const struct stats *stats, const char *name) {
	unsigned i = 0;

	while (i < stats->count && strcmp(stats->list[i].name, name) != 0)
		i++;
	return i < stats->count ? stats->list[i].value : 0;
}

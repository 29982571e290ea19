/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/stats.h"

#include <assert.h>

void stats_add(struct counters *counters, const char *name, uint64_t value) {
	assert(counters->count < COUNTERS_MAX);
	counters->list[counters->count++] = (struct counter){.name = name, .value = value};
}

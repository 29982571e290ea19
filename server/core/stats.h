/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STATS_H
#define STATS_H

/*
 * stats.h - the names and numbers that `kvctl status` shows. Each module adds its own; what they
 * mean is in docs/PROTOCOL.md.
 */

#include <stdint.h>

enum { STATS_MAX = 256 }; /* names: KV1_COUNTERS_BOUND of kv.x */

struct stat_value {
	const char *name; /* a constant string */
	uint64_t value;
};

/* All zero: empty. */
struct stats {
	struct stat_value list[STATS_MAX];
	unsigned count;
};

/* Adds a value under this name, or to the value that is there under the very same string. */
void stats_add(struct stats *stats, const char *name, uint64_t value);

/* The value under this name; 0 if there is none. */
uint64_t stats_value(const struct stats *stats, const char *name);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COUNTERS_H
#define COUNTERS_H

/* counters.h - names and numbers for `kvctl status`; docs/PROTOCOL.md says what each means. */

#include <stdint.h>

enum { COUNTERS_MAX = 64 };

struct counter {
	const char *name; /* a constant string */
	uint64_t value;
};

struct counters {
	struct counter list[COUNTERS_MAX];
	unsigned count;
};

void stats_add(struct counters *counters, const char *name, uint64_t value);

#endif

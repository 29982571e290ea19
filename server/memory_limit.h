/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMORY_LIMIT_H
#define MEMORY_LIMIT_H

/*
 * memory_limit.h - memory that this process may use: the least of the machine's memory, the limits
 * of its memory cgroup and of that one's ancestors (versions 2 and 1), and its resource limits.
 */

#include <stdint.h>

enum { MEMORY_LIMIT_SOURCE_MAX = 256 };

struct memory_limit {
	uint64_t bytes;
	char source[MEMORY_LIMIT_SOURCE_MAX]; /* what sets it: "the machine", or a file or limit */
};

/* `proc` is "/proc/self": it has the files "cgroup" and "mountinfo". */
void memory_limit_get(struct memory_limit *limit, const char *proc);

#endif

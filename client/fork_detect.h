/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FORK_DETECT_H
#define FORK_DETECT_H

/*
 * fork_detect.h - detects fork(): whether this process is the one that made an object, or a child.
 *
 * A child is detected however it was made (fork(), _Fork(), clone(), in a PID namespace where it
 * has its parent's number) if its memory is a copy of its parent's. A child of vfork() uses its
 * parent's memory: it counts as the parent, and may only exec or exit anyway.
 */

#include <stdbool.h>
#include <sys/types.h>

struct fork_detect {
	const volatile bool *is_here; /* on a page of its own, which is zeroed in a child */
	pid_t process;		      /* if there is no such page */
};

/* Marks this process as the owner. Cannot fail; fork_detect_destroy() ends it, in a child too. */
void fork_detect_init(struct fork_detect *fork_detect);
void fork_detect_destroy(struct fork_detect *fork_detect);

/* Whether this process called fork_detect_init(). Any thread may call it. */
bool fork_detect_is_owner(const struct fork_detect *fork_detect);

#endif

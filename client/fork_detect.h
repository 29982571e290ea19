/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ORIGIN_H
#define ORIGIN_H

/*
 * origin.h - whether this is the process in which something was made, or one forked off it.
 *
 * A child is known for one however it was made (fork(), _Fork(), clone(), in a namespace where it
 * has its parent's number), if its memory is a copy of its parent's. A child of vfork() lives in
 * its parent's memory: it counts as the parent, and may only exec or exit anyway.
 */

#include <stdbool.h>
#include <sys/types.h>

struct origin {
	const volatile bool *is_here; /* on a page of its own, which is zeroed in a child */
	pid_t process;		      /* if there is no such page */
};

/* Marks this process as the origin. Always works; ended by fork_detect_destroy(), in a child too. */
void fork_detect_init(struct origin *origin);
void fork_detect_destroy(struct origin *origin);

/* Whether this process is the one that called fork_detect_init(). From any thread. */
bool fork_detect_is_owner(const struct origin *origin);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CATCH_H
#define CATCH_H

/*
 * catch.h - a process stopped (SIGSTOP) at a place that tests cannot wait for otherwise, so that
 * what takes no time takes as long as a test likes. `catch_go()` lets it go on.
 */

#include <stdbool.h>

#include "process.h"

/* Stops it while it has a file open whose path has `part` in it. False: it ended before. */
bool catch_with_file(const struct process *process, const char *part);

/* Stops a child of it that has such a file open; false: there is none now. */
bool catch_child(pid_t parent, const char *part, pid_t *child);

void catch_go(pid_t pid);

#endif

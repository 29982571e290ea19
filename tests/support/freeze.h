/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FREEZE_H
#define FREEZE_H

/*
 * freeze.h - stops a process (SIGSTOP) at a place that a test cannot wait for otherwise, so that
 * what takes no time takes as long as a test needs. freeze_continue() resumes it.
 */

#include <stdbool.h>

#include "process.h"

/* Stops it while it has a file open whose path has `part` in it. False: it ended before. */
bool freeze_with_file(const struct process *process, const char *part);

/* Stops a child of it that has such a file open; false: there is none now. */
bool freeze_child(pid_t parent, const char *part, pid_t *child);

void freeze_continue(pid_t pid);

#endif

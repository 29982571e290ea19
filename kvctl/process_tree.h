/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

/*
 * process_tree.h - The processes that descend from this one, as the kernel lists them in /proc:
 * also those that left for a group, session or parent of their own, if process_tree_adopt() was
 * called before they were made. Nothing is kept between calls.
 */

#include <stdbool.h>

/* Has every descendant whose parent ends become a child of this process, for waitpid(-1). */
void process_tree_adopt(void);

/*
 * Sends the signal (0: none) to all descendants that are alive, and returns how many may get
 * signals from this process. One that is being made meanwhile may be missed: call again until the
 * result is 0. Always 0 where /proc is missing, or that of another PID namespace.
 */
unsigned process_tree_signal(int number);

#endif

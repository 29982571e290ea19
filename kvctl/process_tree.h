/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

/*
 * process_tree.h - The processes that this one starts, and all that descends from them, as the
 * kernel lists them in /proc: also those that leave for a group, session or parent of their own.
 * Not those that were there before: a shell that becomes kvctl by exec leaves it its children.
 */

#include <stdbool.h>
#include <stddef.h>

struct process;

struct processes {
	struct process *at; /* in the order of their numbers */
	size_t count;
	size_t room;
};

/* Laid out by the caller. */
struct process_tree {
	struct processes before; /* inside: the descendants that do not belong to it */
};

/*
 * Begins a tree: from now on every descendant whose parent ends becomes a child of this process,
 * for waitpid(-1). Processes that are there already never belong to the tree, and neither do their
 * descendants; but one of those that is made later, and whose parent ends, cannot be told from the
 * others. Returns false, and there is nothing to free, if there is no memory.
 */
bool process_tree_begin(struct process_tree *tree);

/*
 * Sends the signal (0: none) to all of the tree that are alive, and returns how many may get
 * signals from this process. One that is being made meanwhile may be missed: call again until the
 * result is 0. Always 0 where /proc is missing, or that of another PID namespace.
 */
unsigned process_tree_signal(const struct process_tree *tree, int number);

void process_tree_free(struct process_tree *tree);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROCESS_STATE_H
#define PROCESS_STATE_H

/*
 * process_state.h - what a process inherits over exec() and must not depend on: closed descriptors,
 * signal dispositions and masks, timers, limits, priorities. Each function sets one part of it; a
 * program calls those that it needs first thing in main(), before it has a second thread.
 */

#include <stdbool.h>

/*
 * Opens /dev/null at each of the descriptors 0 to 2 that is closed: otherwise the next socket or
 * file gets that number, and what is printed goes there.
 */
void process_open_standard_descriptors(void);

/*
 * Closes all descriptors above 2 but `kept` (negative: none). A starter's lock or pipe that stays
 * open here is not released when the starter ends. Returns false if that cannot be done (errno).
 */
bool process_close_descriptors(int kept);

/*
 * Gives every signal its default disposition, unblocks all of them and stops the interval timers
 * (alarm(2) survives exec()). With SIGCHLD ignored, for example, no child can be waited for.
 */
void process_reset_signals(void);

/* Raises the limit of open files to `enough`, or as far below that as is allowed. */
void process_raise_open_files(unsigned long enough);

/*
 * Gives new threads a stack of `bytes`, whatever the limit of stack sizes is, and raises that limit
 * to `bytes` at least for the first thread.
 */
void process_set_stack_size(unsigned long bytes);

/*
 * Sets a niceness above 0 and an oom_score_adj above 0 to 0. Returns false, with what remains of
 * them, if the kernel does not allow it.
 */
bool process_reset_priority(int *niceness, int *oom_score_adj);

#endif

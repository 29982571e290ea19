/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIGNALS_H
#define SIGNALS_H

/*
 * signals.h - Every catchable signal as an event that is waited for. All are blocked, so that none
 * ends kvctl while it holds a lock; those that were ignored when kvctl started (nohup) stay
 * ignored. One thread waits.
 *
 * SEGV and its like are among them: one that kill(2) sent waits as all others do, one that a fault
 * of kvctl raised still ends it, because the kernel unblocks it then.
 */

#include <signal.h>
#include <stdbool.h>

struct signals {
	sigset_t caught;
	sigset_t before; /* what was blocked at the start; COMMAND gets that */
};

/* Blocks the signals. Called before a thread is made, so that all threads inherit the mask. */
void signals_catch(struct signals *signals);

/*
 * Waits up to timeout_ms (below 0: forever) and returns the signal's number; 0 if none came.
 * *from_terminal: the terminal sent it to the whole process group (Ctrl-C). A SIGPIPE that our own
 * write raised is not reported.
 */
int signals_wait(const struct signals *signals, int timeout_ms, bool *from_terminal);

/* True if the signal's default action ends a process. */
bool signals_terminates(int number);

/* If the signal's default action is to stop: stops here, until SIGCONT. Else does nothing. */
void signals_stop(int number);

/*
 * Makes a write to a closed pipe, or past the limit for a file's size, fail instead of ending the
 * process: a write to the store is reported even if standard output is gone. COMMAND is started
 * with the defaults, because exec resets handlers.
 */
void signals_write_errors(void);

/* Ends the process by SIGPIPE, unless it is ignored: where nothing is to be reported. */
void signals_default_pipe(void);

#endif

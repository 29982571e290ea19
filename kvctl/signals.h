/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIGNALS_H
#define SIGNALS_H

/*
 * signals.h - TERM, INT and HUP, taken when it suits: they are blocked and wait to be asked for.
 * Those that were ignored when kvctl started (nohup) stay ignored.
 */

#include <signal.h>
#include <stdbool.h>

struct signals {
	sigset_t caught; /* the three, and CHLD */
	sigset_t before; /* what was blocked at the start */
};

/* Starts catching. Before any thread is made, so that none of them gets what is meant for us. */
void signals_catch(struct signals *signals);

/*
 * Waits for a signal up to timeout_ms (below 0: for ever) and answers its number; 0 if none came.
 * *is_from_terminal: the terminal sent it (Ctrl-C, hang-up), and so to COMMAND as well.
 */
int signals_wait(const struct signals *signals, int timeout_ms, bool *is_from_terminal);

#endif

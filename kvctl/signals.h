/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIGNALS_H
#define SIGNALS_H

/*
 * signals.h - TERM, INT, HUP and QUIT, taken when it suits: they are blocked and wait to be asked
 * for. QUIT is one of them because its default would end kvctl and leave the lock taken, and
 * COMMAND running without it. Those that were ignored when kvctl started (nohup) stay ignored. PIPE
 * is blocked as well, and never asked for: a notice that nobody reads must not end a holder of the
 * lock.
 */

#include <signal.h>
#include <stdbool.h>

struct signals {
	sigset_t caught; /* the four, and CHLD */
	sigset_t before; /* what was blocked at the start */
};

/* Starts catching. Before any thread is made, so that none of them gets what is meant for us. */
void signals_catch(struct signals *signals);

/*
 * Waits for a signal up to timeout_ms (below 0: for ever) and answers its number; 0 if none came.
 * *is_shared: the terminal sent it to COMMAND as well (Ctrl-C).
 */
int signals_wait(const struct signals *signals, int timeout_ms, bool *is_shared);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHILD_H
#define CHILD_H

/* child.h - COMMAND, run with our standard input and outputs. */

#include "signals.h"

/*
 * Runs argv (found in $PATH) to its end and passes the signals caught on to it, but those that the
 * terminal has sent to both of us: a program that takes two Ctrl-C for "at once" must see one.
 * Answers COMMAND's exit code, CODE_SIGNAL and the number of the signal that ended it, or, after
 * an error line in the name of `command`, CODE_CANNOT_RUN or CODE_NOT_FOUND.
 */
int child_run(const char *command, char *const argv[], const struct signals *signals);

#endif

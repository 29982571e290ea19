/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SHELL_H
#define SHELL_H

/*
 * shell.h - Interactive shell: commands that a user types, one a line (kvctl(1), INTERACTIVE USE).
 * Each runs in a process of its own, so that Ctrl-C ends the command and not the shell.
 */

#include "kvctl.h"

/* True if standard input and output are a terminal. */
bool shell_is_wanted(void);

/* Reads and runs lines until the end of input, or exit or quit. Returns the exit code. */
int shell_run(const struct settings *settings);

#endif

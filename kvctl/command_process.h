/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMAND_PROCESS_H
#define COMMAND_PROCESS_H

/* command_process.h - A command of kvctl that runs in a process of its own, beside others. */

#include "kvctl.h"

/*
 * Runs a command in a child that dies with this process, and waits for it; INT and QUIT of the
 * terminal are the child's meanwhile. Returns its exit code, CODE_SIGNAL and the number if a signal
 * ended it.
 */
int command_process_run(const struct command *command, struct settings *settings, int argc,
			char **argv);

#endif

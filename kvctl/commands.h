/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMANDS_H
#define COMMANDS_H

/*
 * commands.h - The table of commands: the command line, files of commands, help and completion all
 * look there.
 */

#include "kvctl.h"

/* NULL: there is no such command. */
const struct command *commands_find(const char *name);

/* Reports a name that is no command, with the nearest one. Returns CODE_USAGE. */
int commands_report_unknown(const char *name);

/* The name of the command at `index`, in the order of the help; false behind the last one. */
bool commands_name(size_t index, const char **name);

/* What "kvctl --help" and "kvctl --version" print. Return the exit code. */
int commands_print_help(void);
int commands_print_version(void);

#endif

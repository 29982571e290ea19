/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMAND_FILE_H
#define COMMAND_FILE_H

/*
 * command_file.h - Commands of a file, one a line, which one process runs on one handle (kvctl(1),
 * FILES OF COMMANDS). A command that fails is reported with its line, and the next one runs.
 */

#include "kvctl.h"

struct command_file {
	const char *file; /* "-": standard input; NULL: likewise, and no -f was given */
	bool stops;	  /* at the first command that fails */
};

/*
 * Runs all commands. Returns the exit code of the first that failed, or CODE_DONE. It ends early
 * with `stops`, and when the server is not reached any more.
 */
int command_file_run(const struct settings *settings, const struct command_file *file);

#endif

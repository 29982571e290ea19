/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_OPTIONS_H
#define LOCK_OPTIONS_H

/* lock_options.h - Options of the commands that run COMMAND while they hold a lock: lock and elect.
 */

#include <stdbool.h>

#include "lock_holder.h"

enum lock_action { LOCK_RUN, LOCK_BREAK, LOCK_LIST, LOCK_CHECK, ELECT_RUN, ELECT_OBSERVE };

struct lock_options {
	struct lock_request request;
	enum lock_action action; /* what the options ask for */
	uint64_t count;		 /* lines to print; 0: no end */
	bool is_for_command;	 /* an option was read that only LOCK_RUN and ELECT_RUN have */
	bool has_kill_after;
};

/* What the command does if no option says something else. */
void lock_options_begin(struct lock_options *options, const struct command *command);

/*
 * Reads the options up to the next operand, with argv[0] the command or the operand before them,
 * and moves *argc and *argv on to it. CODE_DONE; else what kvctl exits with, and *is_over is set.
 */
int lock_options_read(struct lock_options *options, struct settings *settings, int *argc,
		      char ***argv, bool *is_over);

/*
 * Makes sure that options, and COMMAND at argv (ends in NULL), make sense together, and completes
 * the request. CODE_DONE or CODE_USAGE.
 */
int lock_options_end(struct lock_options *options, struct settings *settings, char **argv);

#endif

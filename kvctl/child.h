/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHILD_H
#define CHILD_H

/* child.h - COMMAND as a child process with kvctl's standard input and outputs. */

#include "lease.h"
#include "signals.h"

/*
 * Runs argv (found in $PATH) to its end. Each signal caught is passed on to it, except those that
 * the terminal sent to both processes: a program that takes two Ctrl-C for "at once" must see one.
 * It gets SIGKILL when kvctl dies; called by the first thread, because the kernel counts its end.
 *
 * When the lease (NULL: none) comes to its end, COMMAND and all that descends from it get SIGTERM,
 * and when it is over SIGKILL, and it is returned only when all of them are gone. Children that
 * kvctl had before, of a shell that became kvctl by exec, are left alone.
 *
 * Returns COMMAND's exit code, CODE_SIGNAL + n if signal n ended it, or, after an error line in the
 * name of `command`, CODE_CANNOT_RUN, CODE_NOT_FOUND or CODE_FAILED.
 */
int child_run(const char *command, char *const argv[], const struct signals *signals,
	      struct lease *lease);

#endif

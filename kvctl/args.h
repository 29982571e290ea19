/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ARGS_H
#define ARGS_H

/*
 * args.h - The command line: global options, a command's own options, and operands. Each function
 * that fails has reported it in the name of `command` (NULL: kvctl itself).
 */

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "kvctl.h"

/*
 * The next option among `options` (`letters` as for getopt_long(3), after ":" or "+:"). Global
 * options on the way are put into *settings. 'h' for --help; '?' for an option that is none or is
 * misused; -1 at the end, with optind moved on. optind is set to 0 before the first.
 */
int args_option(struct settings *settings, const char *command, int argc, char **argv,
		const char *letters, const struct option *options);

/* The global --version, which only kvctl itself has. */
enum { ARGS_VERSION = 1000 };

/* Puts $KV_PROGRAM into *settings, if it is set. */
bool args_environment(struct settings *settings);

/* True if exactly `count` operands are left at optind; `names` is "KEY and VALUE". */
bool args_operands(const char *command, int argc, char **argv, int count, const char *names);

/* A number from `min` to `max`, decimal or hexadecimal after 0x; `what` names it in the error line.
 */
bool args_number(const char *command, const char *what, const char *text, uint64_t min,
		 uint64_t max, uint64_t *number);

/* A version for the option `what`: 0 to UINT64_MAX - 1 (the last one is KV_ANY). */
bool args_version(const char *command, const char *what, const char *text, uint64_t *version);

/*
 * Seconds with an optional fraction, as milliseconds: rounded up, because 0 may mean "forever" and
 * a time that is not 0 must not.
 */
bool args_seconds(const char *command, const char *what, const char *text, unsigned *ms);

/* True if standard input is the command's to read, not the file of commands. */
bool args_may_read_input(const struct settings *settings, const char *command);

/* A key or lock name. CODE_DONE, CODE_USAGE (empty), CODE_LIMIT (too long). */
int args_key(const char *command, const char *text, struct kv_bytes *key);

#endif

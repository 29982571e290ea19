/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

/*
 * arguments.h - what stands on the command line. Each function that fails has said so in a line on
 * standard error, in the name of `command` (NULL: kvctl itself).
 */

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

/*
 * The next option, like getopt_long(3) with `letters` that begin with ':' or "+:"; '?' if it is
 * none, or misused. Set optind to 0 before the first.
 */
int arguments_option(const char *command, int argc, char **argv, const char *letters,
		     const struct option *options);

/* A whole decimal number from `least` to `most`; `what` names it in the error line. */
bool arguments_number(const char *command, const char *what, const char *text, uint64_t least,
		      uint64_t most, uint64_t *number);

/* A version for --expect: 0 to UINT64_MAX - 1 (the last one is KV_ANY). */
bool arguments_version(const char *command, const char *text, uint64_t *version);

/* An RPC program number: decimal, or hexadecimal after 0x; not 0. */
bool arguments_program(const char *command, const char *text, uint32_t *program);

/*
 * Seconds with an optional fraction, as milliseconds: rounded up, because 0 may mean "for ever"
 * and a time that is not 0 must not.
 */
bool arguments_seconds(const char *command, const char *what, const char *text, unsigned *ms);

/* A key or lock name. CODE_DONE, CODE_USAGE (empty), CODE_LIMIT (too long). */
int arguments_key(const char *command, const char *text, struct kv_bytes *key);

#endif

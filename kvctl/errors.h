/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAILURE_H
#define FAILURE_H

/*
 * failure.h - what went wrong: one line on standard error that says what and how to mend it, and
 * an exit code. `command` stands before each line and may be NULL.
 */

#include <stdint.h>

#include <kv/kv.h>

#include "kvctl.h"

#define FAILURE_FORMAT(text, first) __attribute__((format(printf, text, first)))

/* A mistake on the command line, and where help is. Answers CODE_USAGE. */
int error_usage(const char *command, const char *format, ...) FAILURE_FORMAT(2, 3);

/* Any other failure. Answers `code`. */
int error_report(int code, const char *command, const char *format, ...) FAILURE_FORMAT(3, 4);

/* What a person may want to know and a script does not: nothing with -q. */
void notice(const struct settings *settings, const char *command, const char *format, ...)
    FAILURE_FORMAT(3, 4);

/* What was tried. */
struct action {
	const char *command;
	struct kv_bytes key; /* size 0: it was not about a key */
	uint64_t expected;   /* of a write, else KV_ANY */
	uint64_t current;    /* with KV_VERSION: the version that the key has */
};

/* Tells that the action ended with `status`, which is not KV_OK. Answers the exit code for it. */
int error_status(const struct settings *settings, struct kv_client *client,
		   const struct action *action, enum kv_status status);

/*
 * Bytes as one word that is safe on a terminal: control characters, and what is no character in
 * the user's locale, become \xNN; what is too long ends in "...".
 */
enum { FAILURE_TEXT_MAX = 512 };
void printable(struct kv_bytes bytes, char text[FAILURE_TEXT_MAX]);

#endif

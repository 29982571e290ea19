/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ERRORS_H
#define ERRORS_H

/*
 * errors.h - Error lines: one line on standard error that says what is wrong and how to fix it,
 * and an exit code. `command` stands before each line and may be NULL. Control characters in the
 * line are escaped, so any bytes may be part of it. On a terminal the name of the program is red.
 */

#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "kvctl.h"

#define ERROR_FORMAT(text, first) __attribute__((format(printf, text, first)))

/*
 * Where the command under way comes from ("orders.kv:12"), to stand in each line; NULL: from the
 * command line. Borrowed. As with a log's destination there is one for the process.
 */
void errors_set_place(const char *place);

/* A mistake on the command line, and where help is. Returns CODE_USAGE. */
int error_usage(const char *command, const char *format, ...) ERROR_FORMAT(2, 3);

/* Any other failure. Returns `code`. */
int error_report(int code, const char *command, const char *format, ...) ERROR_FORMAT(3, 4);

/* News for a user at a terminal, which a script does not need: nothing with -q. */
void notice(const struct settings *settings, const char *command, const char *format, ...)
    ERROR_FORMAT(3, 4);

/* A call that failed, as far as its error line depends on it. */
struct attempted {
	const char *command;
	struct kv_bytes key; /* size 0: it was not about a key */
	size_t value_size;   /* of a write */
	uint64_t expected;   /* of a write, else KV_ANY */
	uint64_t current;    /* with KV_VERSION: the version that the key has */
	bool waits;	     /* it asked the server to wait for a change */
	bool appends;	     /* it adds to a value */
};

/*
 * Reports that the call on `client` (NULL: none was made) ended with `status`, which is not KV_OK.
 * Returns the exit code for it. For KV_TOOBIG and KV_FULL it asks the server which limit is meant.
 */
int error_status(const struct settings *settings, struct kv_client *client,
		 const struct attempted *attempted, enum kv_status status);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VALUE_ARG_H
#define VALUE_ARG_H

/* value_arg.h - A VALUE as the user gave it: an argument, "-" for standard input, or "@FILE". */

#include <kv/kv.h>

#include "kvctl.h"

struct value_arg {
	struct kv_bytes bytes;
	void *memory; /* what to free; NULL if the bytes are the argument's own */
};

/*
 * Reads a value of up to KV_VALUE_MAX bytes, and not more than one byte beyond, into *value, to be
 * freed with value_arg_free(). CODE_DONE, or an error line and: CODE_LIMIT (longer), CODE_USAGE
 * ("@" alone, or "-" and standard input has the commands), CODE_REFUSED (cannot be read). `text`
 * must outlive the value.
 */
int value_arg_read(const struct settings *settings, const char *command, const char *text,
		   struct value_arg *value);

void value_arg_free(struct value_arg *value);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef INPUT_H
#define INPUT_H

/* input.h - a VALUE as the user gave it: an argument, "-" for standard input, or "@FILE". */

#include <kv/kv.h>

struct input {
	struct kv_bytes bytes;
	void *memory; /* what to free; NULL if the bytes are the argument's own */
};

/*
 * Reads a value of up to KV_VALUE_MAX bytes, and not more than one byte beyond, into *input, to be
 * freed with input_free(). CODE_DONE, or an error line and: CODE_LIMIT (longer), CODE_USAGE ("@"
 * alone), CODE_REFUSED (cannot be read). `text` must outlive the input.
 */
int input_read(const char *command, const char *text, struct input *input);

void input_free(struct input *input);

#endif

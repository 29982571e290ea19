/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORDS_H
#define WORDS_H

/*
 * words.h - Words of a line of commands: split at blanks, with quotes and escapes (kvctl(1), FILES
 * OF COMMANDS). The words and their array belong to the struct; a next line uses its memory again.
 */

#include <stddef.h>

#include <kv/kv.h>

/* All zero at first. */
struct words {
	char **word; /* `count` of them, and a NULL */
	int count;
	size_t capacity;
	char *text;
	size_t text_capacity;
};

/*
 * Splits a line; one that is empty, or whose first word begins with #, has no words. Returns NULL,
 * or what is wrong with it, as a constant string.
 */
const char *words_split(struct words *words, struct kv_bytes line);

/*
 * Writes a word so that words_split() reads it: escaped where it must be, cut if it does not fit
 * `size` bytes.
 */
void words_quote(struct kv_bytes word, char *to, size_t size);

void words_free(struct words *words);

#endif

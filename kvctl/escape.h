/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ESCAPE_H
#define ESCAPE_H

/*
 * escape.h - Bytes of others made safe for a terminal: control characters, and what is no character
 * in the user's locale, become \xNN.
 */

#include <stddef.h>

#include <kv/kv.h>

enum escape_style {
	ESCAPE_WORD, /* a backslash is escaped too: the text shows the bytes without ambiguity */
	ESCAPE_LINE, /* a backslash is kept */
	ESCAPE_TEXT, /* tabs and ends of lines are kept as well */
};

/* Space for the longest character or escape sequence, and the final NUL. */
enum { ESCAPE_SIZE_MIN = 24, ESCAPE_WORD_SIZE = 512 };

/*
 * Writes what fits into `size` (at least ESCAPE_SIZE_MIN) bytes of `to`, with a final NUL, and
 * returns how many bytes of `from` that was.
 */
size_t escape_bytes(struct kv_bytes from, enum escape_style style, char *to, size_t size);

/* A whole word, in the style ESCAPE_WORD; one that is too long ends in "...". */
void escape_word(struct kv_bytes from, char to[ESCAPE_WORD_SIZE]);

#endif

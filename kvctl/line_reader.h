/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LINE_READER_H
#define LINE_READER_H

/* line_reader.h - Lines of a descriptor, each of at most LINE_READER_MAX bytes. */

#include <stdbool.h>
#include <stddef.h>

#include <kv/kv.h>

/* Room for a key and the largest value, plain. */
enum { LINE_READER_MAX = KV_VALUE_MAX + 65536 };

/* All zero at first, but for the descriptor, which is the caller's. */
struct line_reader {
	int descriptor;
	char *text; /* read, and not taken yet: from `at` on */
	size_t at, size, capacity;
	bool is_at_end;
	unsigned long long line; /* the number of the line that was read, from 1 on */
};

enum line { LINE_READ, LINE_END, LINE_TOO_LONG, LINE_NO_MEMORY, LINE_FAILED };

/*
 * Reads the next line, without its newline, which the last one may lack, into *line: borrowed until
 * the next call. LINE_TOO_LONG: the line is left out, and the next one may be read. LINE_FAILED:
 * errno says why.
 */
enum line line_reader_next(struct line_reader *reader, struct kv_bytes *line);

void line_reader_free(struct line_reader *reader);

#endif

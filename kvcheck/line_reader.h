/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LINE_READER_H
#define LINE_READER_H

/* line_reader.h - a reader of the lines of a file, with memory for one line. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct lines {
	FILE *file;
	size_t size_max; /* of a line */
	char *data;	 /* owned */
	size_t room;
	size_t begin; /* of what was not handed out yet */
	size_t end;
	uint64_t bytes; /* handed out so far */
};

enum lines_answer {
	LINES_LINE, /* *text is a line, without its newline, until the next call */
	LINES_REST, /* the same, but the file ends without a newline */
	LINES_END,
	LINES_TOO_LONG,
	LINES_NOMEM,
	LINES_FAILED, /* errno says why */
};

void line_reader_init(struct lines *lines, FILE *file, size_t size_max);
void line_reader_destroy(struct lines *lines);
enum lines_answer line_reader_next(struct lines *lines, const char **text, size_t *size);

#endif

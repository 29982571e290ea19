/* SPDX-License-Identifier: BSD-3-Clause */
#include "line_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_ROOM = 64 * 1024 };

void line_reader_init(struct lines *lines, FILE *file, size_t size_max) {
	*lines = (struct lines){.file = file, .size_max = size_max};
}

void line_reader_destroy(struct lines *lines) {
	free(lines->data);
	*lines = (struct lines){0};
}

/* Room behind the bytes at hand, which move to the front. */
static bool make_room(struct lines *lines) {
	size_t room = lines->room == 0 ? LEAST_ROOM : lines->room * 2;
	size_t held = lines->end - lines->begin;

	if (lines->begin > 0) {
		memmove(lines->data, lines->data + lines->begin, held);
		lines->begin = 0;
		lines->end = held;
	}
	if (lines->end < lines->room)
		return true;
	char *data = realloc(lines->data, room);
	if (data == NULL)
		return false;
	lines->data = data;
	lines->room = room;
	return true;
}

static enum lines_answer hand_out(struct lines *lines, size_t size, enum lines_answer answer,
				  const char **text, size_t *text_size) {
	*text = lines->data + lines->begin;
	*text_size = size;
	size += answer == LINES_LINE; /* the newline */
	lines->begin += size;
	lines->bytes += size;
	return answer;
}

enum lines_answer line_reader_next(struct lines *lines, const char **text, size_t *size) {
	size_t searched = 0;

	for (;;) {
		size_t held = lines->end - lines->begin;
		const char *from = held > 0 ? lines->data + lines->begin : NULL;
		const char *newline =
		    held > searched ? memchr(from + searched, '\n', held - searched) : NULL;
		if (newline != NULL && (size_t)(newline - from) <= lines->size_max)
			return hand_out(lines, (size_t)(newline - from), LINES_LINE, text, size);
		if (held > lines->size_max)
			return LINES_TOO_LONG;
		searched = held;
		if (!make_room(lines))
			return LINES_NOMEM;
		errno = 0;
		size_t got =
		    fread(lines->data + lines->end, 1, lines->room - lines->end, lines->file);
		lines->end += got;
		if (got > 0)
			continue;
		if (ferror(lines->file))
			return LINES_FAILED;
		if (held == 0)
			return LINES_END;
		return hand_out(lines, held, LINES_REST, text, size);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "line_reader.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

static bool make_room(struct line_reader *reader) {
	if (reader->at > 0) {
		memmove(reader->text, reader->text + reader->at, reader->size - reader->at);
		reader->size -= reader->at;
		reader->at = 0;
	}
	if (reader->capacity - reader->size >= READ_BYTES)
		return true;
	size_t capacity = 2 * reader->capacity + READ_BYTES;
	char *larger = realloc(reader->text, capacity);
	if (larger == NULL)
		return false;
	reader->text = larger;
	reader->capacity = capacity;
	return true;
}

/* Reads more behind what there is. */
static enum line read_more(struct line_reader *reader) {
	if (!make_room(reader))
		return LINE_NO_MEMORY;
	for (;;) {
		ssize_t got = read(reader->descriptor, reader->text + reader->size, READ_BYTES);

		if (got >= 0) {
			reader->is_at_end = got == 0;
			reader->size += (size_t)got;
			return LINE_READ;
		}
		if (errno == EAGAIN) {
			struct pollfd ready = {.fd = reader->descriptor, .events = POLLIN};
			(void)poll(&ready, 1, -1);
		} else if (errno != EINTR) {
			return LINE_FAILED;
		}
	}
}

enum line line_reader_next(struct line_reader *reader, struct kv_bytes *line) {
	size_t looked = 0;
	bool is_long = false;

	reader->line++;
	for (;;) {
		char *text = reader->text + reader->at;
		size_t size = reader->size - reader->at;
		char *newline = size > looked ? memchr(text + looked, '\n', size - looked) : NULL;

		if (newline == NULL && size > LINE_READER_MAX) {
			is_long = true;
			reader->size = reader->at = size = 0;
		}
		if (newline != NULL || reader->is_at_end) {
			*line = (struct kv_bytes){text, newline != NULL ? (size_t)(newline - text)
									: size};
			reader->at += line->size + (newline != NULL ? 1 : 0);
			if (is_long || line->size > LINE_READER_MAX)
				return LINE_TOO_LONG;
			return newline == NULL && size == 0 ? LINE_END : LINE_READ;
		}
		looked = size;
		enum line more = read_more(reader);
		if (more != LINE_READ)
			return more;
	}
}

void line_reader_free(struct line_reader *reader) {
	free(reader->text);
	reader->text = NULL;
}

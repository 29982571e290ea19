/* SPDX-License-Identifier: BSD-3-Clause */
#include "value_arg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"

enum { FIRST_SIZE = 65536 };

/* One byte more than the limit tells that there is more than the limit. */
enum { SIZE_MAX_READ = KV_VALUE_MAX + 1 };

/* Reads up to SIZE_MAX_READ bytes. False: errno says why; what was read is still to be freed. */
static bool read_all(int descriptor, char **memory, size_t *size) {
	size_t room = 0;
	for (;;) {
		if (*size == room) {
			room = room == 0 ? FIRST_SIZE : room * 2;
			if (room > SIZE_MAX_READ)
				room = SIZE_MAX_READ;
			char *larger = realloc(*memory, room);
			if (larger == NULL)
				return false;
			*memory = larger;
		}
		ssize_t got = read(descriptor, *memory + *size, room - *size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		*size += (size_t)got;
		if (got == 0 || *size == SIZE_MAX_READ)
			return true;
	}
}

static int read_descriptor(const char *command, const char *name, int descriptor,
			   struct input *input) {
	char *memory = NULL;
	size_t size = 0;
	bool is_read = read_all(descriptor, &memory, &size);
	int code = CODE_DONE;
	if (!is_read)
		code = error_report(CODE_REFUSED, command, "cannot read %s: %s", name,
				    strerror(errno));
	else if (size > KV_VALUE_MAX)
		code = error_report(CODE_LIMIT, command,
				    "%s is too big: a value has at most %d bytes (16 MiB)", name,
				    KV_VALUE_MAX);
	if (code != CODE_DONE) {
		free(memory);
		return code;
	}
	*input = (struct input){.bytes = {memory, size}, .memory = memory};
	return CODE_DONE;
}

int input_read(const char *command, const char *text, struct input *input) {
	*input = (struct input){.bytes = {text, strlen(text)}};
	if (strcmp(text, "-") == 0)
		return read_descriptor(command, "standard input", STDIN_FILENO, input);
	if (text[0] != '@')
		return CODE_DONE;

	const char *name = text + 1;
	if (name[0] == '\0')
		return error_usage(command,
				     "@ is followed by the name of a file (a value that begins "
				     "with @ comes from standard input: -)");
	int descriptor = open(name, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return error_report(CODE_REFUSED, command,
				    "cannot read %s: %s (a value that begins with @ comes from "
				    "standard input: -)",
				    name, strerror(errno));
	int code = read_descriptor(command, name, descriptor, input);
	(void)close(descriptor);
	return code;
}

void input_free(struct input *input) {
	free(input->memory);
	*input = (struct input){.memory = NULL};
}

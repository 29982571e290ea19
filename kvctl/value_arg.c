/* SPDX-License-Identifier: BSD-3-Clause */
#include "value_arg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "errors.h"

enum { FIRST_SIZE = 65536 };

/* One byte above the limit, to notice that a value is above the limit. */
enum { SIZE_MAX_READ = KV_VALUE_MAX + 1 };

/* Reads up to SIZE_MAX_READ bytes. False: errno says why; what was read is still to be freed. */
static bool read_all(int descriptor, char **memory, size_t *size) {
	size_t capacity = 0;
	for (;;) {
		if (*size == capacity) {
			capacity = capacity == 0 ? FIRST_SIZE : capacity * 2;
			if (capacity > SIZE_MAX_READ)
				capacity = SIZE_MAX_READ;
			char *larger = realloc(*memory, capacity);
			if (larger == NULL)
				return false;
			*memory = larger;
		}
		ssize_t got = read(descriptor, *memory + *size, capacity - *size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN) { /* set O_NONBLOCK by the process that made it */
			struct pollfd ready = {.fd = descriptor, .events = POLLIN};
			(void)poll(&ready, 1, -1);
			continue;
		}
		if (got < 0)
			return false;
		*size += (size_t)got;
		if (got == 0 || *size == SIZE_MAX_READ)
			return true;
	}
}

static int read_descriptor(const char *command, const char *name, int descriptor,
			   struct value_arg *input) {
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
	*input = (struct value_arg){.bytes = {memory, size}, .memory = memory};
	return CODE_DONE;
}

int value_arg_read(const struct settings *settings, const char *command, const char *text,
		   struct value_arg *value) {
	*value = (struct value_arg){.bytes = {text, strlen(text)}};
	if (strcmp(text, "-") == 0)
		return !args_may_read_input(settings, command)
			   ? CODE_USAGE
			   : read_descriptor(command, "standard input", STDIN_FILENO, value);
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
	int code = read_descriptor(command, name, descriptor, value);
	(void)close(descriptor);
	return code;
}

void value_arg_free(struct value_arg *value) {
	free(value->memory);
	*value = (struct value_arg){.memory = NULL};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *log_name = "kvd";
static int log_verbosity;

void log_open(const char *name, int verbosity) {
	log_name = name;
	log_verbosity = verbosity;
}

/*
 * One write per line, so that lines of several threads never mix. A line is lost rather than waited
 * for: if nobody reads the pipe at the other end, the turn goes on. (A pipe that is ready takes
 * PIPE_BUF bytes, which is more than a line has.)
 */
static void __attribute__((format(printf, 1, 0))) line(const char *format, va_list arguments) {
	char text[1024];
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
	int used = snprintf(text, sizeof(text), "%s: ", log_name);
	int more = vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
	size_t length = (size_t)used + (more > 0 ? (size_t)more : 0);

	if (length > sizeof(text) - 2)
		length = sizeof(text) - 2;
	text[length++] = '\n';
	if (poll(&ready, 1, 0) > 0 && (ready.revents & POLLOUT) != 0)
		(void)!write(STDERR_FILENO, text, length);
}

#define LINE_AT(least)                                                                             \
	va_list arguments;                                                                         \
	va_start(arguments, format);                                                               \
	if (log_verbosity >= (least))                                                              \
		line(format, arguments);                                                           \
	va_end(arguments)

void log_error(const char *format, ...) {
	LINE_AT(0);
}

void log_warn(const char *format, ...) {
	LINE_AT(0);
}

void log_info(const char *format, ...) {
	LINE_AT(0);
}

void log_verbose(const char *format, ...) {
	LINE_AT(1);
}

void log_debug(const char *format, ...) {
	LINE_AT(2);
}

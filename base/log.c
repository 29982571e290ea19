/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum log_style { LOG_PLAIN, LOG_JOURNAL, LOG_STAMPED };

static const char *log_name = "kvd";
static int log_verbosity;
static enum log_style log_style;
static atomic_uint dropped;

void log_open(const char *name, int verbosity) {
	log_name = name;
	log_verbosity = verbosity;
	log_style = LOG_PLAIN;
}

/* $JOURNAL_STREAM is "device:inode" of standard error if that is the journal: systemd.exec(5). */
static bool is_journal(void) {
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat status;
	char *inode = NULL;

	return stream != NULL && fstat(STDERR_FILENO, &status) == 0 &&
	       strtoull(stream, &inode, 10) == status.st_dev && *inode == ':' &&
	       strtoull(inode + 1, NULL, 10) == status.st_ino;
}

void log_start(int verbosity) {
	log_verbosity = verbosity;
	log_style = is_journal() ? LOG_JOURNAL : LOG_STAMPED;
}

/* --- Writing without waiting --------------------------------------------------------------- */

static bool write_if_ready(const char *text, size_t size) {
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&ready, 1, 0) > 0 && (ready.revents & POLLOUT) != 0 &&
	       write(STDERR_FILENO, text, size) > 0;
}

/*
 * Because other processes may share standard error, its O_NONBLOCK is not ours to set: a pipe or a
 * terminal is opened a second time for the line. It is closed again at once, so that a forked child
 * that closes all descriptors never writes into a file that got this number.
 */
static bool write_unblocked(const char *text, size_t size) {
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	bool done;

	if (fd < 0) /* another user's pipe, or no /proc; ENXIO: a pipe without a reader */
		return errno != ENXIO && write_if_ready(text, size);
	done = write(fd, text, size) > 0;
	(void)close(fd);
	return done;
}

static bool write_line(const char *text, size_t size) {
	struct stat status;

	if (send(STDERR_FILENO, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno != ENOTSOCK || fstat(STDERR_FILENO, &status) != 0)
		return false;
	if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))
		return write_unblocked(text, size);
	return write(STDERR_FILENO, text, size) > 0;
}

void log_write(const char *text, size_t size) {
	int error = errno;

	if (!write_line(text, size))
		atomic_fetch_add(&dropped, 1);
	errno = error;
}

/* --- Lines --------------------------------------------------------------------------------- */

static size_t put_prefix(char *line, size_t size, int level) {
	const char *word = level <= 3 ? "error: " : level == 4 ? "warning: " : "";
	struct timespec now;
	struct tm utc;
	int used = 0;

	if (log_style == LOG_JOURNAL) {
		used = snprintf(line, size, "<%d>%s: ", level, log_name);
	} else if (log_style == LOG_STAMPED) {
		(void)clock_gettime(CLOCK_REALTIME, &now);
		(void)gmtime_r(&now.tv_sec, &utc);
		used = snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s: %s",
				utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
				utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000, log_name, word);
	} else {
		used = snprintf(line, size, "%s: ", log_name);
	}
	return (size_t)used < size ? (size_t)used : size;
}

/* Appends `text` with all but printable ASCII as \xNN, as far as there is room. */
static size_t put_escaped(char *line, size_t used, size_t size, const char *text) {
	static const char hex[] = "0123456789abcdef";

	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char)*text;
		bool is_escaped = byte < ' ' || byte > '~';

		if (used + (is_escaped ? 4 : 1) > size)
			break;
		if (is_escaped) {
			memcpy(line + used, (char[]){'\\', 'x', hex[byte >> 4], hex[byte & 15]}, 4);
			used += 4;
		} else {
			line[used++] = *text;
		}
	}
	return used;
}

static bool put_line(int level, const char *text) {
	char line[LOG_LINE_MAX];
	size_t room = sizeof(line) - 1;
	size_t used = put_escaped(line, put_prefix(line, room, level), room, text);

	line[used++] = '\n';
	return write_line(line, used);
}

static void __attribute__((format(printf, 2, 0)))
log_line(int level, const char *format, va_list arguments) {
	char text[LOG_LINE_MAX];
	int error = errno;
	unsigned lost = atomic_exchange(&dropped, 0);

	(void)vsnprintf(text, sizeof(text), format, arguments);
	if (lost > 0) {
		char told[64];

		(void)snprintf(told, sizeof(told), "%u lines of the log were dropped here", lost);
		if (put_line(4, told))
			lost = 0;
	}
	if (lost > 0 || !put_line(level, text))
		atomic_fetch_add(&dropped, lost + 1);
	errno = error;
}

#define LINE_AT(min_verbosity, level)                                                              \
	va_list arguments;                                                                         \
	va_start(arguments, format);                                                               \
	if (log_verbosity >= (min_verbosity))                                                      \
		log_line(level, format, arguments);                                                \
	va_end(arguments)

void log_error(const char *format, ...) {
	LINE_AT(0, 3);
}

void log_warn(const char *format, ...) {
	LINE_AT(0, 4);
}

void log_info(const char *format, ...) {
	LINE_AT(0, 6);
}

void log_verbose(const char *format, ...) {
	LINE_AT(1, 6);
}

bool log_has_debug(void) {
	return log_verbosity >= 2;
}

void log_debug(const char *format, ...) {
	LINE_AT(2, 7);
}

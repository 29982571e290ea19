/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOG_H
#define LOG_H

/*
 * log.h - log of a daemon, on standard error. Each function takes a printf format and writes one
 * line; any thread may call it. Programs only: libkv never prints.
 *
 * A line is "kvd: TEXT" before log_start(). After that it is "<4>kvd: TEXT" if standard error is
 * the journal of systemd (sd-daemon(3)), else "2026-11-30T22:01:02.123Z kvd: TEXT", with "error: "
 * or "warning: " before the text. All but printable ASCII is escaped in the text (\x1b).
 *
 * No call ever waits: a line that standard error cannot take at once is dropped, and the next line
 * that it takes follows one with the number of lines that were.
 */

#include <stdbool.h>
#include <stddef.h>

#define LOG_FORMAT __attribute__((format(printf, 1, 2)))

enum { LOG_LINE_MAX = 1024 }; /* bytes of a line; what is longer is cut */

/* `name` stands before each line and must outlive the log; `verbosity` below 0: nothing is written.
 */
void log_open(const char *name, int verbosity);

/* From here on lines carry a level or a time stamp, as above. `verbosity` counts the -v. */
void log_start(int verbosity);

/* The process cannot go on, or an operator must act. */
void log_error(const char *format, ...) LOG_FORMAT;
/* Something is wrong; the process goes on. */
void log_warn(const char *format, ...) LOG_FORMAT;
/* Start, stop, a change of state. */
void log_info(const char *format, ...) LOG_FORMAT;
/* With -v: a line for each connection. */
void log_verbose(const char *format, ...) LOG_FORMAT;
/* With -vv: a line for each call. */
void log_debug(const char *format, ...) LOG_FORMAT;

/* Whether log_debug() writes anything: for lines that are costly to put together. */
bool log_has_debug(void);

/* Writes `text` as it is, or drops it. Async-signal-safe. */
void log_write(const char *text, size_t size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOG_H
#define LOG_H

/*
 * log.h - lines for whoever runs the daemon, on standard error. Each takes a printf format and
 * writes one line, "kvd: ..." (the name given to log_open). Programs only: libkv never prints.
 */

#define LOG_FORMAT __attribute__((format(printf, 1, 2)))

/*
 * `name` stands before each line and must outlive the log; `verbosity` counts the -v, and below 0
 * nothing is said.
 */
void log_open(const char *name, int verbosity);

/* Somebody must act, or the process cannot go on. */
void log_error(const char *format, ...) LOG_FORMAT;
/* Something is not as it should be; kvd goes on. */
void log_warn(const char *format, ...) LOG_FORMAT;
/* Start, stop, a change of state. */
void log_info(const char *format, ...) LOG_FORMAT;
/* With -v: what single peers do. */
void log_verbose(const char *format, ...) LOG_FORMAT;
/* With -vv: every step. */
void log_debug(const char *format, ...) LOG_FORMAT;

#endif

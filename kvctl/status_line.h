/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STATUS_LINE_H
#define STATUS_LINE_H

/*
 * status_line.h - A line on the terminal that is written over again, and the one of a call that
 * takes long. Nothing is shown with -q, or if standard error is no terminal.
 */

#include <pthread.h>

#include "kvctl.h"

/* True if there is a terminal to show progress on. */
bool status_line_is_shown(const struct settings *settings);

/* Writes the line over; cut at the terminal's width. */
void status_line_show(const struct settings *settings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Empties the line, for what is printed next. */
void status_line_clear(const struct settings *settings);

/* A call on `client`, under way in another thread. Laid out by the caller. */
struct status_line_wait {
	const struct settings *settings;
	struct kv_client *client;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_started;
	bool is_over;
};

/* Shows from STATUS_LINE_WAIT_MS on what the calls on `client` wait for, until
 * status_line_wait_end(). */
enum { STATUS_LINE_WAIT_MS = 500 };
void status_line_wait_begin(struct status_line_wait *wait, const struct settings *settings,
			    struct kv_client *client);
void status_line_wait_end(struct status_line_wait *wait);

#endif

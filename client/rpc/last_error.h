/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LAST_ERROR_H
#define LAST_ERROR_H

/*
 * last_error.h - the error message of the last connect or attempt of this thread, one line. Like
 * errno it belongs to the thread, so that threads on one handle do not mix up their messages.
 */

/* Forgets it: each connect and each attempt begins so. */
void last_error_clear(void);

/* Takes a printf format; what does not fit is cut off. */
void last_error_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "" if there is none. Valid until this thread's next connect or attempt. */
const char *last_error_text(void);

#endif

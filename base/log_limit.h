/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOG_LIMIT_H
#define LOG_LIMIT_H

/*
 * log_limit.h - a rate limit for log lines that peers can cause: a few lines in each period, and in
 * the next period the number of lines that were left out. One for each kind of line.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	LOG_LIMIT_LINES = 5,
	LOG_LIMIT_PERIOD_MS = 10000,
	LOG_LIMIT_TEXT_MAX = 48,
};

/* All zero: nothing was logged yet. */
struct log_limit {
	uint64_t period_ms; /* when this period began */
	unsigned lines;	    /* in this period */
	unsigned left_out;  /* since the last line */
};

/*
 * Returns whether a line may be logged now. Then `more` is what to add to it: "" or " (and 17 more
 * like it)". `now_ms` does not go back.
 */
bool log_limit_allows(struct log_limit *limit, uint64_t now_ms, char more[LOG_LIMIT_TEXT_MAX]);

#endif

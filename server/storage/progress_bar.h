/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROGRESS_BAR_H
#define PROGRESS_BAR_H

/* progress_bar.h - a progress bar on the terminal; without a terminal there is none. */

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool is_terminal; /* standard error is one */
	bool is_shown;	  /* there is a bar in the line */
	uint64_t total;	  /* bytes */
	uint64_t due_ms;  /* when it is drawn next, by the clock */
};

/* For work on `total` bytes. Nothing is drawn before it has taken a while. */
void progress_bar_init(struct progress *progress, uint64_t total);
void progress_bar_update(struct progress *progress, uint64_t done);
/* The line is empty again. Before anything else is written there. */
void progress_bar_clear(struct progress *progress);

#endif

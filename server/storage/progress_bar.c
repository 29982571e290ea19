/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/progress_bar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum {
	FIRST_MS = 500,
	NEXT_MS = 100,
	WIDTH = 40,
};

static const char clear_line[] = "\r\033[K";

void progress_bar_init(struct progress *progress, uint64_t total) {
	*progress = (struct progress){.is_terminal = isatty(STDERR_FILENO) == 1,
				      .total = total,
				      .due_ms = clock_ms() + FIRST_MS};
}

void progress_bar_update(struct progress *progress, uint64_t done) {
	char bar[WIDTH + 1];
	char line[WIDTH + 64];
	int size;
	uint64_t now_ms;
	size_t filled;

	if (!progress->is_terminal || progress->total == 0)
		return;
	now_ms = clock_ms();
	if (now_ms < progress->due_ms)
		return;
	progress->due_ms = now_ms + NEXT_MS;
	progress->is_shown = true;
	if (done > progress->total)
		done = progress->total;
	filled = (size_t)(WIDTH * (double)done / (double)progress->total);
	memset(bar, ' ', WIDTH);
	memset(bar, '#', filled);
	bar[WIDTH] = '\0';
	size = snprintf(line, sizeof(line), "\r[%s] %3.0f%% of %" PRIu64 " MiB", bar,
			100 * (double)done / (double)progress->total, progress->total >> 20);
	log_write(line, (size_t)size);
}

void progress_bar_clear(struct progress *progress) {
	if (progress->is_shown)
		log_write(clear_line, sizeof(clear_line) - 1);
	progress->is_shown = false;
}

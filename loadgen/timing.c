/* SPDX-License-Identifier: BSD-3-Clause */
#include "timing.h"

#include <errno.h>
#include <time.h>

double timing_now_ms(void) {
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void timing_sleep_ms(double ms) {
	if (ms <= 0)
		return;
	struct timespec left = {.tv_sec = (time_t)(ms / 1e3)};
	left.tv_nsec = (long)((ms - (double)left.tv_sec * 1e3) * 1e6);
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

void timing_sleep_until_ms(double ms) {
	timing_sleep_ms(ms - timing_now_ms());
}

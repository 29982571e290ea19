/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_platform.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

enum { NS_IN_MS = 1000 * 1000, MS_IN_S = 1000 };

uint64_t lock_platform_now_ms(void) {
	struct timespec now = {0};

	/* CLOCK_MONOTONIC is there on every Linux; the call has no other way to fail. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * MS_IN_S + (uint64_t)now.tv_nsec / NS_IN_MS;
}

void lock_platform_sleep_ms(uint64_t pause_ms) {
	uint64_t until_ms = lock_platform_now_ms() + pause_ms;
	struct timespec until = {.tv_sec = (time_t)(until_ms / MS_IN_S),
				 .tv_nsec = (long)(until_ms % MS_IN_S) * NS_IN_MS};

	/* To a moment, not for a while: a pause that a signal cuts goes on where it was. */
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		continue;
}

bool lock_platform_random(void *data, size_t size) {
	ssize_t got;

	/* Up to 256 bytes come whole (getrandom(2)); a signal can cut it at early boot only. */
	do
		got = getrandom(data, size, 0);
	while (got < 0 && errno == EINTR);
	return got == (ssize_t)size;
}

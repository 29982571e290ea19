/* SPDX-License-Identifier: BSD-3-Clause */
#include "cond_wait.h"

#include <errno.h>
#include <time.h>

#include "clock.h"

void cond_wait_init(pthread_cond_t *condition) {
	pthread_condattr_t attributes;

	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(condition, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

/*
 * The threads are real even where a test owns the clock: what is left of the call's time is
 * waited in the kernel's, and its word counts.
 */
bool cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct backoff *backoff) {
	struct timespec until;
	uint64_t until_ms;

	if (backoff->deadline_ms == NO_DEADLINE) {
		(void)pthread_cond_wait(condition, mutex);
		return true;
	}
	if (backoff_expired(backoff))
		return false;
	until_ms = clock_ms() + (backoff->deadline_ms - backoff_now(backoff));
	until.tv_sec = (time_t)(until_ms / 1000);
	until.tv_nsec = (long)(until_ms % 1000) * 1000000;
	return pthread_cond_timedwait(condition, mutex, &until) != ETIMEDOUT;
}

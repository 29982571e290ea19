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
bool cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
		     const struct backoff *backoff) {
	const uint64_t deadline_ms = backoff_deadline(backoff);
	const uint64_t now_ms = backoff_now(backoff);
	uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
	struct timespec until;
	uint64_t until_ms;

	if (left_ms == 0)
		return false;
	if (backoff->interrupted_ms != NULL && left_ms > INTERRUPT_LOOK_MS) {
		left_ms = INTERRUPT_LOOK_MS;
	} else if (deadline_ms == NO_DEADLINE) {
		(void)pthread_cond_wait(condition, mutex);
		return true;
	}
	until_ms = clock_ms() + left_ms;
	until.tv_sec = (time_t)(until_ms / 1000);
	until.tv_nsec = (long)(until_ms % 1000) * 1000000;
	return pthread_cond_timedwait(condition, mutex, &until) != ETIMEDOUT ||
	       now_ms + left_ms < deadline_ms;
}

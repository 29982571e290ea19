/* SPDX-License-Identifier: BSD-3-Clause */
#include "lease.h"

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

enum {
	RENEWALS = 4, /* in one ttl, if each is answered */
	RETRIES = 32, /* in one ttl, if each fails at once */
	RETRY_MAX_MS = 1000,
};

static double now_ms(void) {
	struct timespec now;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* SIGCHLD wakes the thread that looks, as the end of COMMAND does. */
static void wake(void) {
	(void)kill(getpid(), SIGCHLD);
}

/* Takes in what the handle says now; the clock is read first, so that the end is not too late. */
static void take_in(struct lease *lease, enum kv_status status) {
	double before_ms = now_ms();
	unsigned left_ms = kv_lock_left_ms(lease->lock);
	double retry_ms = (double)lease->ttl_ms / RETRIES;

	(void)pthread_mutex_lock(&lease->mutex);
	lease->status = status;
	lease->is_due = false;
	lease->renew_at_ms = before_ms + (status == KV_OK ? (double)lease->ttl_ms / RENEWALS
					  : retry_ms < RETRY_MAX_MS ? retry_ms
								    : RETRY_MAX_MS);
	if (status == KV_NOTHELD || status == KV_BADSESSION) {
		lease->is_refused = true;
		lease->end_ms = 0;
	} else if (status == KV_OK && lease->state == LEASE_HELD) {
		lease->end_ms = before_ms + left_ms;
	}
	(void)pthread_mutex_unlock(&lease->mutex);
}

static void *renew(void *context) {
	struct lease *lease = context;

	(void)pthread_mutex_lock(&lease->mutex);
	while (!lease->is_ended) {
		if (!lease->is_due) {
			(void)pthread_cond_wait(&lease->changed, &lease->mutex);
			continue;
		}
		(void)pthread_mutex_unlock(&lease->mutex);
		take_in(lease, kv_lock_renew(lease->lock));
		wake();
		(void)pthread_mutex_lock(&lease->mutex);
	}
	(void)pthread_mutex_unlock(&lease->mutex);
	return NULL;
}

bool lease_begin(struct lease *lease, struct kv_lock *lock, unsigned ttl_ms,
		 unsigned kill_after_ms) {
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGCHLD};

	*lease = (struct lease){.lock = lock, .ttl_ms = ttl_ms, .kill_after_ms = kill_after_ms};
	if (timer_create(CLOCK_BOOTTIME, &event, &lease->timer) != 0)
		return false;
	(void)pthread_mutex_init(&lease->mutex, NULL);
	(void)pthread_cond_init(&lease->changed, NULL);
	take_in(lease, KV_OK);
	if (pthread_create(&lease->thread, NULL, renew, lease) == 0)
		return true;
	(void)timer_delete(lease->timer);
	return false;
}

static void set_timer(const struct lease *lease, double at_ms) {
	uint64_t ns = at_ms > 0 ? (uint64_t)(at_ms * 1e6) + 1 : 1;
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(ns / 1000000000U),
					     .tv_nsec = (long)(ns % 1000000000U)}};
	(void)timer_settime(lease->timer, TIMER_ABSTIME, &at, NULL);
}

enum lease_state lease_look(struct lease *lease) {
	double now = now_ms();

	(void)pthread_mutex_lock(&lease->mutex);
	double ending_ms = lease->end_ms - lease->kill_after_ms;
	if (now >= lease->end_ms)
		lease->state = LEASE_OVER;
	else if (now >= ending_ms && lease->state == LEASE_HELD)
		lease->state = LEASE_ENDING;
	if (lease->state == LEASE_HELD && now >= lease->renew_at_ms && !lease->is_due) {
		lease->is_due = true;
		(void)pthread_cond_signal(&lease->changed);
	}
	if (lease->state == LEASE_ENDING)
		set_timer(lease, lease->end_ms);
	else if (lease->state == LEASE_HELD)
		set_timer(lease, lease->is_due || lease->renew_at_ms > ending_ms
				     ? ending_ms
				     : lease->renew_at_ms);
	enum lease_state state = lease->state;
	(void)pthread_mutex_unlock(&lease->mutex);
	return state;
}

void lease_end(struct lease *lease) {
	(void)pthread_mutex_lock(&lease->mutex);
	lease->is_ended = true;
	(void)pthread_cond_signal(&lease->changed);
	(void)pthread_mutex_unlock(&lease->mutex);
	(void)pthread_join(lease->thread, NULL);
	(void)timer_delete(lease->timer);
}

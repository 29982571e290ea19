/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/pending_call.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "clock.h"

void waiter_init(struct waiter *me, struct kv_bytes body, bool is_stream, uint64_t deadline_ms,
		 const struct message *came) {
	*me = (struct waiter){
	    .deadline_ms = deadline_ms,
	    .now_ms = clock_ms(),
	    .body = body,
	    .mark_size = is_stream ? RECORD_MARK_SIZE : 0,
	    .answer = *came,
	};
	memcpy(me->xid, body.data, XID_SIZE);
	record_mark(me->mark, body.size);
	/* Fails only for a count above SEM_VALUE_MAX. */
	(void)sem_init(&me->news, 0, 0);
}

void waiter_destroy(struct waiter *me) {
	(void)sem_destroy(&me->news);
}

uint64_t waiter_left_ms(const struct waiter *me) {
	return me->deadline_ms > me->now_ms ? me->deadline_ms - me->now_ms : 0;
}

/* --- Sending ------------------------------------------------------------------------------- */

static size_t left_of(const struct waiter *waiter) {
	return waiter->mark_size + waiter->body.size - waiter->sent;
}

bool waiter_is_sent(const struct waiter *waiter) {
	return left_of(waiter) == 0;
}

size_t waiter_rest(const struct waiter *waiter, struct iovec parts[WAITER_PARTS]) {
	const size_t mark_size = waiter->mark_size;
	const size_t body_sent = waiter->sent > mark_size ? waiter->sent - mark_size : 0;
	size_t count = 0;

	if (waiter->sent < mark_size)
		parts[count++] = (struct iovec){
		    .iov_base = (uint8_t *)waiter->mark + waiter->sent,
		    .iov_len = mark_size - waiter->sent,
		};
	parts[count++] = (struct iovec){
	    .iov_base = (uint8_t *)waiter->body.data + body_sent,
	    .iov_len = waiter->body.size - body_sent,
	};
	return count;
}

size_t waiter_count_sent(struct waiter *waiter, size_t bytes) {
	const size_t own = left_of(waiter) < bytes ? left_of(waiter) : bytes;

	waiter->sent += own;
	return bytes - own;
}

/* --- Sleeping ------------------------------------------------------------------------------ */

struct waiter *pending_call_mark_wake(struct waiter *woken, struct waiter *waiter, bool is_over) {
	if (!waiter->is_asleep)
		return woken;
	waiter->is_asleep = false;
	waiter->is_over = is_over;
	waiter->next_woken = woken;
	return waiter;
}

void pending_calls_wake(struct waiter *woken) {
	while (woken != NULL) {
		/* Once it has the news its thread may be gone, and its stack with it. */
		struct waiter *next = woken->next_woken;

		atomic_store(&woken->is_told, true);
		(void)sem_post(&woken->news);
		woken = next;
	}
}

bool waiter_sleep(struct waiter *me) {
	const struct timespec until = {
	    .tv_sec = (time_t)(me->deadline_ms / 1000),
	    .tv_nsec = (long)(me->deadline_ms % 1000) * 1000000,
	};
	int result;

	do
		result = sem_clockwait(&me->news, CLOCK_MONOTONIC, &until);
	while (result < 0 && errno == EINTR);
	me->now_ms = clock_ms();
	/*
	 * What its waker wrote is seen by this thread because of the semaphore already. But the
	 * thread sanitizer does not know sem_clockwait(); this it knows.
	 */
	return result == 0 && atomic_exchange(&me->is_told, false);
}

void pending_call_wait(struct waiter *me) {
	while (sem_wait(&me->news) < 0)
		; /* a signal came */
	atomic_store(&me->is_told, false);
}

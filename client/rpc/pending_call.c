/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/pending_call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <linux/sockios.h>

#include "clock.h"

enum { LARGE_CALL = 65536 }; /* bytes; less leaves a socket at once */

void pending_call_init(struct pending_call *me, struct kv_bytes body, bool is_stream,
		       const struct call_time *time, const struct rpc_reply *came) {
	const uint64_t now_ms = clock_ms();

	*me = (struct pending_call){
	    .deadline_ms = time->deadline_ms,
	    .span_ms = time->deadline_ms > now_ms ? time->deadline_ms - now_ms : 0,
	    .limit_ms = time->limit_ms,
	    .interrupted_ms = time->interrupted_ms,
	    .now_ms = now_ms,
	    .body = body,
	    .mark_size = is_stream ? RECORD_MARK_SIZE : 0,
	    .answer = *came,
	};
	memcpy(me->xid, body.data, XID_SIZE);
	record_mark(me->mark, body.size);
	/* Fails only for a count above SEM_VALUE_MAX. */
	(void)sem_init(&me->wakeup, 0, 0);
}

void pending_call_destroy(struct pending_call *me) {
	(void)sem_destroy(&me->wakeup);
}

uint64_t pending_call_left_ms(const struct pending_call *me) {
	const uint64_t deadline_ms = atomic_load_explicit(&me->deadline_ms, memory_order_relaxed);
	const uint64_t left_ms = deadline_ms > me->now_ms ? deadline_ms - me->now_ms : 0;

	if (me->interrupted_ms == NULL)
		return left_ms;
	if (pending_call_is_sent(me) && atomic_load(me->interrupted_ms) != 0)
		return 0;
	return left_ms < INTERRUPT_LOOK_MS ? left_ms : INTERRUPT_LOOK_MS;
}

void pending_call_extend(struct pending_call *call, uint64_t now_ms) {
	uint64_t until_ms = now_ms + call->span_ms;

	if (until_ms > call->limit_ms)
		until_ms = call->limit_ms;
	if (until_ms > atomic_load_explicit(&call->deadline_ms, memory_order_relaxed))
		atomic_store_explicit(&call->deadline_ms, until_ms, memory_order_relaxed);
}

/*
 * What the kernel has taken is not at the peer yet: of a large call as much as the socket's buffer
 * holds, which takes a slow network longer than an attempt.
 */
bool pending_call_is_leaving(struct pending_call *me, int fd) {
	int unacknowledged = 0;

	if (me->limit_ms <= me->now_ms || me->body.size < LARGE_CALL ||
	    ioctl(fd, SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0 ||
	    unacknowledged == me->unacknowledged)
		return false;
	me->unacknowledged = unacknowledged;
	pending_call_extend(me, me->now_ms);
	return pending_call_left_ms(me) > 0;
}

bool pending_call_is_complete(const struct pending_call *call) {
	return call->is_served && !call->is_being_sent &&
	       (pending_call_is_sent(call) || !pending_call_is_begun(call));
}

/* --- Replies ------------------------------------------------------------------------------- */

bool pending_call_expects(struct pending_call *call, const uint8_t xid[XID_SIZE]) {
	struct rpc_batch *batch = call->batch;
	uint32_t number;

	if (batch == NULL)
		return memcmp(call->xid, xid, XID_SIZE) == 0;
	memcpy(&number, xid, XID_SIZE);
	batch->at = ntohl(number) - batch->first_xid;
	return batch->at < batch->count && batch->replies[batch->at].data == NULL;
}

bool pending_call_serve_part(struct pending_call *call, uint8_t *data, size_t size) {
	struct rpc_batch *batch = call->batch;

	batch->replies[batch->at].data = data;
	batch->replies[batch->at].size = size;
	return data == NULL || ++batch->replied == batch->count;
}

/* --- Sending ------------------------------------------------------------------------------- */

static size_t left_of(const struct pending_call *call) {
	return call->mark_size + call->body.size - call->sent;
}

bool pending_call_is_sent(const struct pending_call *call) {
	return left_of(call) == 0;
}

bool pending_call_is_begun(const struct pending_call *call) {
	return call->sent > 0 || call->is_staged;
}

size_t pending_call_unsent_parts(const struct pending_call *call, struct iovec parts[CALL_PARTS]) {
	const size_t mark_size = call->mark_size;
	const size_t body_sent = call->sent > mark_size ? call->sent - mark_size : 0;
	size_t count = 0;

	if (call->sent < mark_size)
		parts[count++] = (struct iovec){
		    .iov_base = (uint8_t *)call->mark + call->sent,
		    .iov_len = mark_size - call->sent,
		};
	parts[count++] = (struct iovec){
	    .iov_base = (uint8_t *)call->body.data + body_sent,
	    .iov_len = call->body.size - body_sent,
	};
	return count;
}

size_t pending_call_count_sent(struct pending_call *call, size_t bytes) {
	const size_t own = left_of(call) < bytes ? left_of(call) : bytes;

	call->sent += own;
	return bytes - own;
}

/* --- Sleeping ------------------------------------------------------------------------------ */

struct pending_call *pending_call_mark_wake(struct pending_call *woken, struct pending_call *call,
					    bool is_removed) {
	if (!call->is_asleep)
		return woken;
	call->is_asleep = false;
	call->is_removed = is_removed;
	call->next_woken = woken;
	return call;
}

void pending_calls_wake(struct pending_call *woken) {
	while (woken != NULL) {
		/* Once woken, its thread may return, and the struct is gone. */
		struct pending_call *next = woken->next_woken;

		atomic_store(&woken->is_woken, true);
		(void)sem_post(&woken->wakeup);
		woken = next;
	}
}

uint64_t pending_call_until_ms(const struct pending_call *me) {
	return me->now_ms + pending_call_left_ms(me);
}

bool pending_call_sleep(struct pending_call *me, uint64_t until_ms) {
	const struct timespec until = {
	    .tv_sec = (time_t)(until_ms / 1000),
	    .tv_nsec = (long)(until_ms % 1000) * 1000000,
	};
	int result;

	do
		result = sem_clockwait(&me->wakeup, CLOCK_MONOTONIC, &until);
	while (result < 0 && errno == EINTR);
	me->now_ms = clock_ms();
	/*
	 * What its waker wrote is seen by this thread because of the semaphore already. But the
	 * thread sanitizer does not know sem_clockwait(); this it knows.
	 */
	return result == 0 && atomic_exchange(&me->is_woken, false);
}

void pending_call_wait(struct pending_call *me) {
	while (sem_wait(&me->wakeup) < 0)
		; /* a signal came */
	atomic_store(&me->is_woken, false);
}

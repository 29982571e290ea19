/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PENDING_CALL_H
#define PENDING_CALL_H

/*
 * pending_call.h - one call under way on a connection: what is still to be sent, the reply, and how
 * its thread sleeps until another thread wakes it. On the stack of that thread. It takes no
 * lock: the connection's mutex guards what is not marked as the thread's own.
 */

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <kv/bytes.h>

#include "record_marking.h"
#include "rpc/conn.h"

enum {
	XID_SIZE = 4,
	CALL_PARTS = 2, /* the mark and the body */
};

struct pending_call {
	struct pending_call *next; /* on the connection's list */
	uint8_t xid[XID_SIZE];
	struct rpc_reply answer; /* once served; data NULL: there was no memory for it */
	bool is_served;
	struct rpc_batch *batch; /* NULL: one message with this xid */

	/* The thread's own. */
	atomic_uint_fast64_t deadline_ms; /* moved by any thread, under the mutex */
	uint64_t span_ms;		  /* from its start to its first deadline */
	uint64_t limit_ms;
	const atomic_uint_fast64_t *interrupted_ms; /* NULL, or: once not 0, it ends when sent */
	uint64_t now_ms;			    /* read when it last waited */
	bool may_have_input;
	int unacknowledged; /* bytes in the socket, when that was looked at last */

	struct pending_call *next_unsent; /* on the connection's queue, until all is sent */
	uint8_t mark[RECORD_MARK_SIZE];
	struct kv_bytes body;
	size_t mark_size;    /* 4 on a stream, 0 for a datagram */
	size_t sent;	     /* bytes of mark and body handed to the kernel */
	bool is_staged;	     /* bytes of it may be encrypted for the kernel, and must be next */
	bool is_being_sent;  /* by the sender, without the mutex: it must stay in memory */
	bool wants_to_leave; /* as soon as it is not being sent */

	struct pending_call *next_woken; /* among those that are to be woken */
	bool is_asleep;			 /* on `wakeup`; cleared before it is woken */
	bool is_removed;		 /* it is woken because it was removed from the lists */
	atomic_bool is_woken;		 /* the semaphore was posted */
	sem_t wakeup;
};

/* A call of `body` (min. its xid), with the buffer that `came` lends. */
void pending_call_init(struct pending_call *me, struct kv_bytes body, bool is_stream,
		       const struct call_time *time, const struct rpc_reply *came);
void pending_call_destroy(struct pending_call *me);

/* How long to wait for it now; 0: it ends. If it can be interrupted, INTERRUPT_LOOK_MS at most. */
uint64_t pending_call_left_ms(const struct pending_call *me);

bool pending_call_is_sent(const struct pending_call *call);

/* Whether bytes of it were sent, or staged: then nothing else may be sent before the rest. */
bool pending_call_is_begun(const struct pending_call *call);

/*
 * Whether its thread may return with the reply. One before all is sent is to an earlier copy of the
 * call: half a copy must not stay.
 */
bool pending_call_is_complete(const struct pending_call *call);

/* Bytes of it, or of its reply, have moved now: see struct call_time. */
void pending_call_extend(struct pending_call *call, uint64_t now_ms);

/*
 * Called when the time is up: whether it was extended, because bytes of a large call have left the
 * socket `fd` since this was asked last.
 */
bool pending_call_is_leaving(struct pending_call *me, int fd);

/*
 * Whether a message with this xid is for the call: its own, or one of its batch that did not come
 * yet, which is then the one to be served.
 */
bool pending_call_expects(struct pending_call *call, const uint8_t xid[XID_SIZE]);

/*
 * Takes the reply that the batch of the call expects; data NULL: there is no memory for it. Returns
 * whether no other is waited for.
 */
bool pending_call_serve_part(struct pending_call *call, uint8_t *data, size_t size);

/* Fills `parts` with what is not sent yet; returns how many: 1 or 2. */
size_t pending_call_unsent_parts(const struct pending_call *call, struct iovec parts[CALL_PARTS]);

/* Of `bytes` that were sent the first are this call's own. Returns how many are not. */
size_t pending_call_count_sent(struct pending_call *call, size_t bytes);

/*
 * Puts it before `woken`, if it is asleep: the new list of those to be woken. One that is not
 * asleep will look for itself before it sleeps. `is_removed`: it is on no list of the link any
 * more.
 */
struct pending_call *pending_call_mark_wake(struct pending_call *woken, struct pending_call *call,
					    bool is_removed);

/* Wakes all of them. Without the mutex: each would wait for that first otherwise. */
void pending_calls_wake(struct pending_call *woken);

/* When pending_call_left_ms() is over: what is sent decides it too, so ask under the mutex. */
uint64_t pending_call_until_ms(const struct pending_call *me);

/*
 * Sleeps, without the mutex, after is_asleep was set under it, until another thread is to wake this
 * thread (true), or `until_ms` is over (false: then see under the mutex whether is_asleep is still
 * set; if not, pending_call_wait()).
 */
bool pending_call_sleep(struct pending_call *me, uint64_t until_ms);

/* Waits for a wake-up that is sure to come. Without the mutex. */
void pending_call_wait(struct pending_call *me);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WAITER_H
#define WAITER_H

/*
 * waiter.h - one call under way on a link: what is still to be sent of it, what came, and how its
 * thread sleeps until another one has news for it. Lives on the stack of that thread. Knows no
 * socket and takes no lock: what is not told to be the thread's own is guarded by the link's mutex.
 */

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <kv/bytes.h>

#include "rpc/conn.h"
#include "record_marking.h"

enum {
	XID_SIZE = 4,
	WAITER_PARTS = 2, /* the mark and the body */
};

struct waiter {
	struct waiter *next; /* on the link's list of all */
	uint8_t xid[XID_SIZE];
	struct message answer; /* once served; data NULL: there was no memory for it */
	bool is_served;

	/* The thread's own. */
	uint64_t deadline_ms;
	uint64_t now_ms; /* as of when it last waited for anything */
	bool may_have_input;

	struct waiter *next_unsent; /* on the link's queue, until all is sent */
	uint8_t mark[RECORD_MARK_SIZE];
	struct kv_bytes body;
	size_t mark_size;    /* 4 on a stream, 0 for a datagram */
	size_t sent;	     /* bytes of mark and body handed to the kernel */
	bool is_in_hand;     /* the sender, without the mutex, is sending it: it must stay there */
	bool wants_to_leave; /* as soon as it is not in hand any more */

	struct waiter *next_woken; /* among those that are to be woken */
	bool is_asleep;	     /* on `news`; whoever means to wake it clears this, and only then */
	bool is_over;	     /* why it is woken: the link knows nothing of it any more */
	atomic_bool is_told; /* there is news on the semaphore */
	sem_t news;
};

/* A call of `body` (at least its xid) until `deadline_ms`, with the place that `came` lends. */
void waiter_init(struct waiter *me, struct kv_bytes body, bool is_stream, uint64_t deadline_ms,
		 const struct message *came);
void waiter_destroy(struct waiter *me);

uint64_t waiter_left_ms(const struct waiter *me);

bool waiter_is_sent(const struct waiter *waiter);

/* What is not sent yet: puts 1 or 2 parts there and tells how many. */
size_t waiter_rest(const struct waiter *waiter, struct iovec parts[WAITER_PARTS]);

/* Of `bytes` that went the first are its own, as many as it had left. How many remain. */
size_t waiter_count_sent(struct waiter *waiter, size_t bytes);

/*
 * Puts it before `woken`, if it is asleep: the new list of those to be woken. One that is not
 * asleep will look for itself before it sleeps. `is_over`: it is on no list of the link any more.
 */
struct waiter *pending_call_mark_wake(struct waiter *woken, struct waiter *waiter, bool is_over);

/* Wakes all of them. Without the mutex: each would wait for that first otherwise. */
void pending_calls_wake(struct waiter *woken);

/*
 * Sleeps, without the mutex, after is_asleep was set under it, until somebody means to wake this
 * thread (true), or its deadline (false: then see under the mutex whether is_asleep still holds;
 * if not, pending_call_wait()).
 */
bool waiter_sleep(struct waiter *me);

/* The news that is meant for this thread is sure to come: waits for it. Without the mutex. */
void pending_call_wait(struct waiter *me);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STREAM_PRIVATE_H
#define STREAM_PRIVATE_H

/* stream_private.h - what stream.c (one connection) and streams.c (all of them) share. */

#include "core/service.h"
#include "log_limit.h"
#include "net/event_handler.h"
#include "net/identity.h"
#include "net/peer.h"
#include "net/recv_batch.h"
#include "net/send_queue.h"
#include "net/stream.h"
#include "net/timeout_list.h"
#include "record_marking.h"

/*
 * One connection.
 *
 * Invariants: after a turn it is on streams->timeouts exactly while it has bytes to send or a part
 * of a record; on `flushing` while it has replies that this turn made; on `closed` once it is
 * closed, until the next flush and no call names it. `held` and `unsent` are what
 * stream_account() makes of them, and its peer and `streams` have the sums.
 */
struct stream {
	struct event_handler handler;
	struct streams *streams;

	struct record record; /* being received */

	/* Bytes received that are parsed when replies have been sent. */
	uint8_t *unparsed;
	size_t unparsed_size;

	struct send_queue send_queue;
	unsigned pending;    /* calls without a reply: they name this stream */
	struct call *parked; /* calls that wait for changes of keys: no part of `pending` */
	size_t held;
	size_t unsent;
	uint64_t active_ms;  /* when it last received bytes or a call of it got its reply */
	uint32_t events;     /* that epoll watches for */
	bool is_half_closed; /* the peer sends no more, but still reads */
	bool has_hung_up;    /* epoll said so: there may be input before that */
	bool is_closed;
	bool is_flushing;

	struct timeout_entry timeout; /* of STREAM_MIN_PROGRESS_BYTES in STREAM_STALL_TIMEOUT_MS */
	struct stream *flushing_next;
	struct stream *closed_next;
	struct stream *next; /* of all */
	struct stream *previous;
	struct peer_member member;
	struct peer_name name;
	struct caller caller; /* of its calls */
};

struct streams {
	int epoll;
	struct stream_limits limits;
	uint64_t connections;	      /* open now */
	uint64_t connections_made;    /* since the start */
	uint64_t connections_refused; /* above the limit */
	uint64_t connections_dropped; /* slow, invalid, or in favour of others */
	uint64_t held;		      /* bytes, see stream_limits */
	uint64_t unsent;	      /* bytes of replies, values included */
	struct dispatch *dispatch;
	const struct service *service;
	struct mem_account *memory; /* of the views in send queues */
	struct stream *all;
	struct peers peers;
	struct timeout_list timeouts;
	struct stream *current; /* its calls are being run */
	struct stream *flushing;
	struct stream *closed;
	bool is_paused;
	bool is_full;	 /* there are too many connections, which was logged */
	bool has_unread; /* this turn left bytes that were there: see streams_took_all() */
	uint64_t now_ms;
	struct log_limit drops;
	struct overflow_ids overflow;
	struct recv_batch recv_batch; /* empty between turns */
};

/* The handler's function: the connection is ready for epoll's `events`. */
void stream_ready(struct event_handler *handler, uint32_t events);

/* Parses what was received before replies kept it from being parsed, if they do not any more. */
void stream_resume(struct stream *stream);

/* Sends as much as the kernel takes. */
void stream_flush(struct stream *stream);

/* Brings epoll and the limits up to date, after all that was done with the connection. */
void stream_update(struct stream *stream);

/* Closes it; `reason` is for the log. stream_drop() is for a peer that did something wrong, or that
 * has to go: it counts, and is logged without -v. Both do nothing if it is closed. */
void stream_close(struct stream *stream, const char *reason);
void stream_drop(struct stream *stream, const char *reason);

/* Brings what it holds, and the sums, up to date. */
void stream_account(struct stream *stream);

/* Takes a closed stream off the lists; it is freed when no call names it. */
void streams_remove(struct stream *stream);

/* Drops connections of the peers that hold most, until all together hold no more than they may. */
void streams_enforce_held_max(struct streams *streams);

#endif

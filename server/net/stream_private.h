/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STREAM_PRIVATE_H
#define STREAM_PRIVATE_H

/*
 * stream_private.h - what stream.c (one connection), stream_tls.c (its TLS) and streams.c (all of
 * them) share.
 */

#include "core/service.h"
#include "log_table.h"
#include "net/event_handler.h"
#include "net/identity.h"
#include "net/peer.h"
#include "net/recv_batch.h"
#include "net/send_queue.h"
#include "net/stream.h"
#include "net/timeout_list.h"
#include "record_marking.h"
#include "tls/tls_session.h"

/* Shared by all connections, and empty between calls. */
struct tls_buffers {
	unsigned char in[TLS_IN_MAX];
	struct tls_out out;
};

_Static_assert((int)TLS_PLAIN_MAX <= (int)RECV_BUFFER_SIZE, "what comes of one receive fits");

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
	bool has_called;    /* a call came before: it is too late for a probe */
	bool starts_tls;    /* a probe was granted: TLS begins when its reply has left */
	bool is_to_recheck; /* see streams_set_credentials() */

	struct tls_session *tls;	     /* NULL: in the clear */
	struct timeout_entry handshake;	     /* of HANDSHAKE_TIMEOUT_MS, while it is under way */
	struct timeout_entry handshake_turn; /* listed: it waits for its turn */

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
	uint64_t bytes_received;
	uint64_t bytes_sent;
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
	const struct acl *acl;	/* borrowed; NULL: there are no rules */
	struct stream *current; /* its calls are being run */
	struct stream *flushing;
	struct stream *closed;
	bool is_paused;
	bool is_full;	 /* there are too many connections, which was logged */
	bool has_unread; /* this turn left bytes that were there: see streams_took_all() */
	uint64_t now_ms;
	struct log_table lines; /* of dropped connections, and of peers with too many */
	struct overflow_ids overflow;

	struct tls_buffers *tls_buffers; /* NULL: there is no TLS */
	char tls_library[TLS_LIBRARY_MAX];
	struct timeout_list handshakes;	     /* under way, the oldest first */
	struct timeout_list handshake_queue; /* those of them with something to receive */
	unsigned handshake_steps;	     /* left in this turn */
	unsigned handshake_count;
	struct stream *recheck; /* the next one to look at again, and those behind it */
	unsigned recheck_closed;
	struct log_limit tls_refusals;
	uint64_t tls_connections;     /* opened since the start */
	uint64_t tls_refused;	      /* handshakes that failed, or were too many */
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

/* Whether a line of this kind, a constant text, is logged now for the peer. */
bool streams_may_log(struct streams *streams, const struct peer_id *id, const char *kind,
		     char more[LOG_LIMIT_TEXT_MAX]);

/* Closes it; `reason` is for the log. stream_drop() is for a peer that did something wrong, or that
 * has to go: it counts, and is logged without -v. Both do nothing if it is closed. */
void stream_close(struct stream *stream, const char *reason);
void stream_drop(struct stream *stream, const char *reason);

/* Brings what it holds, and the sums, up to date. */
void stream_account(struct stream *stream);

/* Receives no more, and closes when all that it is owed has left. */
void stream_retire(struct stream *stream);

/* Receives once; what came is run with what others sent. */
void stream_receive(struct stream *stream);

/* --- stream_tls.c -------------------------------------------------------------------------- */

/* Sets what a probe means as the next call, and whether the call must not come in the clear. */
void stream_tls_offer(struct stream *stream, struct call *call);

/* The reply to the probe has left: the next bytes are those of a handshake. */
void stream_tls_begin(struct stream *stream);

/* True if a handshake is under way: then it waits for its turn, and receives nothing yet. */
bool stream_tls_queue(struct stream *stream);

/* As recv_batch_read(); also EPROTO: it was dropped. */
ssize_t stream_tls_receive(struct stream *stream, struct recv_buf *buf);

enum send_queue_state stream_tls_send(struct stream *stream);

/* Ends TLS on a connection that closes. */
void stream_tls_close(struct stream *stream);

/* Runs as many steps of handshakes as this turn may. */
void streams_run_handshakes(struct streams *streams);

/* Looks at the connection again, see streams_set_credentials(). False: it is closing. */
bool stream_recheck(struct stream *stream);

/* Looks at some connections again; drops handshakes that took too long. As streams_expire(). */
uint64_t streams_expire_tls(struct streams *streams);

/* --- streams.c ----------------------------------------------------------------------------- */

/* Takes a closed stream off the lists; it is freed when no call names it. */
void streams_remove(struct stream *stream);

/* Drops connections of the peers that hold most, until all together hold no more than they may. */
void streams_enforce_held_max(struct streams *streams);

#endif

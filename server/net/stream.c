/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.c - one connection: bytes to records to calls, replies to bytes. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "log.h"
#include "net/stream_private.h"
#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "rpc/prefetch.h"
#include "rpc/xdr_inplace.h"

/* It moved `bytes`. A move of less than STREAM_MIN_PROGRESS_BYTES does not extend its time. */
static void progress(struct stream *stream, size_t bytes) {
	if (stream->is_closed)
		return;
	if (!record_is_partial(&stream->record) && stream->send_queue.size == 0) {
		timeout_list_remove(&stream->streams->timeouts, &stream->timeout);
		return;
	}
	stream->timeout.bytes += bytes;
	if (!stream->timeout.is_listed || stream->timeout.bytes >= STREAM_MIN_PROGRESS_BYTES)
		timeout_list_touch(&stream->streams->timeouts, &stream->timeout,
				   stream->streams->now_ms);
}

/* --- Closing ------------------------------------------------------------------------------- */

void stream_account(struct stream *stream) {
	/* Values being sent are shared, and the store counts them: see relieve() in streams.c. */
	size_t held = stream->record.capacity + stream->unparsed_size + stream->send_queue.size -
		      stream->send_queue.viewed;

	stream->streams->held += held - stream->held;
	stream->member.peer->held += held - stream->held;
	stream->held = held;
	stream->streams->unsent += stream->send_queue.size - stream->unsent;
	stream->unsent = stream->send_queue.size;
}

/* The end of what the peer sends is the end of its calls that wait. */
static void drop_parked(struct stream *stream) {
	while (stream->parked != NULL) {
		struct call *call = stream->parked;

		stream->parked = call->next_parked;
		if (stream->parked != NULL)
			stream->parked->previous_parked = NULL;
		dispatch_disconnect(stream->streams->dispatch, call);
	}
}

static void close_silently(struct stream *stream) {
	struct streams *streams = stream->streams;

	stream_tls_close(stream);
	stream->is_closed = true;
	drop_parked(stream);
	timeout_list_remove(&streams->timeouts, &stream->timeout);
	(void)close(stream->handler.fd);
	record_reset(&stream->record);
	free(stream->unparsed);
	stream->unparsed = NULL;
	stream->unparsed_size = 0;
	send_queue_clear(&stream->send_queue, streams->memory);
	stream_account(stream);
	streams_remove(stream);
}

void stream_close(struct stream *stream, const char *reason) {
	char name[PEER_TEXT_MAX];

	if (stream->is_closed)
		return;
	log_verbose("closed %s connection from %s: %s", peer_transport(&stream->name),
		    peer_name_format(&stream->name, name), reason);
	close_silently(stream);
}

void stream_drop(struct stream *stream, const char *reason) {
	struct streams *streams = stream->streams;
	char name[PEER_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];

	if (stream->is_closed)
		return;
	const struct peer_id id = principal_peer(&stream->caller);
	streams->connections_dropped++;
	if (!streams_may_log(streams, &id, reason, more)) {
		stream_close(stream, reason);
		return;
	}
	log_warn("dropped %s connection from %s: %s%s", peer_transport(&stream->name),
		 peer_name_format(&stream->name, name), reason, more);
	close_silently(stream);
}

void stream_retire(struct stream *stream) {
	drop_parked(stream);
	stream->is_half_closed = true;
}

static void watch_for(struct stream *stream, uint32_t events) {
	struct epoll_event event = {.events = events, .data.ptr = &stream->handler};

	if (stream->is_closed || stream->events == events)
		return;
	stream->events = events;
	(void)epoll_ctl(stream->streams->epoll, EPOLL_CTL_MOD, stream->handler.fd, &event);
}

/* --- Calls --------------------------------------------------------------------------------- */

/* Its replies are sent at the end of the turn. */
static void flush_later(struct stream *stream) {
	if (stream->is_flushing)
		return;
	stream->is_flushing = true;
	stream->flushing_next = stream->streams->flushing;
	stream->streams->flushing = stream;
}

static bool_t stream_reply(SVCXPRT *xprt, struct rpc_msg *reply) {
	struct call *call = xprt->xp_p1;
	struct stream *stream = call->stream;
	struct streams *streams = stream->streams;
	bool encoded = false;
	char name[PEER_TEXT_MAX];

	reply->rm_xid = call->xid;
	stream->pending--;
	stream->active_ms = streams->now_ms;
	if (log_has_debug())
		dispatch_log_call(call, peer_transport(&stream->name),
				  peer_name_format(&stream->name, name));
	if (!stream->is_closed) {
		encoded = send_queue_reply(&stream->send_queue, reply, call->reply.value);
		if (call->tls == CALL_TLS_STARTS)
			stream->starts_tls = true;
		if (!encoded)
			stream_drop(stream, "no memory for its reply");
		else if (stream != streams->current)
			flush_later(stream);
	}
	dispatch_call_free(streams->dispatch, call);
	return encoded ? TRUE : FALSE;
}

static void stream_park(struct call *call) {
	struct stream *stream = call->stream;

	stream->pending--;
	call->previous_parked = NULL;
	call->next_parked = stream->parked;
	if (stream->parked != NULL)
		stream->parked->previous_parked = call;
	stream->parked = call;
}

static void stream_unpark(struct call *call, bool owes) {
	struct stream *stream = call->stream;

	if (call->previous_parked != NULL)
		call->previous_parked->next_parked = call->next_parked;
	else
		stream->parked = call->next_parked;
	if (call->next_parked != NULL)
		call->next_parked->previous_parked = call->previous_parked;
	if (owes)
		stream->pending++;
}

/* Asks the kernel, because the end of a peer that was killed may not have been reported yet. */
static bool stream_is_connected(const struct call *call) {
	struct pollfd end = {.fd = call->stream->handler.fd, .events = POLLRDHUP};

	return poll(&end, 1, 0) == 0;
}

static const struct park_ops stream_park_ops = {
    .park = stream_park,
    .unpark = stream_unpark,
    .is_connected = stream_is_connected,
};

static const struct xp_ops stream_ops = {
    .xp_reply = stream_reply,
};

/* `is_head`: the rest of the record found no memory. */
static void run_record(struct stream *stream, struct kv_bytes record, bool is_head) {
	struct streams *streams = stream->streams;
	struct call *call = dispatch_call(streams->dispatch);
	struct owned_block block = {.size = stream->record.capacity};
	bool is_owned = record.data == stream->record.data && !is_head;

	if (call == NULL) {
		stream_drop(stream, "no memory for its call");
		return;
	}
	/* A record that lies in a receive buffer has no memory of its own. */
	if (is_owned)
		block.data = record_detach(&stream->record, record);
	call->stream = stream;
	call->park_ops = &stream_park_ops;
	stream->pending++;
	call->xp_ops = &stream_ops;
	call->reply_max = UINT32_MAX;
	call->is_head_only = is_head;
	call->caller = &stream->caller;
	if (streams->limits.credentials != NULL)
		stream_tls_offer(stream, call);
	if (!dispatch_record(streams->dispatch, call, record, is_owned ? &block : NULL)) {
		stream->pending--;
		dispatch_call_free(streams->dispatch, call);
		stream_drop(stream, "it sent something that is not an RPC call");
	}
	free(block.data);
}

/* --- Records ------------------------------------------------------------------------------- */

static bool is_stalled(const struct stream *stream) {
	struct streams *streams = stream->streams;

	if (dispatch_is_backlogged(streams->dispatch))
		streams->is_paused = true;
	return stream->send_queue.size > STREAM_SENDBUF_MAX ||
	       stream->pending >= STREAM_PENDING_MAX || streams->is_paused || stream->starts_tls;
}

static bool is_reading(const struct stream *stream) {
	return !stream->is_closed && !stream->is_half_closed && !is_stalled(stream) &&
	       stream->unparsed == NULL;
}

/* Takes one record, or its part that is here, from the bytes. False: they are used up, or the
 * connection was dropped. */
static bool take_record(struct stream *stream, const uint8_t **bytes, size_t *size) {
	struct kv_bytes record;

	enum record_state state =
	    record_feed(&stream->record, bytes, size, WIRE_RECORD_MAX, &record);

	switch (state) {
	case RECORD_MORE:
		return false;
	case RECORD_COMPLETE:
	case RECORD_HEAD_ONLY:
		run_record(stream, record, state == RECORD_HEAD_ONLY);
		record_reset(&stream->record);
		/* What is sent before TLS must not be taken for a part of it. */
		if (stream->starts_tls && *size > 0)
			stream_drop(stream, "it sent more behind its probe for TLS");
		return !stream->is_closed;
	case RECORD_INVALID:
		stream_drop(stream, "record too large, or endless empty fragments");
		return false;
	case RECORD_NOMEM:
		if (record_discard(&stream->record))
			return true;
		stream_drop(stream, "no memory for its record");
		return false;
	}
	return false;
}

/* Runs the records in `bytes` until it must not receive more; returns how many bytes are left. */
static size_t parse(struct stream *stream, const uint8_t *bytes, size_t size) {
	const uint8_t *fetched =
	    bytes + record_is_partial(&stream->record); /* not the rest of a record */

	do
		if (size > 0 && bytes >= fetched)
			fetched = bytes + prefetch_records(stream->streams->service, bytes, size);
	while (!is_stalled(stream) && take_record(stream, &bytes, &size));
	return stream->is_closed ? 0 : size;
}

static void keep_unparsed(struct stream *stream, const uint8_t *bytes, size_t size) {
	uint8_t *copy;

	if (size == 0)
		return;
	copy = malloc(size);
	if (copy == NULL) {
		stream_drop(stream, "no memory for its calls");
		return;
	}
	memcpy(copy, bytes, size);
	stream->unparsed = copy;
	stream->unparsed_size = size;
}

void stream_resume(struct stream *stream) {
	uint8_t *bytes = stream->unparsed;
	size_t size = stream->unparsed_size;
	size_t left;

	if (stream->is_closed || is_stalled(stream))
		return;
	/* All of a large record may be here, with nothing behind it. */
	if (bytes == NULL && record_is_complete(&stream->record))
		(void)take_record(stream, &(const uint8_t *){stream->record.data}, &size);
	if (bytes == NULL)
		return;
	stream->unparsed = NULL;
	stream->unparsed_size = 0;
	left = parse(stream, bytes, size);
	keep_unparsed(stream, bytes + size - left, left);
	free(bytes);
}

/* --- Reading and writing ------------------------------------------------------------------- */

static void run_received(struct streams *streams);

void stream_receive(struct stream *stream) {
	struct recv_batch *recv_batch = &stream->streams->recv_batch;
	ssize_t got;

	if (stream->is_to_recheck && !stream_recheck(stream))
		return;
	got = stream->tls == NULL
		  ? recv_batch_read(recv_batch, stream->handler.fd, &stream->record)
		  : stream_tls_receive(stream, &recv_batch->list[recv_batch->count]);

	if (got < 0 && (errno == EAGAIN || stream->is_closed))
		return;
	if (got < 0 && errno == ENOMEM) {
		stream_drop(stream, "no memory for its record");
		return;
	}
	if (got == 0)
		drop_parked(stream);
	if (got == 0 && (stream->send_queue.size > 0 || stream->pending > 0)) {
		stream->is_half_closed = true;
		return;
	}
	if (got <= 0) {
		stream_close(stream, got == 0 ? "the client closed it" : strerror(errno));
		return;
	}
	struct recv_buf *buf = &recv_batch->list[recv_batch->count++];
	buf->owner = stream;
	stream->streams->bytes_received += (size_t)got;
	stream->active_ms = stream->streams->now_ms;
	if (buf->is_filled)
		stream->streams->has_unread = true;
	/* What may be large is recorded before more is received: a batch must fit into a segment.
	 */
	if (recv_batch->count == RECV_BATCH_MAX || !buf->begins)
		run_received(stream->streams);
}

/* Returns how many bytes the kernel took. */
static size_t send_replies(struct stream *stream) {
	size_t before = stream->send_queue.size;

	switch (stream->tls == NULL ? send_queue_flush(&stream->send_queue, stream->handler.fd,
						       stream->streams->memory)
				    : stream_tls_send(stream)) {
	case SEND_QUEUE_EMPTY:
		if (stream->starts_tls)
			stream_tls_begin(stream);
		break;
	case SEND_QUEUE_BLOCKED:
		break;
	case SEND_QUEUE_ERROR:
		stream_close(stream, strerror(errno));
		return 0;
	}
	/* Encrypted it may be more than it was. */
	before = before > stream->send_queue.size ? before - stream->send_queue.size : 0;
	stream->streams->bytes_sent += before;
	return before;
}

void stream_flush(struct stream *stream) {
	progress(stream, send_replies(stream));
}

void stream_update(struct stream *stream) {
	uint32_t events = 0;

	if (stream->is_half_closed && stream->send_queue.size == 0 && stream->pending == 0)
		stream_close(stream, "the client closed it");
	if (stream->is_closed)
		return;
	if (stream->send_queue.size > 0)
		events |= EPOLLOUT;
	if (is_reading(stream) && !stream->handshake_turn.is_listed)
		events |= EPOLLIN;
	if (!stream->has_hung_up)
		events |= EPOLLRDHUP;
	/* Most of what is to be flushed at the end of this turn will be, and then this is asked
	 * again. */
	if (!stream->is_flushing)
		watch_for(stream, events);
	stream_account(stream);
	streams_enforce_held_max(stream->streams);
}

static void receive(struct stream *stream) {
	if (stream->tls == NULL || !stream_tls_queue(stream))
		stream_receive(stream);
}

void stream_ready(struct event_handler *handler, uint32_t events) {
	struct stream *stream = (struct stream *)(void *)handler;

	if (stream->is_closed)
		return;
	if ((events & EPOLLRDHUP) != 0) {
		stream->has_hung_up = true;
		drop_parked(stream);
	}
	if ((events & EPOLLOUT) != 0) {
		stream_flush(stream);
		stream_resume(stream);
	}
	if (is_reading(stream) && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		receive(stream);
	else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		stream_close(stream, "the client is gone");
	stream_update(stream);
}

/* Without calls that wait, the replies are sent at once: nothing is added to them in this turn. */
static void run_buffer(const struct recv_buf *buf) {
	struct stream *stream = buf->owner;
	size_t moved = buf->received;
	size_t left;

	/* A connection whose calls were run before may have had it dropped. */
	if (stream->is_closed)
		return;
	stream->streams->current = stream;
	left = parse(stream, buf->bytes, buf->size);
	keep_unparsed(stream, buf->bytes + buf->size - left, left);
	stream->streams->current = NULL;
	if (!stream->is_closed && stream->send_queue.size > 0 && !stream->is_flushing) {
		if (stream->pending == 0 && stream->unparsed == NULL)
			moved += send_replies(stream);
		else
			flush_later(stream);
	}
	if (stream->is_flushing)
		stream->timeout.bytes += moved; /* counted when it is flushed */
	else
		progress(stream, moved);
	stream_update(stream);
}

static void run_received(struct streams *streams) {
	struct recv_batch *recv_batch = &streams->recv_batch;

	recv_batch_prefetch(recv_batch, streams->service);
	for (unsigned i = 0; i < recv_batch->count; i++)
		run_buffer(&recv_batch->list[i]);
	recv_batch->count = 0;
}

void streams_run_received(struct streams *streams) {
	run_received(streams);
	if (streams->handshake_queue.first == NULL)
		return;
	streams_run_handshakes(streams);
	run_received(streams);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/recv_batch.h"
#include "rpc/call.h"
#include "clock.h"
#include "rpc/dispatch.h"
#include "rpc/prefetch.h"
#include "log.h"
#include "net/send_queue.h"
#include "net/timeout_list.h"
#include "record_marking.h"
#include "net/event_handler.h"
#include "rpc/xdr_inplace.h"

enum { DRAIN_ROUND_MS = 10 };

/*
 * One connection.
 *
 * Invariants: it is on streams->pacing exactly while it owes its peer bytes or its peer owes it the
 * rest of a record; on `flushing` while it has answers that this turn made; on `closed` once it is
 * shut, until the next flush and no call names it. `held` is what account() makes of it, and
 * streams->counters.held the sum.
 */
struct stream {
	struct watch watch;
	struct streams *streams;
	const char *transport; /* "tcp" or "local", for the log */

	struct record record; /* on its way in */

	/* Bytes read while answers were waiting: they are looked at when those are sent. */
	uint8_t *unparsed;
	size_t unparsed_size;

	struct outbox outbox;
	unsigned owed; /* calls that are under way: they name this stream */
	size_t held;
	size_t unsent;
	uint32_t events; /* that epoll watches for */
	bool is_ended;	 /* the peer sends no more, but still reads */
	bool is_closed;
	bool is_flushing;

	struct paced paced; /* in STREAM_STALL_TIMEOUT_MS it has to move STREAM_MIN_PROGRESS_BYTES */
	struct stream *flushing_next;
	struct stream *closed_next;
	struct stream *next; /* of all */
	struct stream *previous;
};

struct streams {
	int epoll;
	struct stream_limits limits;
	struct stream_counters counters;
	struct dispatch *dispatch;
	const struct service *service;
	struct memory *memory; /* of the views in outboxes */
	struct stream *all;
	struct pacing pacing;
	struct stream *current; /* its calls are being run */
	struct stream *flushing;
	struct stream *closed;
	bool is_paused;
	uint64_t now_ms;
	struct arrivals arrivals; /* none between turns */
};

struct streams *streams_new(int epoll, const struct stream_limits *limits,
			    struct dispatch *dispatch, struct service *service) {
	struct streams *streams = calloc(1, sizeof(*streams));

	if (streams == NULL)
		return NULL;
	streams->epoll = epoll;
	streams->limits = *limits;
	streams->dispatch = dispatch;
	streams->service = service;
	streams->memory = service_memory(service);
	return streams;
}

/* --- Pacing: who stands still -------------------------------------------------------------- */

static struct stream *of_paced(struct paced *paced) {
	return (struct stream *)(void *)((char *)paced - offsetof(struct stream, paced));
}

/* The stream moved `bytes`; a smaller move than the pace asks for does not count as one. */
static void pace(struct stream *stream, size_t bytes) {
	if (stream->is_closed)
		return;
	if (!record_is_partial(&stream->record) && stream->outbox.size == 0) {
		timeout_list_remove(&stream->streams->pacing, &stream->paced);
		return;
	}
	stream->paced.bytes += bytes;
	if (!stream->paced.is_pacing || stream->paced.bytes >= STREAM_MIN_PROGRESS_BYTES)
		timeout_list_touch(&stream->streams->pacing, &stream->paced, stream->streams->now_ms);
}

/* --- Closing ------------------------------------------------------------------------------- */

static void account(struct stream *stream) {
	/* Values on their way out are shared, and the store counts them: see relieve(). */
	size_t held = stream->record.capacity + stream->unparsed_size + stream->outbox.size -
		      stream->outbox.viewed;

	stream->streams->counters.held += held - stream->held;
	stream->held = held;
	stream->streams->counters.unsent += stream->outbox.size - stream->unsent;
	stream->unsent = stream->outbox.size;
}

static void stream_close(struct stream *stream) {
	struct streams *streams = stream->streams;

	if (stream->is_closed)
		return;
	stream->is_closed = true;
	timeout_list_remove(&streams->pacing, &stream->paced);
	(void)close(stream->watch.fd);
	record_reset(&stream->record);
	free(stream->unparsed);
	stream->unparsed = NULL;
	stream->unparsed_size = 0;
	send_queue_clear(&stream->outbox, streams->memory);
	account(stream);
	if (stream->previous != NULL)
		stream->previous->next = stream->next;
	else
		streams->all = stream->next;
	if (stream->next != NULL)
		stream->next->previous = stream->previous;
	streams->counters.connections--;
	/* An event of this turn may still name it. */
	stream->closed_next = streams->closed;
	streams->closed = stream;
}

static void stream_cut(struct stream *stream, const char *why) {
	if (stream->is_closed)
		return;
	log_verbose("%s connection cut: %s", stream->transport, why);
	stream->streams->counters.connections_cut++;
	stream_close(stream);
}

/* Counts what the stream holds, and makes room if all hold too much. */
static void hold(struct stream *stream) {
	struct streams *streams = stream->streams;

	account(stream);
	while (streams->counters.held > streams->limits.held_max && streams->pacing.first != NULL)
		stream_cut(of_paced(streams->pacing.first),
			   "peers hold too much memory, and this one "
			   "stood still longest");
}

static void watch_for(struct stream *stream, uint32_t events) {
	struct epoll_event event = {.events = events, .data.ptr = &stream->watch};

	if (stream->is_closed || stream->events == events)
		return;
	stream->events = events;
	(void)epoll_ctl(stream->streams->epoll, EPOLL_CTL_MOD, stream->watch.fd, &event);
}

/* --- Calls --------------------------------------------------------------------------------- */

/* Its answers are sent at the end of the turn. */
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

	reply->rm_xid = call->xid;
	stream->owed--;
	if (!stream->is_closed) {
		encoded = send_queue_reply(&stream->outbox, reply, call->reply.value);
		if (!encoded)
			stream_cut(stream, "no memory for its answer");
		else if (stream != streams->current)
			flush_later(stream);
	}
	dispatch_call_free(streams->dispatch, call);
	return encoded ? TRUE : FALSE;
}

static const struct xp_ops stream_ops = {
    .xp_getargs = call_getargs,
    .xp_reply = stream_reply,
    .xp_freeargs = call_freeargs,
};

static void run_record(struct stream *stream, struct kv_bytes record) {
	struct streams *streams = stream->streams;
	struct call *call = dispatch_call(streams->dispatch);
	struct block block = {.size = stream->record.capacity};

	if (call == NULL) {
		stream_cut(stream, "no memory for its call");
		return;
	}
	/* In an arrival's bytes it is not ours to give. */
	if (record.data == stream->record.data) {
		block.data = record_detach(&stream->record, record);
		call->block = &block;
	}
	call->stream = stream;
	stream->owed++;
	call->xprt.xp_ops = &stream_ops;
	call->xprt.xp_fd = stream->watch.fd;
	call->reply_max = UINT32_MAX;
	if (!dispatch_record(streams->dispatch, call, record)) {
		stream->owed--;
		dispatch_call_free(streams->dispatch, call);
		stream_cut(stream, "what it sent is no RPC call");
	}
	free(block.data);
}

/* --- Records ------------------------------------------------------------------------------- */

static bool is_stalled(const struct stream *stream) {
	return stream->outbox.size > STREAM_SENDBUF_MAX || stream->owed >= STREAM_PENDING_MAX ||
	       stream->streams->is_paused;
}

static bool is_reading(const struct stream *stream) {
	return !stream->is_closed && !stream->is_ended && !is_stalled(stream) &&
	       stream->unparsed == NULL;
}

/* Takes one record, or what is here of it, from the bytes. False: they are used up, or it was cut.
 */
static bool take_record(struct stream *stream, const uint8_t **bytes, size_t *size) {
	struct kv_bytes record;

	switch (record_feed(&stream->record, bytes, size, WIRE_RECORD_MAX, &record)) {
	case RECORD_MORE:
		return false;
	case RECORD_COMPLETE:
		run_record(stream, record);
		record_reset(&stream->record);
		return !stream->is_closed;
	case RECORD_INVALID:
		stream_cut(stream, "its record is larger than any call, or empty without end");
		return false;
	case RECORD_NOMEM:
		stream_cut(stream, "no memory for its record");
		return false;
	}
	return false;
}

/* Runs the records in `bytes`, as far as answers can be taken; answers how many bytes are left. */
static size_t parse(struct stream *stream, const uint8_t *bytes, size_t size) {
	const uint8_t *foreseen = bytes + record_is_partial(&stream->record); /* not its rest */

	do
		if (size > 0 && bytes >= foreseen)
			foreseen = bytes + prefetch_records(stream->streams->service, bytes, size);
	while (!is_stalled(stream) && take_record(stream, &bytes, &size));
	return stream->is_closed ? 0 : size;
}

static void keep_unparsed(struct stream *stream, const uint8_t *bytes, size_t size) {
	uint8_t *copy;

	if (size == 0)
		return;
	copy = malloc(size);
	if (copy == NULL) {
		stream_cut(stream, "no memory for its calls");
		return;
	}
	memcpy(copy, bytes, size);
	stream->unparsed = copy;
	stream->unparsed_size = size;
}

/* Goes on with what was read before the stream stalled. */
static void resume(struct stream *stream) {
	uint8_t *bytes = stream->unparsed;
	size_t size = stream->unparsed_size;
	size_t left;

	if (bytes == NULL || stream->is_closed || is_stalled(stream))
		return;
	stream->unparsed = NULL;
	stream->unparsed_size = 0;
	left = parse(stream, bytes, size);
	keep_unparsed(stream, bytes + size - left, left);
	free(bytes);
}

/* --- Reading and writing ------------------------------------------------------------------- */

/* Reads once; it is run with what others sent. */
static void receive(struct stream *stream) {
	struct arrivals *arrivals = &stream->streams->arrivals;
	ssize_t got = recv_batch_read(arrivals, stream->watch.fd, &stream->record);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got < 0 && errno == ENOMEM) {
		stream_cut(stream, "no memory for its record");
		return;
	}
	if (got == 0 && (stream->outbox.size > 0 || stream->owed > 0)) {
		stream->is_ended = true;
		return;
	}
	if (got <= 0) {
		stream_close(stream);
		return;
	}
	struct arrival *arrival = &arrivals->list[arrivals->count++];
	arrival->owner = stream;
	/* What may be large is recorded before more is read: a batch must fit into a segment. */
	if (arrivals->count == RECV_BATCH_MAX || !arrival->begins)
		streams_run_received(stream->streams);
}

static void stream_flush(struct stream *stream) {
	struct streams *streams = stream->streams;
	size_t before = stream->outbox.size;

	switch (send_queue_flush(&stream->outbox, stream->watch.fd, streams->memory)) {
	case SEND_QUEUE_EMPTY:
	case SEND_QUEUE_BLOCKED:
		break;
	case SEND_QUEUE_ERROR:
		stream_close(stream);
		return;
	}
	pace(stream, before - stream->outbox.size);
}

/* What epoll should watch for, after all that a turn did. */
static void settle(struct stream *stream) {
	uint32_t events = 0;

	if (stream->is_ended && stream->outbox.size == 0 && stream->owed == 0)
		stream_close(stream);
	if (stream->is_closed)
		return;
	/* What is to be flushed at the end of this turn is settled there. */
	if (stream->outbox.size > 0 && !stream->is_flushing)
		events |= EPOLLOUT;
	if (is_reading(stream))
		events |= EPOLLIN;
	/* What the turn made is not sent yet; most of it will be, and then this is asked again. */
	if (!stream->is_flushing)
		watch_for(stream, events);
	hold(stream);
}

static void stream_ready(struct watch *watch, uint32_t events) {
	struct stream *stream = (struct stream *)(void *)watch;

	if (stream->is_closed)
		return;
	if ((events & EPOLLOUT) != 0) {
		stream_flush(stream);
		resume(stream);
	}
	if (is_reading(stream) && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		receive(stream);
	else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		stream_close(stream);
	settle(stream);
}

/* When all is answered, nobody waits for what others want of this turn. */
static void run_arrival(const struct arrival *arrival) {
	struct stream *stream = arrival->owner;
	size_t left;

	/* Another one's calls may have had it cut. */
	if (stream->is_closed)
		return;
	stream->streams->current = stream;
	left = parse(stream, arrival->bytes, arrival->size);
	keep_unparsed(stream, arrival->bytes + arrival->size - left, left);
	stream->streams->current = NULL;
	pace(stream, arrival->got);
	if (!stream->is_closed && stream->outbox.size > 0 && !stream->is_flushing) {
		if (stream->owed == 0 && stream->unparsed == NULL)
			stream_flush(stream);
		else
			flush_later(stream);
	}
	settle(stream);
}

void streams_run_received(struct streams *streams) {
	struct arrivals *arrivals = &streams->arrivals;

	recv_batch_prefetch(arrivals, streams->service);
	for (unsigned i = 0; i < arrivals->count; i++)
		run_arrival(&arrivals->list[i]);
	arrivals->count = 0;
}

/* Calls under way still name their stream. */
static void free_closed(struct streams *streams) {
	struct stream **link = &streams->closed;

	while (*link != NULL) {
		struct stream *stream = *link;

		if (stream->owed > 0) {
			link = &stream->closed_next;
			continue;
		}
		*link = stream->closed_next;
		free(stream);
	}
}

void streams_flush(struct streams *streams) {
	assert(streams->arrivals.count == 0); /* streams_run_received() comes first */
	while (streams->flushing != NULL) {
		struct stream *stream = streams->flushing;

		streams->flushing = stream->flushing_next;
		stream->is_flushing = false;
		if (stream->is_closed)
			continue;
		stream_flush(stream);
		resume(stream); /* may put it on the list again */
		settle(stream);
	}
	free_closed(streams);
}

void streams_pause(struct streams *streams, bool is_paused) {
	/* Those that have something to read notice when they do: see settle(). */
	streams->is_paused = is_paused;
	for (struct stream *stream = streams->all; stream != NULL && !is_paused;) {
		struct stream *next = stream->next;

		resume(stream);
		settle(stream);
		stream = next;
	}
}

/* --- All of them --------------------------------------------------------------------------- */

void streams_add(struct streams *streams, int fd, const char *transport) {
	struct stream *stream = NULL;
	struct epoll_event event = {.events = EPOLLIN};

	if (streams->counters.connections < streams->limits.connections_max)
		stream = calloc(1, sizeof(*stream));
	if (stream == NULL) {
		streams->counters.connections_refused++;
		log_verbose("%s connection refused: %llu are open (--max-connections)", transport,
			   (unsigned long long)streams->counters.connections);
		(void)close(fd);
		return;
	}
	stream->watch = (struct watch){.fd = fd, .ready = stream_ready};
	stream->streams = streams;
	stream->transport = transport;
	stream->events = EPOLLIN;
	event.data.ptr = &stream->watch;
	if (epoll_ctl(streams->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		log_warn("cannot watch a connection: %s", strerror(errno));
		streams->counters.connections_refused++;
		(void)close(fd);
		free(stream);
		return;
	}
	stream->next = streams->all;
	if (streams->all != NULL)
		streams->all->previous = stream;
	streams->all = stream;
	streams->counters.connections++;
	streams->counters.connections_made++;
}

void streams_set_time(struct streams *streams, uint64_t now_ms) {
	streams->now_ms = now_ms;
}

/* Whether the store's memory is nearly full, or was too full for somebody. */
static bool is_short(const struct memory *memory) {
	return memory->used > memory->limit - memory->limit / 16 ||
	       (memory->wanted > 0 && memory->used > memory->limit - memory->wanted);
}

/*
 * A value that a peer does not take stays in the store's memory, even when the key holds another by
 * now. When that memory is short, those who stood still with values go, the longest first.
 */
static void relieve(struct streams *streams) {
	struct paced *paced = streams->pacing.first;

	while (paced != NULL && is_short(streams->memory) &&
	       streams->now_ms - paced->since_ms >= STREAM_PRESSURE_TIMEOUT_MS) {
		struct paced *next = paced->next;

		if (of_paced(paced)->outbox.viewed > 0)
			stream_cut(of_paced(paced), "it does not take values, and memory is short");
		paced = next;
	}
	/* Who asks again, when others stood still long enough, is refused once more at most. */
	streams->memory->wanted = 0;
}

uint64_t streams_expire(struct streams *streams) {
	relieve(streams);
	while (streams->pacing.first != NULL) {
		uint64_t due_ms = streams->pacing.first->since_ms + STREAM_STALL_TIMEOUT_MS;

		if (due_ms > streams->now_ms)
			return due_ms - streams->now_ms;
		stream_cut(of_paced(streams->pacing.first),
			   "it stands still in the middle of a record or "
			   "does not take its answers");
	}
	return UINT64_MAX;
}

/*
 * Sends what the kernel takes; whether it then has all of it, and sent it: closing a tcp connection
 * with calls unread throws away what still waits in its queue.
 */
static bool drain(struct stream *stream) {
	int unsent = 0;

	switch (send_queue_flush(&stream->outbox, stream->watch.fd, stream->streams->memory)) {
	case SEND_QUEUE_ERROR:
		return true;
	case SEND_QUEUE_BLOCKED:
		return false;
	case SEND_QUEUE_EMPTY:
		break;
	}
	/* Only tcp knows; others keep `unsent`. */
	(void)ioctl(stream->watch.fd, SIOCOUTQNSD, &unsent);
	return unsent == 0;
}

void streams_drain(struct streams *streams, uint64_t wait_ms) {
	uint64_t end_ms = clock_ms() + wait_ms;
	bool is_drained;

	streams_flush(streams);
	/* Each gets its chance in every round: one that is frozen holds up nobody else. */
	do {
		is_drained = true;
		for (struct stream *stream = streams->all; stream != NULL; stream = stream->next)
			is_drained = drain(stream) && is_drained;
	} while (!is_drained && clock_ms() < end_ms && poll(NULL, 0, DRAIN_ROUND_MS) == 0);
}

void streams_get_stats(const struct streams *streams, struct stream_counters *counters) {
	*counters = streams->counters;
}

void streams_free(struct streams *streams) {
	if (streams == NULL)
		return;
	while (streams->all != NULL)
		stream_close(streams->all);
	/* Calls that were under way are gone, or will be given up. */
	while (streams->closed != NULL) {
		struct stream *stream = streams->closed;

		streams->closed = stream->closed_next;
		free(stream);
	}
	free(streams);
}

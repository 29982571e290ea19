/* SPDX-License-Identifier: BSD-3-Clause */
/* streams.c - all connections: which are accepted, and which are dropped for the others. */
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "acl/acl.h"
#include "clock.h"
#include "core/stats.h"
#include "log.h"
#include "net/stream_private.h"
#include "tls/credentials.h"

enum {
	DRAIN_ROUND_MS = 10,
	PEER_SAMPLE = 64,  /* connections of a peer that are looked at for one to drop */
	EVICT_SHARE = 100, /* for a new connection this part of those of a peer is closed ... */
	EVICT_MAX = 64,	   /* ... but at most so many ... */
	EVICT_SAMPLE = EVICT_SHARE * EVICT_MAX, /* ... of those that were looked at */
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
	streams->overflow = identity_overflow_ids();
	tls_session_library(streams->tls_library);
	if (limits->credentials == NULL)
		return streams;
	streams->tls_buffers = calloc(1, sizeof(*streams->tls_buffers));
	if (streams->tls_buffers == NULL) {
		free(streams);
		return NULL;
	}
	(void)credentials_ref(limits->credentials);
	return streams;
}

static void stream_free(struct stream *stream) {
	identity_free(&stream->caller);
	free(stream);
}

/* Calls without a reply still name their stream. */
static void free_closed(struct streams *streams) {
	struct stream **link = &streams->closed;

	while (*link != NULL) {
		struct stream *stream = *link;

		if (stream->pending > 0) {
			link = &stream->closed_next;
			continue;
		}
		*link = stream->closed_next;
		stream_free(stream);
	}
}

void streams_flush(struct streams *streams) {
	assert(streams->recv_batch.count == 0); /* streams_run_received() comes first */
	while (streams->flushing != NULL) {
		struct stream *stream = streams->flushing;

		streams->flushing = stream->flushing_next;
		stream->is_flushing = false;
		if (stream->is_closed)
			continue;
		stream_flush(stream);
		stream_resume(stream); /* may put it on the list again */
		stream_update(stream);
	}
	free_closed(streams);
}

void streams_pause(struct streams *streams, bool is_paused) {
	/* Connections notice it when they receive: see stream_update(). */
	streams->is_paused = is_paused;
	for (struct stream *stream = streams->all; stream != NULL && !is_paused;) {
		struct stream *next = stream->next;

		stream_resume(stream);
		stream_update(stream);
		stream = next;
	}
}

bool streams_are_paused(const struct streams *streams) {
	return streams->is_paused;
}

bool streams_took_all(struct streams *streams) {
	bool took_all =
	    !streams->has_unread && !streams->is_paused && streams->handshake_queue.first == NULL;

	streams->has_unread = false;
	return took_all;
}

/* --- Which connections there are ------------------------------------------------------------ */

static struct stream *of_member(struct peer_member *member) {
	return (struct stream *)(void *)((char *)member - offsetof(struct stream, member));
}

static struct stream *of_timeout(struct timeout_entry *timeout) {
	return (struct stream *)(void *)((char *)timeout - offsetof(struct stream, timeout));
}

bool streams_may_log(struct streams *streams, const struct peer_id *id, const char *kind,
		     char more[LOG_LIMIT_TEXT_MAX]) {
	const uint64_t hash = peer_hash((const unsigned char *)kind, strlen(kind), 0);

	return log_table_allows(&streams->lines, peer_hash(id->bytes, id->size, hash),
				streams->now_ms, more);
}

static void log_full(struct streams *streams) {
	if (streams->is_full)
		return;
	streams->is_full = true;
	log_warn("%u connections are open: for new ones idle ones are closed, or the new ones are "
		 "(raise --max-connections)",
		 streams->limits.connections_max);
}

static void log_not_full(struct streams *streams) {
	if (!streams->is_full || streams->connections >= streams->limits.connections_max -
							     streams->limits.connections_max / 8)
		return;
	streams->is_full = false;
	log_info("connections are no longer full: %llu are open",
		 (unsigned long long)streams->connections);
}

void streams_remove(struct stream *stream) {
	struct streams *streams = stream->streams;

	if (streams->recheck == stream)
		streams->recheck = stream->next;
	peers_leave(&streams->peers, &stream->member);
	if (stream->previous != NULL)
		stream->previous->next = stream->next;
	else
		streams->all = stream->next;
	if (stream->next != NULL)
		stream->next->previous = stream->previous;
	streams->connections--;
	log_not_full(streams);
	/* An event of this turn may still name it. */
	stream->closed_next = streams->closed;
	streams->closed = stream;
}

/* Connections of a peer that can be closed for others. */
struct idle {
	struct stream *list[EVICT_MAX]; /* the longest idle first */
	unsigned count;
	unsigned max;
	struct stream *without_calls; /* one that only owes the rest of a record, or waits */
};

static void note_idle(struct idle *idle, struct stream *stream) {
	unsigned at = idle->count;

	if (idle->count == idle->max && stream->active_ms >= idle->list[idle->max - 1]->active_ms)
		return;
	if (idle->count < idle->max)
		idle->count++;
	else
		at--;
	for (; at > 0 && idle->list[at - 1]->active_ms > stream->active_ms; at--)
		idle->list[at] = idle->list[at - 1];
	idle->list[at] = stream;
}

/*
 * One percent of the peer's connections, at least one: those that are idle for longest. Looks at
 * EVICT_SAMPLE connections, at others each time, so that a peer that opens many does not make it
 * slow.
 */
static void find_idle(struct peer *peer, struct idle *idle) {
	idle->count = 0;
	idle->max = peer->connections / EVICT_SHARE;
	idle->max = idle->max == 0 ? 1 : idle->max < EVICT_MAX ? idle->max : EVICT_MAX;
	idle->without_calls = NULL;
	for (unsigned i = 0; i < peer->connections && i < EVICT_SAMPLE; i++) {
		struct stream *stream = of_member(peer->first);

		peer_rotate(&stream->member);
		if (stream->pending > 0 || stream->send_queue.size > 0 || stream->unparsed != NULL)
			continue;
		if (!record_is_partial(&stream->record) && stream->parked == NULL)
			note_idle(idle, stream);
		else if (idle->without_calls == NULL)
			idle->without_calls = stream;
	}
}

/*
 * Closes connections of the peer for a new one: those that are idle; or, if that one's peer has
 * fewer, one that was active lately, or that only owes the rest of a record. False: none can be
 * closed.
 */
static bool make_room(struct streams *streams, struct peer *peer, bool has_fewer) {
	struct idle idle;
	unsigned closed = 0;

	find_idle(peer, &idle);
	for (; closed < idle.count &&
	       streams->now_ms - idle.list[closed]->active_ms >= STREAM_IDLE_MS;
	     closed++)
		stream_drop(idle.list[closed], "it is idle, and there are too many connections");
	if (closed > 0)
		return true;
	if (idle.count > 0)
		idle.without_calls = idle.list[0];
	if (!has_fewer || idle.without_calls == NULL)
		return false;
	stream_drop(idle.without_calls, "there are too many connections, most of them from there");
	return true;
}

/* Root and the user that runs kvd can always look what is wrong. */
static bool is_administrator(const struct peer_name *name) {
	return name->kind == ADDRESS_LOCAL && (name->uid == 0 || name->uid == geteuid());
}

static unsigned connections_each(const struct streams *streams, const struct caller *caller) {
	const struct acl_limits usual = {.connections = streams->limits.connections_each};

	return streams->acl == NULL ? usual.connections
				    : acl_limits_of(streams->acl, caller, usual).connections;
}

static void log_full_peer(struct streams *streams, const struct peer_name *name,
			  const struct caller *caller, unsigned max) {
	const struct peer_id id = principal_peer(caller);
	char principal[PRINCIPAL_TEXT_MAX], peer[PEER_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];

	if (streams_may_log(streams, &id, "too many connections", more))
		log_warn("%s at %s has %u connections: for new ones its idle ones are closed, or "
			 "the new ones are (raise --max-connections-each, or limit in --acl)%s",
			 principal_of(caller, principal), peer_name_format(name, peer), max, more);
}

/* Whether the peer may have one more; `own` is NULL if it has none. */
static bool is_accepted_of_peer(struct streams *streams, const struct peer_name *name,
				const struct caller *caller, struct peer *own) {
	const unsigned max = connections_each(streams, caller);

	if (max == 0 || own == NULL || own->connections < max)
		return true;
	log_full_peer(streams, name, caller, own->connections);
	if (is_administrator(name) && own->connections < max + STREAM_RESERVE)
		return true;
	return make_room(streams, own, false);
}

static bool is_accepted(struct streams *streams, const struct peer_name *name,
			const struct caller *caller, const struct peer_id *id) {
	const uint64_t max = streams->limits.connections_max;
	struct peer *own = peers_find(&streams->peers, id);

	if (!is_accepted_of_peer(streams, name, caller, own))
		return false;
	if (streams->connections < max)
		return true;
	log_full(streams);
	if (is_administrator(name) && streams->connections < max + STREAM_RESERVE)
		return true;
	struct peer *most = peers_max_connections(&streams->peers);
	own = peers_find(&streams->peers, id); /* its last connection may have been closed */
	const unsigned has = own == NULL ? 0 : own->connections;
	return most != NULL && make_room(streams, most, has + 1 < most->connections);
}

/* "uid:1000 (uid 1000 pid 4711)", "any at 192.0.2.7:40112". */
static const char *describe(const struct caller *caller, char text[CALLER_TEXT_MAX]) {
	const struct stream *stream =
	    (const struct stream *)(const void *)((const char *)caller -
						  offsetof(struct stream, caller));
	bool is_local = stream->name.kind == ADDRESS_LOCAL;
	char principal[PRINCIPAL_TEXT_MAX], peer[PEER_TEXT_MAX];

	(void)snprintf(text, CALLER_TEXT_MAX, is_local ? "%s (%s)" : "%s at %s",
		       principal_of(caller, principal), peer_name_format(&stream->name, peer));
	return text;
}

static struct stream *stream_new(struct streams *streams, int fd, const struct peer_name *name,
				 const struct caller *caller, const struct peer_id *id) {
	struct stream *stream = calloc(1, sizeof(*stream));
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};

	if (stream == NULL)
		return NULL;
	stream->handler = (struct event_handler){.fd = fd, .ready = stream_ready};
	stream->streams = streams;
	stream->name = *name;
	stream->events = EPOLLIN | EPOLLRDHUP;
	stream->active_ms = streams->now_ms;
	event.data.ptr = &stream->handler;
	stream->caller = *caller;
	stream->caller.is_administrator = stream->caller.is_known && is_administrator(name);
	stream->caller.describe = describe;
	if (peers_join(&streams->peers, &stream->member, id)) {
		if (epoll_ctl(streams->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
			return stream;
		peers_leave(&streams->peers, &stream->member);
	}
	free(stream);
	return NULL;
}

void streams_add(struct streams *streams, int fd, const struct peer_name *name) {
	struct caller caller = identity_of(fd, name, &streams->overflow);
	const struct peer_id id = principal_peer(&caller);
	bool is_room = is_accepted(streams, name, &caller, &id);
	struct stream *stream = is_room ? stream_new(streams, fd, name, &caller, &id) : NULL;
	char text[PEER_TEXT_MAX];

	if (stream == NULL) {
		identity_free(&caller);
		streams->connections_refused++;
		log_verbose("refused %s connection from %s: %s", peer_transport(name),
			    peer_name_format(name, text),
			    is_room ? "no memory for it" : "there are too many connections");
		(void)close(fd);
		return;
	}
	stream->next = streams->all;
	if (streams->all != NULL)
		streams->all->previous = stream;
	streams->all = stream;
	streams->has_unread = true;
	streams->connections++;
	streams->connections_made++;
	log_verbose("%s connection from %s, %llu are open", peer_transport(name),
		    peer_name_format(name, text), (unsigned long long)streams->connections);
}

void streams_set_time(struct streams *streams, uint64_t now_ms) {
	streams->now_ms = now_ms;
	streams->handshake_steps = HANDSHAKE_STEPS_PER_TURN;
}

void streams_set_acl(struct streams *streams, const struct acl *acl) {
	streams->acl = acl;
}

/* --- Memory and time ------------------------------------------------------------------------ */

/*
 * The connection of a peer that goes first when connections hold too much: the one that has not
 * moved for longest, if for a second; else all move, and it is the one that holds most. Looks at
 * PEER_SAMPLE connections, at others each time.
 */
static struct stream *worst_of(const struct streams *streams, struct peer *peer) {
	struct stream *stalled = NULL;
	struct stream *largest = NULL;

	for (unsigned i = 0; i < peer->connections && (i < PEER_SAMPLE || largest->held == 0);
	     i++) {
		struct stream *stream = of_member(peer->first);

		peer_rotate(&stream->member);
		if (largest == NULL || stream->held > largest->held)
			largest = stream;
		if (stream->held > 0 && stream->timeout.is_listed &&
		    streams->now_ms - stream->timeout.since_ms >= STREAM_PRESSURE_TIMEOUT_MS &&
		    (stalled == NULL || stream->timeout.since_ms < stalled->timeout.since_ms))
			stalled = stream;
	}
	return stalled != NULL ? stalled : largest;
}

void streams_enforce_held_max(struct streams *streams) {
	while (streams->held > streams->limits.held_max) {
		struct peer *peer = peers_max_held(&streams->peers);
		struct stream *worst = peer != NULL ? worst_of(streams, peer) : NULL;

		if (worst == NULL)
			return;
		stream_drop(worst, "unfinished records and unsent replies hold too much memory, "
				   "most of it from there");
	}
}

/* Whether the store's memory is nearly full, or was too full for a call. */
static bool is_short(const struct mem_account *memory) {
	return memory->used > memory->limit - memory->limit / 16 ||
	       (memory->wanted > 0 && memory->used > memory->limit - memory->wanted);
}

/*
 * A value that a peer does not take stays in the store's memory, even if the key has another one by
 * now. When that memory is short, connections that have not moved go, if they have such values: the
 * one that has not moved for longest first.
 */
static void relieve(struct streams *streams) {
	struct timeout_entry *timeout = streams->timeouts.first;

	while (timeout != NULL && is_short(streams->memory) &&
	       streams->now_ms - timeout->since_ms >= STREAM_PRESSURE_TIMEOUT_MS) {
		struct timeout_entry *next = timeout->next;

		if (of_timeout(timeout)->send_queue.viewed > 0)
			stream_drop(of_timeout(timeout),
				    "it does not take values, and memory is short");
		timeout = next;
	}
	/* A call that comes later, when other connections may go, is refused once more at most. */
	streams->memory->wanted = 0;
}

/* Returns in how many ms to look again. */
static uint64_t drop_stalled(struct streams *streams) {
	while (streams->timeouts.first != NULL) {
		uint64_t due_ms = streams->timeouts.first->since_ms + STREAM_STALL_TIMEOUT_MS;

		if (due_ms > streams->now_ms)
			return due_ms - streams->now_ms;
		stream_drop(of_timeout(streams->timeouts.first),
			    "it has been too slow to finish a record or to take replies");
	}
	return UINT64_MAX;
}

uint64_t streams_expire(struct streams *streams) {
	uint64_t due_ms, tls_due_ms;

	relieve(streams);
	tls_due_ms = streams_expire_tls(streams);
	due_ms = drop_stalled(streams);
	return due_ms < tls_due_ms ? due_ms : tls_due_ms;
}

/* --- The end --------------------------------------------------------------------------------- */

/*
 * Sends what the kernel takes. Returns whether the kernel has all of it, and sent it: closing a tcp
 * connection with calls unread discards what is still in its queue.
 */
static bool drain(struct stream *stream) {
	int unsent = 0;

	switch (stream->tls == NULL ? send_queue_flush(&stream->send_queue, stream->handler.fd,
						       stream->streams->memory)
				    : stream_tls_send(stream)) {
	case SEND_QUEUE_ERROR:
		return true;
	case SEND_QUEUE_BLOCKED:
		return false;
	case SEND_QUEUE_EMPTY:
		break;
	}
	/* Only tcp knows; for others `unsent` stays 0. */
	(void)ioctl(stream->handler.fd, SIOCOUTQNSD, &unsent);
	return unsent == 0;
}

void streams_drain(struct streams *streams, uint64_t wait_ms) {
	uint64_t end_ms = clock_ms() + wait_ms;
	bool is_drained;

	streams_flush(streams);
	/* Each is tried in every round, so that one that does not move does not hold up others. */
	do {
		is_drained = true;
		for (struct stream *stream = streams->all; stream != NULL; stream = stream->next)
			is_drained = drain(stream) && is_drained;
	} while (!is_drained && clock_ms() < end_ms && poll(NULL, 0, DRAIN_ROUND_MS) == 0);
}

void streams_add_stats(const struct streams *streams, struct stats *stats) {
	stats_add(stats, "connections", streams->connections);
	stats_add(stats, "connections_max", streams->limits.connections_max);
	stats_add(stats, "connections_each", streams->limits.connections_each);
	stats_add(stats, "connections_made", streams->connections_made);
	stats_add(stats, "connections_refused", streams->connections_refused);
	stats_add(stats, "connections_dropped", streams->connections_dropped);
	stats_add(stats, "tls_connections_made", streams->tls_connections);
	stats_add(stats, "tls_handshakes", streams->handshake_count);
	stats_add(stats, "tls_refused", streams->tls_refused);
	stats_add(stats, "peers", streams->peers.count);
	stats_add(stats, "bytes_received", streams->bytes_received);
	stats_add(stats, "bytes_sent", streams->bytes_sent);
	stats_add(stats, "receive_buffer_bytes", streams->held);
	stats_add(stats, "send_queue_bytes", streams->unsent);
}

void streams_free(struct streams *streams) {
	if (streams == NULL)
		return;
	while (streams->all != NULL)
		stream_close(streams->all, "the server stops");
	/* Calls without a reply get none any more. */
	while (streams->closed != NULL) {
		struct stream *stream = streams->closed;

		streams->closed = stream->closed_next;
		stream_free(stream);
	}
	credentials_unref(streams->limits.credentials);
	free(streams->tls_buffers);
	free(streams);
}

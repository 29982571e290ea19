/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_STREAM_H
#define TRANSPORT_STREAM_H

/*
 * transport_stream.h - connections over tcp and local sockets: bytes to records to calls, answers
 * to bytes.
 *
 * A peer costs only itself, and that within bounds: input is read once for each ready connection
 * and turn; a record takes memory as its bytes arrive, never as its header claims; a connection
 * that does not take its answers is not read from; one that stands still in the middle of a record
 * or of an answer for STREAM_STALL_TIMEOUT_MS is cut; and if all of them together hold too much, the one
 * that stood still longest goes first.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct dispatch;
struct service;
struct streams;

enum {
	STREAM_STALL_TIMEOUT_MS = 30000,		/* in this time a peer that is owed or owes something ... */
	STREAM_MIN_PROGRESS_BYTES = 64 * 1024,	/* ... moves this much, or all of it */
	STREAM_PRESSURE_TIMEOUT_MS = 1000,	/* in place of STREAM_STALL_TIMEOUT_MS, when memory is short */
	STREAM_SENDBUF_MAX = 256 * 1024, /* bytes of answers waiting before reading stops */
	STREAM_PENDING_MAX = 4096,		/* calls under way on one connection, likewise */
};

struct stream_limits {
	unsigned connections_max;
	size_t held_max; /* bytes of unfinished records and unsent answers, all peers together */
};

/* What `kvctl status` shows. */
struct stream_counters {
	uint64_t connections;	      /* open now */
	uint64_t connections_made;    /* since the start */
	uint64_t connections_refused; /* above the limit */
	uint64_t connections_cut;     /* stood still, held too much, or sent rubbish */
	uint64_t held;		      /* bytes, see stream_limits */
	uint64_t unsent;	      /* bytes of answers, values included */
};

/*
 * Connections are watched in `epoll`, and their calls go to `dispatch`. NULL: no memory.
 * streams_free() closes them all; calls under way must not be answered any more.
 */
struct streams *streams_new(int epoll, const struct stream_limits *limits,
			    struct dispatch *dispatch, struct service *service);
void streams_free(struct streams *streams);

/* Each turn has one time. */
void streams_set_time(struct streams *streams, uint64_t now_ms);

/*
 * Takes over an accepted, non-blocking socket; closes it at once if there are too many. `transport`
 * is a constant string for the log: "tcp" or "local".
 */
void streams_add(struct streams *streams, int fd, const char *transport);

/* No more calls are taken until it is over: the journal is behind. */
void streams_pause(struct streams *streams, bool is_paused);

/* After the events of a turn: runs what they brought, as far as that has not been done yet. */
void streams_run_received(struct streams *streams);

/* At the end of a turn: sends what it made, and frees what was closed since the last time. */
void streams_flush(struct streams *streams);

/*
 * After streams_flush(): cuts those that stand still. Answers in how many ms to call again;
 * UINT64_MAX: none may.
 */
uint64_t streams_expire(struct streams *streams);

/* Sends what is owed, for at most `wait_ms`, before the process ends. */
void streams_drain(struct streams *streams, uint64_t wait_ms);

void streams_get_stats(const struct streams *streams, struct stream_counters *counters);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STREAM_H
#define STREAM_H

/*
 * stream.h - connections over tcp and local sockets: bytes to records to calls, replies to bytes.
 *
 * A slow or hostile peer cannot delay other peers, and its memory is bounded: each ready connection
 * receives once a turn, at most RECV_DIRECT_MAX; a record takes memory as its bytes arrive, never
 * as its header claims; a connection that does not take its replies is not received from; one that
 * does not move STREAM_MIN_PROGRESS_BYTES of a record or of replies in STREAM_STALL_TIMEOUT_MS is
 * dropped. Each peer (acl/principal.h) has a limit of connections. Limits that all share, the
 * number of connections and the bytes that they hold, are kept at the cost of the peer that has
 * most.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct acl;
struct credentials;
struct dispatch;
struct peer_name;
struct service;
struct stats;
struct streams;

enum {
	STREAM_STALL_TIMEOUT_MS =
	    30000, /* in this time a peer with a record or replies pending ... */
	STREAM_MIN_PROGRESS_BYTES = 64 * 1024, /* ... moves this much, or all of it */
	STREAM_PRESSURE_TIMEOUT_MS = 1000,     /* the same when memory is short */
	STREAM_IDLE_MS = 1000, /* without calls for so long it can be closed for a new connection */
	STREAM_RESERVE = 16,   /* connections above the limit: local ones of root and kvd's user */
	STREAM_SENDBUF_MAX =
	    256 * 1024,		   /* bytes of unsent replies above which it receives nothing */
	STREAM_PENDING_MAX = 4096, /* calls without a reply on one connection, likewise */

	/* What handshakes may cost. A connection in one waits in a queue for its turn. */
	HANDSHAKE_TIMEOUT_MS = 10000,		  /* from the probe until TLS is open */
	HANDSHAKES_MAX = 256,			  /* under way at once ... */
	HANDSHAKES_PEER_MAX = HANDSHAKES_MAX / 4, /* ... and of one peer */
	HANDSHAKE_STEPS_PER_TURN = 2,
	RECHECKS_PER_TURN = 8, /* certificates and rights that are looked at again */
};

/* Whether calls may come in the clear, but for those of NULL, which may. */
enum tls_policy {
	TLS_OFFER,
	TLS_REQUIRE_REMOTE, /* not over tcp and udp, but for loopback addresses */
	TLS_REQUIRE,	    /* not over tcp and udp */
};

struct stream_limits {
	struct credentials *credentials; /* counted; NULL: there is no TLS */
	enum tls_policy tls_policy;
	unsigned connections_max;
	unsigned connections_each; /* that one peer may have, unless rules say it; 0: no limit */
	size_t held_max; /* bytes of unfinished records and unsent replies, all peers together */
};

/*
 * Connections are watched in `epoll`, and their calls go to `dispatch`. NULL: no memory.
 * streams_free() closes them all; calls without a reply must not get one any more.
 */
struct streams *streams_new(int epoll, const struct stream_limits *limits,
			    struct dispatch *dispatch, struct service *service);
void streams_free(struct streams *streams);

/*
 * From now on the rules say what limits peers have, beside limits.connections_each. Borrowed until
 * the next call of it; NULL, as at the beginning: there are no rules.
 */
void streams_set_acl(struct streams *streams, const struct acl *acl);

/*
 * From now on handshakes use these credentials; connections that are open are closed, a few in each
 * turn, if what their clients showed is not accepted any more, or their caller has no right left.
 */
void streams_set_credentials(struct streams *streams, struct credentials *credentials);

/* Each turn has one time. */
void streams_set_time(struct streams *streams, uint64_t now_ms);

/*
 * Takes over an accepted, non-blocking socket of the peer `name`; closes it at once if there are
 * too many.
 */
void streams_add(struct streams *streams, int fd, const struct peer_name *name);

/*
 * While it is paused no calls are received: the journal is backlogged. A pause begins by itself
 * when dispatch_is_backlogged().
 */
void streams_pause(struct streams *streams, bool is_paused);
bool streams_are_paused(const struct streams *streams);

/*
 * After the events of a turn: runs the calls that were received and have not been run yet, and some
 * steps of handshakes.
 */
void streams_run_received(struct streams *streams);

/* At the end of a turn: sends its replies, and frees connections that were closed. */
void streams_flush(struct streams *streams);

/*
 * Returns whether all that the connections had for the server was received in this turn, as far as
 * is known: false if a buffer was filled, if a connection is new, or while it is paused.
 */
bool streams_took_all(struct streams *streams);

/*
 * After streams_flush(): drops connections that are too slow, and looks at some again (see
 * streams_set_credentials()). Returns in how many ms a turn is due; UINT64_MAX: no connection has
 * anything pending.
 */
uint64_t streams_expire(struct streams *streams);

/* Sends the replies that are left, for at most `wait_ms`, before the process ends. */
void streams_drain(struct streams *streams, uint64_t wait_ms);

/* Adds what they count. */
void streams_add_stats(const struct streams *streams, struct stats *stats);

#endif

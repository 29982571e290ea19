/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONNECTION_H
#define CONNECTION_H

/*
 * connection.h - one connection of the load: its socket, and the calls under way on it, each on a
 * lane of its own.
 */

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "outgoing.h"
#include "protocol.h"

enum { CONNECTION_SCRATCH = 256 * 1024 };

/* A call under way, as its owner wants to have it back. */
struct slot {
	enum op_type work; /* WORK_MODIFY: its Get or its Put, as is_second tells */
	bool is_second;
	uint64_t key;
	uint64_t begin_ns; /* when it was to begin, which may be before it was sent */
};

struct connection {
	const struct protocol *protocol;
	struct conn_state *state; /* owned */
	int fd;			  /* owned; -1: none */
	unsigned number;	  /* among all connections of the run */
	struct outgoing out;

	uint8_t *kept; /* owned; kept_size bytes of a reply that do not tell its size yet */
	size_t kept_size;
	struct reply pending; /* its size is known, and skipped_size bytes are still to come */
	size_t skipped_size;
	uint64_t calls_left; /* to be made; UINT64_MAX: time decides */

	struct slot lanes[PROTOCOL_LANES_MAX];
	unsigned lane_count;
	unsigned free_lanes[PROTOCOL_LANES_MAX]; /* those without a call; free_count of them */
	unsigned free_count;
	/* The lanes under way, oldest first, for protocols that reply in order. */
	unsigned order[PROTOCOL_LANES_MAX];
	unsigned order_first, order_count;
	bool waits_to_send; /* epoll tells when the socket takes more */
};

/* Connects a blocking socket to the server. -1: it failed, and an error line says why. */
int connection_dial(const struct address *server);

/*
 * Connects and begins to state; the socket does not block from then on. False: an error line said
 * why. Either way connection_close() frees it.
 */
bool connection_open(struct connection *connection, const struct options *options, unsigned number);
void connection_close(struct connection *connection);

/* Puts a call on a free lane, of which there must be one, or on the lane of a call just answered.
 */
bool connection_call(struct connection *connection, const struct slot *call, uint64_t expected);

/* What is called for each reply, after its lane became free. False ends the load. */
typedef bool connection_reply(void *context, struct connection *connection, const struct slot *call,
			      const struct reply *reply);

/*
 * Reads once what the socket has, into `scratch` of CONNECTION_SCRATCH bytes. False: the load
 * cannot go on; an error line says why.
 */
bool connection_read(struct connection *connection, uint8_t *scratch, connection_reply *answered,
		     void *context);

#endif

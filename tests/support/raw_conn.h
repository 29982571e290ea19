/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RAW_CONN_H
#define RAW_CONN_H

/*
 * raw_conn.h - a socket to a server without a client library: bytes are sent as the test says,
 * replies arrive in any order. Any failure fails the test.
 */

#include "rpc_message.h"
#include "server.h"

struct peer {
	int fd;
	bool is_stream;
	uint32_t next_xid;
	/* Answers that came while another one was waited for. */
	struct answer *early;
	size_t early_count;
};

/* Connects; peer_close() ends it. */
void peer_open(struct peer *peer, const struct server *server, enum via via);
void peer_close(struct peer *peer);

/* Over tcp, from another address of this machine: 127.0.0.2 is another peer than 127.0.0.1. */
void peer_open_from(struct peer *peer, const struct server *server, const char *source);

/* Closes with a reset: what the server still sends is refused at once. Streams over tcp. */
void peer_reset(struct peer *peer);

/* A connected socket, or -1 with errno. */
int peer_connect(const struct server *server, enum via via);

/* An xid that this peer did not use yet. */
uint32_t peer_xid(struct peer *peer);

/* Takes a call and sends it: as one record, or one datagram. */
void peer_send(struct peer *peer, struct message call);

/* Sends bytes as they are; false if the server closed the connection meanwhile. */
bool peer_send_bytes(struct peer *peer, const void *data, size_t size);

enum received { RECEIVED_REPLY, RECEIVED_NOTHING, RECEIVED_CLOSED };

/* Waits for the next answer, whichever it is. */
enum received peer_receive(struct peer *peer, unsigned timeout_ms, struct answer *answer);

/* Waits for the answer with this xid; others are kept for later. answer_free() frees it. */
struct answer peer_await(struct peer *peer, uint32_t xid);

/* One call and its results, to be freed with xdr_free(). No `args`, no `decode`: NULL. */
void peer_call(struct peer *peer, uint32_t procedure, xdrproc_t encode, const void *args,
	       xdrproc_t decode, void *results);

/* Sends NULLPROC and waits for its answer: everything before it was read. */
void peer_ping(struct peer *peer);

/* Whether the server closes the connection within `timeout_ms`; answers are thrown away. */
bool peer_is_closed_within(struct peer *peer, unsigned timeout_ms);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_H
#define CONN_H

/*
 * conn.h - one socket to one server, shared by many threads with many calls under way. It knows
 * messages and their xids (the first four bytes, RFC 5531, section 9), and nothing else of RPC.
 *
 * It has no thread: of the threads that wait for a reply one is the reader, which receives and
 * hands each message to the call with its xid; when its own call has ended, another becomes the
 * reader. A message without a call is a late reply, and dropped. Likewise one thread is the sender:
 * with its own message it sends those that are queued behind it.
 */

#include <stdbool.h>
#include <stdint.h>

#include <kv/bytes.h>

#include "transport.h"

enum {
	CONN_RECORD_MAX = 34 * 1024 * 1024, /* bytes in one message that comes over a stream */
	CONN_DATAGRAM_MAX = 65507,	    /* bytes: 65535 less the headers of IPv4 and UDP */
};

struct secure;

/*
 * A message that was received. The caller may lend a buffer (`place`, aligned for XDR): then `data`
 * may be that. Else it is allocated, and freed with free(data).
 */
struct rpc_reply {
	uint8_t *data;
	size_t size;
	uint8_t *place; /* NULL: no buffer is lent */
	size_t room;
};

/*
 * How long a call may take: until `deadline_ms`. If `limit_ms` is later than that, then each time
 * that bytes of the call or of its reply move gives it as long again, up to this limit: what is
 * large and on its way must not begin anew. `interrupted_ms`, unless NULL: as soon as it is not 0
 * and the call is sent, it ends as at the deadline.
 */
struct call_time {
	uint64_t deadline_ms;
	uint64_t limit_ms;
	const atomic_uint_fast64_t *interrupted_ms;
};

/* Messages that are sent as one, and their replies, in any order. */
struct rpc_batch {
	uint32_t first_xid; /* the others follow it; no other call has one of them */
	size_t count;
	struct rpc_reply *replies; /* of each: data NULL as long as there is none */
	size_t replied;
	size_t at; /* the one that is being received */
};

/*
 * Takes ownership of `fd`, which is connected, and of its O_NONBLOCK flag. `name` is the address as
 * text and `program` the RPC program; both are only kept for conn_name() and conn_program(). The
 * caller has one reference. NULL: no memory; `fd` is then closed.
 */
struct conn *conn_new(int fd, bool is_stream, const char *name, uint32_t program);

/*
 * The same through TLS, on a stream whose handshake is done; takes ownership of `secure`, too. An
 * alert of the server before its first reply is a refusal.
 */
struct conn *conn_new_secure(int fd, struct secure *secure, const char *name, uint32_t program);

/*
 * A connection that never was one, because one side refused the other: each call on it is
 * ATTEMPT_REJECTED with the status `refusal`, and last_error_text() says `why`. NULL: no memory.
 */
struct conn *conn_new_refused(enum kv_status refusal, const char *why, const char *name,
			      uint32_t program);

/* The last reference closes the socket. Takes no lock: safe in a child of fork(). */
struct conn *conn_ref(struct conn *conn);
void conn_unref(struct conn *conn);

const char *conn_name(const struct conn *conn);
uint32_t conn_program(const struct conn *conn);
bool conn_is_stream(const struct conn *conn);

/* After ATTEMPT_REJECTED: KV_DENIED, or KV_INVALID if TLS cannot be used as it is set up here. */
enum kv_status conn_refusal(const struct conn *conn);

/* See struct transport in transport.h. */
bool conn_is_usable(const struct conn *conn);
bool conn_received_since(const struct conn *conn, uint64_t since_ms);

/*
 * Sends `sent` (min. 4 bytes; on a datagram socket max. CONN_DATAGRAM_MAX) and waits for the
 * message with the same xid. No other call with this xid may be under way on the connection.
 *
 * ATTEMPT_ANSWERED: *came is the message. ATTEMPT_UNSENT, ATTEMPT_UNANSWERED: see transport.h;
 * last_error_set() was called. ATTEMPT_REJECTED: one side refused the other when they connected, so
 * it does not run; last_error_set() was called. ATTEMPT_NOMEM: it was sent, and there is no memory
 * for the reply.
 */
enum attempt conn_call(struct conn *conn, struct kv_bytes sent, const struct call_time *time,
		       struct rpc_reply *came);

/*
 * The same for a batch, on a stream: `sent` is all its messages, each behind its record mark.
 * ATTEMPT_ANSWERED: all replies came. Whatever is returned, those that came are in batch->replies,
 * to be freed with free(data).
 */
enum attempt conn_call_batch(struct conn *conn, struct kv_bytes sent, uint64_t deadline_ms,
			     struct rpc_batch *batch);

#endif

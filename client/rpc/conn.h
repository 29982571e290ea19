/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LINK_H
#define LINK_H

/*
 * link.h - one socket to one server, shared by many threads with many calls under way. It knows
 * messages and their xids (the first four bytes, RFC 5531, section 9), and nothing else of RPC.
 *
 * No thread of its own: of the threads that wait for an answer one has the role of the reader,
 * takes what arrives and hands each message to the waiter with its xid; when it has its own answer,
 * or gives up, another takes the role. A message for nobody is a late answer, and dropped. Likewise
 * one is the sender: with its own message it sends those of others that queued up behind it.
 */

#include <stdbool.h>
#include <stdint.h>

#include <kv/bytes.h>

#include "transport.h"

enum {
	LINK_RECORD_MAX = 34 * 1024 * 1024, /* bytes in one message that comes over a stream */
	LINK_DATAGRAM_MAX = 65507,	    /* bytes: 65535 less the headers of IPv4 and UDP */
};

/*
 * A message that came. Whoever waits for it may lend a place, aligned for XDR: then `data` may be
 * that. Else it is memory of its own, freed with free(data).
 */
struct message {
	uint8_t *data;
	size_t size;
	uint8_t *place; /* NULL: none is lent */
	size_t room;
};

/*
 * Takes over `fd`, connected; whether it blocks is then the link's own affair. `name` is the
 * address for people, `program` whom calls on the link are for; both are only kept for conn_name()
 * and conn_program(). One count is the caller's. NULL: no memory; `fd` is then closed.
 */
struct link *conn_new(int fd, bool is_stream, const char *name, uint32_t program);

/* Another count, and one less; the last one closes the socket. Takes no lock: safe after fork. */
struct link *conn_ref(struct link *link);
void conn_unref(struct link *link);

const char *conn_name(const struct link *link);
uint32_t conn_program(const struct link *link);
bool conn_is_stream(const struct link *link);

/* See struct transport in attempt.h. */
bool conn_is_usable(const struct link *link);
bool conn_received_since(const struct link *link, uint64_t since_ms);

/*
 * Sends `sent` (at least four bytes; on a datagram link at most LINK_DATAGRAM_MAX) and waits for
 * the message with the same xid until `deadline_ms`. No other call with this xid may be under way
 * on the link.
 *
 * ATTEMPT_ANSWERED: *came is the message. ATTEMPT_UNSENT, ATTEMPT_UNANSWERED: see attempt.h; the
 * reason is set. ATTEMPT_NOMEM: it was sent, and there is no memory for the answer. Nothing else.
 */
enum attempt conn_call(struct link *link, struct kv_bytes sent, uint64_t deadline_ms,
			   struct message *came);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ATTEMPT_H
#define ATTEMPT_H

/*
 * attempt.h - the outside world as the clerk sees it: links to servers, one attempt at a time,
 * time and chance. The real one is connection.c; a test hands in its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/kv.h>

enum {
	STORE_ID_SIZE = 16,
	NONCE_SIZE = 16,

	/*
	 * What a request takes on the wire beside its key and value, at most: the call's header
	 * without credentials (RFC 5531, 9), the arguments of an APPEND, and the padding of key and
	 * value to whole words.
	 */
	REQUEST_OVERHEAD_MAX = 96,
};

enum request_kind {
	REQUEST_PING,
	REQUEST_HELLO,
	REQUEST_OPEN,	  /* epoch, nonce, slots */
	REQUEST_CLOSE,	  /* epoch, client_id */
	REQUEST_GET,	  /* epoch, key */
	REQUEST_PUT,	  /* epoch, client_id, slot, seq, expected, key, value */
	REQUEST_APPEND,	  /* and want_old */
	REQUEST_SNAPSHOT, /* epoch */
	REQUEST_STATS,
};

/* What is sent. Borrows its bytes. */
struct request {
	enum request_kind kind;
	uint32_t xid; /* chosen by the clerk: the same for every copy of one call under one epoch */
	uint64_t epoch;
	uint64_t client_id;
	uint32_t slot;
	uint64_t seq;
	uint64_t expected;
	struct kv_bytes key;
	struct kv_bytes value;
	bool want_old;
	uint8_t nonce[NONCE_SIZE];
	uint32_t slots;
};

/*
 * What came back. Freed with response_free() (attempt.c); all zero is a response that needs no
 * free.
 */
struct response {
	enum kv_status status;
	uint64_t current;      /* version of the key, from GET, PUT, APPEND; SNAPSHOT: position */
	struct kv_value value; /* owned. GET: the value; APPEND: the old one with its version */
	uint8_t store[STORE_ID_SIZE]; /* HELLO ... */
	uint64_t epoch;
	uint32_t key_max;
	uint32_t value_max;
	uint32_t datagram_max;
	uint64_t client_id; /* OPEN ... */
	uint32_t slots;
	uint64_t lease_ms;
	struct kv_stats stats; /* owned. STATS */
};

void response_free(struct response *response);

enum attempt {
	/* The server answered this call: *response is filled. */
	ATTEMPT_ANSWERED,

	/* The call was not handed over whole, so it never runs. */
	ATTEMPT_UNSENT,

	/* It was sent; no answer came before the deadline, or the link broke first. */
	ATTEMPT_UNANSWERED,

	/* The peer does not serve kv here (PROG_UNAVAIL, PROG_MISMATCH): it did not run; look
	   again. */
	ATTEMPT_WRONG_SERVER,

	/*
	 * The peer's RPC layer refused it, response->status says how: this copy did not run. With
	 * KV_TOOBIG it was not even sent: the link cannot carry it.
	 */
	ATTEMPT_REJECTED,

	/* Something came back that is no answer to this call: it may have run. */
	ATTEMPT_BAD_REPLY,

	/*
	 * This process has no memory: with response->status KV_NOMEM to take the answer, so it was
	 * sent and may have run; with KV_OK (0) to send it, so it never runs.
	 */
	ATTEMPT_NOMEM,
};

/* A stream connection, or a datagram socket, to one server. Counted; used by many threads. */
struct link;

struct transport {
	void *context;
	size_t address_count; /* addresses of the server list, tried in turn */

	/*
	 * Connects to address `index` (0 .. address_count-1), asking rpcbind for the port if need
	 * be. One count of the link is the caller's. NULL: not by `deadline_ms`, or refused.
	 * `look_again`: do not use a port remembered from an earlier lookup.
	 */
	struct link *(*connect)(void *context, size_t index, bool look_again, uint64_t deadline_ms);
	struct link *(*hold)(struct link *link);
	/* Gives one count back. Takes no lock that a fork() could have left taken. */
	void (*drop)(struct link *link);

	/* A call over a stream cannot be repeated by the network. */
	bool (*is_stream)(const struct link *link);

	/* False once it is known to be broken: then drop it and connect anew. */
	bool (*is_usable)(const struct link *link);

	/*
	 * Whether anything at all arrived on the link since `since_ms`: if not, an attempt that
	 * timed out says that the peer is gone; if so, that only this answer is slow or lost.
	 */
	bool (*heard_since)(const struct link *link, uint64_t since_ms);

	/* Sends once and waits for the answer, until `deadline_ms`. *response was all zero. */
	enum attempt (*attempt)(struct link *link, const struct request *request,
				uint64_t deadline_ms, struct response *response);

	/* Why the last connect or attempt of this thread failed, for people; "" if it did not. */
	const char *(*reason)(void *context);

	uint64_t (*now_ms)(void *context);
	/* Waits until then. */
	void (*pause)(void *context, uint64_t until_ms);
	/* 64 random bits. */
	uint64_t (*chance)(void *context);
};

#endif

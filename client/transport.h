/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_H
#define TRANSPORT_H

/*
 * transport.h - the network, clock and random bits of a client as a table of functions: connections
 * to servers, and one attempt of a call at a time. rpc/rpc_transport.c is the real one; a test
 * hands in its own.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/kv.h>

enum {
	STORE_ID_SIZE = 16,
	NONCE_SIZE = 16,

	/*
	 * Max. bytes of a request on the wire beside its key and value: the call's header
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
	REQUEST_DELETE,	 /* epoch, client_id, slot, seq, expected, key */
	REQUEST_LIST,	 /* epoch, key (the prefix), after, limit */
	REQUEST_BACKUP,	 /* epoch, position, offset */
	REQUEST_TXN,	 /* epoch, client_id, slot, seq, txn, copy_wait_ms */
	REQUEST_CHANGES, /* epoch, key (the prefix), since, limit, copy_wait_ms */
	REQUEST_WHOAMI,
	REQUEST_WAIT, /* epoch, key, expected (the version that is known), copy_wait_ms */
};

/* Calls that may change the store: they take a slot, and their outcome may be unknown. */
static inline bool request_is_write(enum request_kind kind) {
	return kind == REQUEST_PUT || kind == REQUEST_APPEND || kind == REQUEST_DELETE ||
	       kind == REQUEST_TXN;
}

/* How often an attempt that may be interrupted looks whether it was. */
enum { INTERRUPT_LOOK_MS = 200 };

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
	struct kv_bytes after;
	uint32_t limit;
	uint64_t since;
	const struct kv_txn *txn;
	uint64_t position;
	uint64_t offset;
	uint32_t wait_ms; /* TXN, WAIT, CHANGES: the caller's, for all copies together; 0: none */
	uint32_t copy_wait_ms; /* the clerk's, of this copy */
	/* The clerk's: once not 0, written by any thread, the attempt ends unanswered. NULL: none.
	 */
	const atomic_uint_fast64_t *interrupted_ms;
	/* The clerk's: while bytes of the call or its reply move, the attempt goes on beyond its
	   deadline, at most until then. 0: it does not. */
	uint64_t limit_ms;
	uint8_t nonce[NONCE_SIZE];
	uint32_t slots;
};

/* The last change of a key: to that version, which was its end if is_gone. */
struct changed {
	struct kv_bytes key;
	uint64_t version;
	bool is_gone;
};

/* From the state at one position to that at another. All zero needs no free. */
struct changes {
	struct changed *keys; /* owned, with the bytes of the keys */
	size_t count;
	bool more;
	uint64_t position;
};

/* What a reply holds. Freed with response_free(); all zero needs no free. */
struct response {
	enum kv_status status;
	uint64_t current;	/* version of the key, from GET, PUT, APPEND; SNAPSHOT, and TXN with
				   KV_OK: position; BACKUP: bytes of all */
	uint32_t which;		/* TXN: the condition or change that refused it */
	struct kv_list list;	/* owned. LIST */
	struct changes changes; /* owned. CHANGES */
	uint64_t *versions;	/* owned. TXN: one for each change */
	struct kv_value value;	/* owned. GET: the value; BACKUP: the page; APPEND: the old one with
				   its version */
	uint8_t store[STORE_ID_SIZE]; /* HELLO ... */
	uint64_t epoch;
	uint32_t key_max;
	uint32_t value_max;
	uint32_t datagram_max;
	uint64_t client_id; /* OPEN ... */
	uint32_t slots;
	uint64_t lease_ms;
	struct kv_stats stats;	     /* owned. STATS */
	struct kv_identity identity; /* owned. WHOAMI */
};

void response_free(struct response *response);

enum attempt {
	/* The server replied to this call: *response is filled. */
	ATTEMPT_ANSWERED,

	/* Not all of the call was handed to the kernel, so it never runs. */
	ATTEMPT_UNSENT,

	/* It was sent; the deadline passed, or the connection broke, before a reply came. */
	ATTEMPT_UNANSWERED,

	/* The peer does not serve kv (PROG_UNAVAIL, PROG_MISMATCH): it did not run. */
	ATTEMPT_WRONG_SERVER,

	/*
	 * The peer's RPC layer refused it, response->status is the reason: this copy did not run.
	 * With KV_TOOBIG it was not sent: it does not fit the connection.
	 */
	ATTEMPT_REJECTED,

	/* A message came that is no reply to this call: it may have run. */
	ATTEMPT_BAD_REPLY,

	/*
	 * This process has no memory: with response->status KV_NOMEM for the reply, so it was sent
	 * and may have run; with KV_OK (0) for the call, so it never runs.
	 */
	ATTEMPT_NOMEM,
};

/* A stream connection, or a datagram socket, to one server. Reference counted; used by many
 * threads. */
struct conn;

struct transport {
	void *context;
	size_t address_count; /* addresses of the server list, tried in turn */

	/* Address `index` as text. */
	const char *(*name)(void *context, size_t index);

	/*
	 * Connects to address `index` (0 .. address_count-1), looking up its name and port if need
	 * be. The caller has one reference. NULL: refused, or not by `deadline_ms`. `look_again`:
	 * do not use an endpoint remembered from an earlier lookup. One thread at a time.
	 */
	struct conn *(*connect)(void *context, size_t index, bool look_again, uint64_t deadline_ms);
	struct conn *(*ref)(struct conn *conn);
	/* Takes no lock that a fork() could have left locked. */
	void (*unref)(struct conn *conn);

	/* A call over a stream cannot be repeated by the network. */
	bool (*is_stream)(const struct conn *conn);

	/* False once it is known to be broken: then release it and connect again. */
	bool (*is_usable)(const struct conn *conn);

	/*
	 * Whether anything was received since `since_ms`: if not, an attempt that timed out means
	 * that the peer is gone; if so, that only this reply is slow or lost.
	 */
	bool (*received_since)(const struct conn *conn, uint64_t since_ms);

	/* Sends once and waits for the reply until `deadline_ms`. *response is all zero before. */
	enum attempt (*attempt)(struct conn *conn, const struct request *request,
				uint64_t deadline_ms, struct response *response);

	/*
	 * Sends `count` GETs at once, over a stream, whose xids follow each other, and waits for
	 * the replies until `deadline_ms`. answered[i]: responses[i], all zero before, has KV_OK or
	 * KV_NOKEY; what became of the others is not known. NULL: it cannot.
	 */
	void (*get_batch)(struct conn *conn, const struct request *requests, size_t count,
			  uint64_t deadline_ms, struct response *responses, bool *answered);

	/* The error message of this thread's last connect or attempt; "" if it succeeded. */
	const char *(*last_error)(void *context);

	uint64_t (*now_ms)(void *context);
	void (*sleep_until)(void *context, uint64_t until_ms);
	/* 64 random bits. */
	uint64_t (*random)(void *context);
};

#endif

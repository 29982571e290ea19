/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RAW_CLIENT_H
#define RAW_CLIENT_H

/*
 * raw_client.h - the procedures of kv over a raw connection: one call, one copy, one reply, no
 * retries.
 */

#include "raw_conn.h"

/* What HELLO told. */
kv1_hello_res hello(struct peer *peer);

/* A session of a test: the words that its writes carry. */
struct session {
	uint64_t epoch;
	uint64_t client_id;
	uint32_t slots;
	uint64_t lease_ms;
};

/* HELLO and OPEN with a fresh nonce; must be granted. */
struct session session_open(struct peer *peer);
/* OPEN with this nonce. */
kv1_open_res session_open_as(struct peer *peer, uint64_t epoch, const char nonce[KV1_NONCE_SIZE]);
kv1_status session_close(struct peer *peer, const struct session *session);
void fresh_nonce(char nonce[KV1_NONCE_SIZE]);

/* A Put or an Append, which can be sent as often as a test likes. */
struct change {
	bool is_append;
	bool want_old;
	kv1_writer writer;
	uint64_t expected;
	const char *key; /* strings, unless the sizes say otherwise */
	const char *value;
	size_t key_size; /* 0: strlen(); a test of an empty key says "" */
	size_t value_size;
};

/* Whatever the key's version is, under slot `slot` and number `seq` of the session. */
struct change put(const struct session *session, uint32_t slot, uint64_t seq, const char *key,
		  const char *value);
/* An Append that wants the old value. */
struct change append(const struct session *session, uint32_t slot, uint64_t seq, const char *key,
		     const char *value);
/* A Put of `size` bytes, which must stay until they were sent. */
struct change put_bytes(const struct session *session, uint32_t slot, uint64_t seq, const char *key,
			const char *bytes, size_t size);

/* What was answered: by Put, Append or Get. outcome_free() frees it. */
struct outcome {
	kv1_status status;
	uint64_t current;
	uint64_t old_version; /* Append */
	struct message value; /* Append: the old value; Get: the value */
};

/* The bytes of one copy of the change. */
struct message change_message(uint32_t xid, const struct change *change);

/* Sends one copy. Answers its xid. */
uint32_t change_send(struct peer *peer, const struct change *change);

/* Waits for the answer to one copy. */
struct outcome change_await(struct peer *peer, const struct change *change, uint32_t xid);

/* Sends one copy and waits for its answer. */
struct outcome change_run(struct peer *peer, const struct change *change);

/* The same, for callers that only need the status. */
kv1_status change_status(struct peer *peer, const struct change *change);

struct outcome get(struct peer *peer, const char *key);
void outcome_free(struct outcome *outcome);

/* Fails unless both say the same; frees the second. */
void outcome_check_same(const struct outcome *first, struct outcome second);

/* Fails unless the key holds this string at this version. */
void check_key(struct peer *peer, const char *key, const char *value, uint64_t version);
void check_no_key(struct peer *peer, const char *key);

/* One of the counters of STATUS; fails if there is none of that name. */
uint64_t counter(struct peer *peer, const char *name);

/* Waits until it is `min` or more; or 0. */
void counter_await(struct peer *peer, const char *name, uint64_t min);
void counter_await_zero(struct peer *peer, const char *name);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHANNEL_H
#define CHANNEL_H

/*
 * channel.h - the binding of a handle to its server: one connection that all threads share, what
 * HELLO returned on it, and the search for another connection when it is lost. Safe to use from
 * many threads.
 *
 * A store is identified by its id as long as something was learned from it (channel_remember()).
 * The time for which one store is bound is a *generation*: 1, 2, ... A call belongs to the
 * generation in which it, or its handle, knows the store (known_store.h); to none if neither does.
 */

#include "backoff.h"

/* A connection on which HELLO succeeded, and its reply. Released with channel_unbind(). */
struct binding {
	struct conn *conn;
	bool is_stream;
	uint64_t generation;
	uint64_t epoch; /* not 0 */
	uint32_t key_max;
	uint32_t value_max;
	uint32_t datagram_max;
};

struct channel;

/* NULL: no memory. Borrows `transport`. Connects to nothing yet. */
struct channel *channel_new(const struct transport *transport);

/* `is_child`: as clerk_free(). NULL does nothing. */
void channel_free(struct channel *channel, bool is_child);

/* The current generation. */
uint64_t channel_generation(struct channel *channel);

/*
 * Fills *binding, to be released with channel_unbind(), and connects for as long as `backoff`
 * allows if there is no connection. `generation` is the call's; 0: it belongs to none, so any store
 * will do. Returns KV_OK; KV_TIMEOUT, also if the handle fails fast and every address has failed;
 *   KV_BADSESSION: the call's generation is over, for each address of its store has another one
 *     now; nothing was sent but HELLO;
 *   KV_DENIED and the like: each server refused HELLO.
 */
enum kv_status channel_bind(struct channel *channel, uint64_t generation, struct backoff *backoff,
			    struct binding *binding);
void channel_unbind(struct channel *channel, struct binding *binding);

/* Sends once, as transport->attempt(), and keeps the error message if that failed. */
enum attempt channel_attempt(struct channel *channel, const struct binding *binding,
			     const struct request *request, uint64_t until_ms,
			     struct response *response);

/* An empty call on the binding. Returns whether it was answered. */
bool channel_ping(struct channel *channel, const struct binding *binding, uint64_t until_ms);

/*
 * Notes that something was learned from the store: a session, a version, or a write that may change
 * it. Returns false if `generation` is over: then nothing learned in it holds any more.
 */
bool channel_remember(struct channel *channel, uint64_t generation);

/* The id of the store of that generation. False: it is over. */
bool channel_store(struct channel *channel, uint64_t generation, uint8_t store[STORE_ID_SIZE]);

/*
 * Notes that calls are for this store and no other: from now on a server of another one is passed
 * over. Returns the generation of the store; 0: the channel knows another one.
 */
uint64_t channel_expect_store(struct channel *channel, const uint8_t store[STORE_ID_SIZE]);

/* After a reply KV_EPOCH: the next call sends HELLO again. */
void channel_need_hello(struct channel *channel, const struct binding *binding);

/* The connection broke, or the server is silent: the next call connects again. */
void channel_disconnect(struct channel *channel, const struct binding *binding);

/* The server does not serve kv: the next call tries the next address, and resolves this one again.
 */
void channel_next_server(struct channel *channel, const struct binding *binding);

/* The xid of a new request; the first of those of `count` requests. */
uint32_t channel_xid(struct channel *channel);
uint32_t channel_xids(struct channel *channel, size_t count);

/* As kv_last_error(). */
void channel_last_error(struct channel *channel, char *text, size_t size);

#endif

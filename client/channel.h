/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHANNEL_H
#define CHANNEL_H

/*
 * channel.h - the way to the store: one link that all threads share, what HELLO told on it, and
 * the search for another link when it is gone. Safe to use from many threads.
 *
 * A store is known by its id, as long as there is something to remember of it: channel_remember().
 * The time for which one store is remembered is a *life*: 1, 2, ... A call belongs to the life in
 * which it, or the handle that it is made on, knows the store (memo.h); to none if it knows
 * nothing.
 */

#include "backoff.h"

/* A link on which HELLO was answered, and what was told. Whoever has one drops it. */
struct line {
	struct link *link;
	bool is_stream;
	uint64_t life;
	uint64_t epoch; /* not 0 */
	uint32_t key_max;
	uint32_t value_max;
	uint32_t datagram_max;
};

struct channel;

/* NULL: no memory. Borrows `transport`. Connects to nothing yet. */
struct channel *channel_new(const struct transport *transport);

/* `is_child`: this process was forked off the owner's, so locks are left alone. NULL is fine. */
void channel_free(struct channel *channel, bool is_child);

/* The current life. */
uint64_t channel_generation(struct channel *channel);

/*
 * Answers the line to the store in *line (to be dropped with channel_unbind()), looking for one as
 * long as `backoff` allows. `life` is the call's; 0: it belongs to none, so any store will do.
 *
 * KV_TIMEOUT. KV_BADSESSION: the call's life is over, each address that led to its store led to
 * another one; nothing was sent but HELLO. KV_DENIED and the like: each server refused HELLO.
 */
enum kv_status channel_bind(struct channel *channel, uint64_t life, struct backoff *backoff,
			    struct line *line);
void channel_unbind(struct channel *channel, struct line *line);

/* Sends once on the line, as transport->attempt(), and keeps the reason if that failed. */
enum attempt channel_attempt(struct channel *channel, const struct line *line,
			     const struct request *request, uint64_t until_ms,
			     struct response *response);

/*
 * Says that there is something to remember of the store: a session, a version, or a write that may
 * change it. False if `life` is over: then nothing learned in it holds any more.
 */
bool channel_remember(struct channel *channel, uint64_t life);

/* The server does not know the line's epoch any more: HELLO is due again. */
void channel_need_hello(struct channel *channel, const struct line *line);

/* The line broke, or its peer fell silent: connect anew. */
void channel_disconnect(struct channel *channel, const struct line *line);

/* The peer does not serve kv: connect to the next address, and look this one up again. */
void channel_next_server(struct channel *channel, const struct line *line);

/* A number for a request, another one each time. */
uint32_t channel_xid(struct channel *channel);

/* Why the last attempt that failed did so, with the final NUL; empty if none did. */
void channel_last_error(struct channel *channel, char *text, size_t size);

#endif

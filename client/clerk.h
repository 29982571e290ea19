/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLERK_H
#define CLERK_H

/*
 * clerk.h - the retry policy: carries one call to the server until it is answered, refused, or out
 * of time, and says which of the three answers about a write is true. Safe to use from many
 * threads. The outside world, time and chance included, is handed in.
 */

#include "transport.h"
#include "known_store.h"

struct clerk;

/* NULL: no memory. `options` NULL: the defaults. `transport` is borrowed. Connects to nothing. */
struct clerk *clerk_new(const struct kv_options *options, const struct transport *transport);

/*
 * Frees the clerk, without a word to the server. `is_child`: this process was forked off the one
 * that made it, so locks are left alone. NULL is fine.
 */
void clerk_free(struct clerk *clerk, bool is_child);

/* The life in which a handle that is opened now belongs: known_store_init(). */
uint64_t clerk_generation(struct clerk *clerk);

/*
 * Runs a PING, GET, PUT, APPEND or STATS for at most `timeout_ms` (0: for ever). Of the request,
 * kind, expected, key, value and want_old are the caller's; the clerk fills in the rest.
 *
 * `memo` is that of the handle. If it knows another store than the one that is there now, the call
 * ends with KV_BADSESSION, or KV_MAYBE for a write already sent, and the memo is that of a handle
 * opened now. As long as neither the handle nor the call knows anything, any store will do.
 *
 * Answers the status of kv.h for that call. *response, to be freed with response_free(), is filled
 * on KV_OK, has `current` on KV_VERSION, and is empty on any other.
 */
enum kv_status clerk_call(struct clerk *clerk, struct memo *memo, unsigned timeout_ms,
			  struct request *request, struct response *response);

/* Tries once to end the session, if there is one, for at most attempt_ms. */
void clerk_end_session(struct clerk *clerk);

/* As kv_reason(). */
void clerk_last_error(struct clerk *clerk, char *text, size_t size);

#endif

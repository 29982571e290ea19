/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLERK_H
#define CLERK_H

/*
 * clerk.h - the retry policy: repeats one call until the server replies, a refusal is final or its
 * time is up, and decides the outcome of a write. Safe to use from many threads. Network, time and
 * random bits are handed in (transport.h).
 */

#include "known_store.h"
#include "transport.h"

struct clerk;
struct ticket;

/*
 * NULL: no memory. `options` NULL: the defaults. `transport` and `ticket` (NULL: none) are
 * borrowed. Connects to nothing.
 */
struct clerk *clerk_new(const struct kv_options *options, const struct transport *transport,
			struct ticket *ticket);

/*
 * Frees the clerk and sends nothing. `is_child`: this process was forked off the one that made it,
 * so locks are not destroyed. NULL does nothing.
 */
void clerk_free(struct clerk *clerk, bool is_child);

/* The generation of a handle that is opened now: known_store_init(). */
uint64_t clerk_generation(struct clerk *clerk);

/*
 * Runs a PING, GET, PUT, APPEND or STATS for at most `timeout_ms` (0: for ever). Of the request,
 * what its kind needs and wait_ms are the caller's, and interrupted_ms, which interrupts the
 * waiting; the clerk fills in the rest.
 *
 * `known_store` is that of the handle. If it knows another store than the one that is served now,
 * the call ends with KV_BADSESSION, or KV_MAYBE for a write already sent, and the known_store
 * becomes that of a handle opened now. As long as neither the handle nor the call knows a store,
 * any store will do.
 *
 * With a ticket a write is noted there before it is first sent, and one that another process may
 * have sent is sent again (ticket.h).
 *
 * Returns the status of kv.h for that call. *response, to be freed with response_free(), is filled
 * on KV_OK, has `current` on KV_VERSION, and is empty on any other.
 */
enum kv_status clerk_call(struct clerk *clerk, struct known_store *known_store, unsigned timeout_ms,
			  struct request *request, struct response *response);

enum { CLERK_GETS_MAX = 64 }; /* that are sent at once */

/*
 * Makes one attempt at `count` GETs (max. CLERK_GETS_MAX) at once, of which the caller has set kind
 * and key. answered[i]: responses[i], to be freed with response_free(), is the reply, KV_OK or
 * KV_NOKEY. The others are to be made by themselves (clerk_call()), which says what is wrong.
 */
void clerk_get_batch(struct clerk *clerk, struct known_store *known_store, unsigned timeout_ms,
		     struct request *requests, size_t count, struct response *responses,
		     bool *answered);

/*
 * Makes sure that no write which came back KV_MAYBE runs any more: as kv_settle(), for at most
 * timeout_ms (0: for ever).
 */
enum kv_status clerk_settle(struct clerk *clerk, unsigned timeout_ms);

/*
 * Tries once to end the session, if there is one, for at most attempt_ms. Not that of a write whose
 * outcome another process may ask for by the ticket.
 */
void clerk_end_session(struct clerk *clerk);

/* As kv_last_error(). */
void clerk_last_error(struct clerk *clerk, char *text, size_t size);

#endif

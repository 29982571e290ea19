/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALL_H
#define CALL_H

/*
 * call.h - one call of a clerk, from its first attempt to its outcome. Used by the thread that
 * makes the call; the clerk behind it by many.
 */

#include "backoff.h"
#include "session.h"
#include "transport.h"

struct clerk {
	const struct transport *transport;
	struct retry_options retry;
	bool is_stateless;
	struct channel *channel;
	struct session *session;
	struct ticket *ticket; /* NULL: none. Borrowed */
	struct slot resumed;   /* the slot of the ticket's write, if another process took it */
};

struct call {
	struct clerk *clerk;
	struct backoff *backoff;
	struct request *request;
	struct response *response;
	uint64_t generation;   /* in which the store is known; 0: nothing is known of it */
	bool knows_store;      /* the call itself knows the store */
	bool is_store_gone;    /* the generation is over, and the call ends of it */
	struct slot slot;      /* of a write with a session */
	uint64_t noted_id;     /* the client id with which the ticket has the write; 0: not yet */
	unsigned may_have_run; /* attempts of which a copy may have run */
	unsigned restarts;     /* after KV_EPOCH and KV_BADSESSION */
	unsigned silent_attempts; /* attempts in a row during which nothing was heard */
	uint64_t wait_until_ms;	  /* until then copies of it may wait */
	bool is_answered;
	bool is_settling;	/* it is there for its slot only: no other one will do */
	enum kv_status outcome; /* once the call has ended */
};

static inline bool call_is_write(const struct call *call) {
	return request_is_write(call->request->kind);
}

/* Sends the call until call->outcome, and the response, are what came of it. */
void call_run(struct call *call);

#endif

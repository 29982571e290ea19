/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALLER_H
#define CALLER_H

/*
 * caller.h - what the generated stubs run on: a CLIENT that makes one call over a link.
 *
 *	struct caller caller;
 *	caller_init(&caller, link, KV_PROGRAM, KV_V1, xid, deadline_ms);
 *	(void)kvproc_get_1(&args, &res, &caller.client);
 *	... caller.outcome ...
 *
 * The timeout that a stub passes is not looked at: the deadline counts, for sending too.
 */

#include <stdint.h>

#include <rpc/rpc.h>

#include "transport.h"
#include "rpc/conn.h"

struct caller {
	CLIENT client; /* for the stub; points to this struct, which must not move */
	struct link *link;
	uint32_t program;
	uint32_t version;
	uint32_t xid;
	uint64_t deadline_ms;
	struct rpc_err error;

	/*
	 * What became of the call. ATTEMPT_ANSWERED: the results are decoded, to be freed with
	 * xdr_free(); else there is nothing to free, and last_error_text() says why.
	 */
	enum attempt outcome;

	/*
	 * With ATTEMPT_REJECTED: KV_DENIED, KV_UNAVAILABLE, KV_PROTOCOL, or KV_TOOBIG if the call
	 * does not fit the link or the wire types and was not sent. With ATTEMPT_BAD_REPLY:
	 * KV_PROTOCOL. With ATTEMPT_NOMEM: KV_NOMEM if it was sent. Else KV_OK.
	 */
	enum kv_status status;
};

/* Prepares one call; the link is borrowed. Nothing to free. Before the call the outcome is UNSENT.
 */
void caller_init(struct caller *caller, struct link *link, uint32_t program, uint32_t version,
		 uint32_t xid, uint64_t deadline_ms);

/* An answer that decodes but makes no sense: the outcome becomes ATTEMPT_BAD_REPLY. */
void caller_garbled(struct caller *caller, const char *what);

/* Encodes and decodes nothing: xdr_void() of libtirpc is not declared as an xdrproc_t. */
bool_t caller_no_data(XDR *xdrs, ...);

#endif

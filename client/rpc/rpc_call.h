/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPC_CALL_H
#define RPC_CALL_H

/*
 * rpc_call.h - a CLIENT for the generated stubs, for one call on a connection.
 *
 *	struct rpc_call call;
 *	rpc_call_init(&call, conn, KV_PROGRAM, KV_V1, xid, deadline_ms);
 *	(void)kvproc_get_1(&args, &res, &call.client);
 *	... call.outcome ...
 *
 * The timeout that a stub passes is ignored: the deadline counts, for sending too.
 */

#include <stdint.h>

#include <rpc/rpc.h>

#include "rpc/conn.h"
#include "transport.h"

struct rpc_call {
	CLIENT client; /* for the stub; points to this struct, which must not move */
	struct conn *conn;
	uint32_t program;
	uint32_t version;
	uint32_t xid;
	struct call_time time; /* only the deadline is set at first */
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
void rpc_call_init(struct rpc_call *call, struct conn *conn, uint32_t program, uint32_t version,
		   uint32_t xid, uint64_t deadline_ms);

/* Encodes the call for somewhere else. Returns its size; 0: it does not fit `size` bytes. */
size_t rpc_call_encode(const struct rpc_call *call, rpcproc_t procedure, xdrproc_t encode,
		       void *arguments, char *data, size_t size);

/* Decodes the reply to such a call: sets the outcome, as the stub would. */
void rpc_call_decode(struct rpc_call *call, const struct rpc_reply *came, xdrproc_t decode,
		     void *results);

/* An answer that decodes but makes no sense: the outcome becomes ATTEMPT_BAD_REPLY. */
void rpc_call_bad_reply(struct rpc_call *call, const char *what);

/* Encodes and decodes nothing: xdr_void() of libtirpc is not declared as an xdrproc_t. */
bool_t rpc_call_no_data(XDR *xdrs, ...);

#endif

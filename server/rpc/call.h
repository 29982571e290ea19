/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALL_H
#define CALL_H

/*
 * call.h - one request, from decode to answer.
 *
 * Each call embeds an SVCXPRT of its own, so that libtirpc's svc_getargs, svc_sendreply and
 * svcerr_* work on it at any later time and in any order, with many calls under way on one
 * connection. Its xp_ops belong to the transport that made the call; its xid is not the
 * connection's.
 */

#include <netinet/in.h>

#include <rpc/rpc.h>
#include <rpc/svc_mt.h>

#include "core/operation.h"

struct datagrams;
struct procedure;
struct stream;

/*
 * Invariant: exactly one answer leaves for each call, through its xp_reply, which then frees the
 * call. `arguments` lie in the record and are there only while the call is dispatched.
 */
struct call {
	/* Kept when the call is used again; each transport sets what it reads of them. */
	SVCXPRT xprt;
	SVCXPRT_EXT extension; /* libtirpc looks here for the authentication of xprt */
	XDR arguments;	       /* over the record, at the arguments */

#define CALL_ANEW xid /* the first of those that are all zero in a call that begins */
	uint32_t xid;
	uint32_t reply_max; /* bytes of value that an answer can carry here */
	struct reply reply;
	const struct procedure *procedure;
	struct block *block; /* that the record lies in, while it is there; NULL: not to be had */
	struct call *next;   /* of those that wait for the journal, or to be used again */

	struct stream *stream;	     /* over a stream, or ... */
	struct datagrams *datagrams; /* ... over udp, with: */
	struct sockaddr_in6 peer;    /* (or sockaddr_in) where the answer goes, and ... */
	struct in6_addr local;	     /* (or in_addr) ... the address that it must come from */
	socklen_t peer_size;
};

/* What the xp_ops of all transports share: arguments are decoded in place, see wire.h. */
bool_t call_getargs(SVCXPRT *xprt, xdrproc_t decode, void *arguments);
bool_t call_freeargs(SVCXPRT *xprt, xdrproc_t decode, void *arguments);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALL_H
#define CALL_H

/*
 * call.h - one call, from decode to reply.
 *
 * Because each call embeds an SVCXPRT of its own, libtirpc's svc_sendreply and svcerr_* work on it
 * at any later time and in any order, with many calls under way on one connection. Its xp_ops
 * belong to the transport that made the call.
 */

#include <netinet/in.h>

#include <rpc/rpc.h>
#include <rpc/svc_mt.h>

#include "acl/principal.h"
#include "core/operation.h"

struct call;
struct datagrams;
struct parked;
struct procedure;
struct stream;

/* What a probe for TLS (RFC 9289, 4.1) means on the call's transport. */
enum call_tls {
	CALL_TLS_ABSENT,  /* the same as any other call: there is no TLS */
	CALL_TLS_REFUSED, /* it is refused, because it comes too late, or inside TLS */
	CALL_TLS_OFFERED,
	CALL_TLS_STARTS, /* it was one: TLS begins behind its reply */
};

/*
 * How a transport keeps calls that wait for a change of a key (parking.h). They do not count among
 * those that owe a reply.
 */
struct park_ops {
	void (*park)(struct call *call);
	/* `owes`: the call gets its reply now; else it is dropped without one. */
	void (*unpark)(struct call *call, bool owes);
	/* False if the peer is known to have closed its connection, or its half of it. */
	bool (*is_connected)(const struct call *call);
};

/*
 * Invariant: exactly one reply leaves for each call, through its xp_reply, which then frees the
 * call; but for those that wait, whose connection may end. `arguments` lie in the record and are
 * there only while the call is dispatched.
 */
struct call {
	/* Kept when the call is used again; each transport sets what it reads of them. */
	SVCXPRT xprt;
	SVCXPRT_EXT extension; /* libtirpc looks here for the authentication of xprt */
	XDR arguments;	       /* over the record, at the arguments */

	size_t waiting_cost; /* bytes, while it waits for the journal */
	struct call *next;   /* of those that wait for the journal, are copies, or are free */

	/* From here on all is zero when a call begins. */
	uint32_t xid;
	uint32_t reply_max;	     /* bytes of value that a reply can carry here */
	bool is_head_only;	     /* the end of the record found no memory */
	bool is_too_weak;	     /* it came in the clear, and may not but for NULL */
	uint8_t tls;		     /* enum call_tls */
	const struct caller *caller; /* the transport's; NULL: "any" */
	struct reply reply;
	const struct procedure *procedure;
	uint64_t began_ns;	   /* see call_times.h */
	struct owned_block *block; /* that the record lies in, while it is there; NULL: borrowed */

	const struct park_ops *park_ops; /* NULL: it may not wait */
	struct parked *parked;		 /* NULL: it does not wait */

	struct stream *stream;	     /* over a stream, or ... */
	struct datagrams *datagrams; /* ... over udp, with: */
	union {
		struct { /* of a stream's calls that wait */
			struct call *next_parked;
			struct call *previous_parked;
		};
		struct {
			struct sockaddr_in6 peer; /* (or sockaddr_in) where the reply goes, and */
			struct in6_addr local;	  /* (or in_addr) where it must come from */
			socklen_t peer_size;
		};
	};
};

#endif

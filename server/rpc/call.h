/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALL_H
#define CALL_H

/*
 * call.h - one call, from decode to reply.
 *
 * libtirpc's svc_sendreply and svcerr_* work on an SVCXPRT. The calls of a dispatch share one
 * (dispatch.c), which is set up for a call when it gets its reply: so replies leave at any later
 * time and in any order, with many calls under way on one connection, and a call that waits is
 * small.
 */

#include <netinet/in.h>

#include <rpc/rpc.h>

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
 * call; but for those that wait, whose connection may end. All is zero when a call begins.
 */
struct call {
	struct call *next; /* of those that wait for the journal, are copies, or are free */
	const struct xp_ops *xp_ops; /* of the transport that made the call; xp_p1 is the call */
	uint32_t xid;
	uint32_t reply_max;	     /* bytes of value that a reply can carry here */
	uint32_t waiting_cost;	     /* bytes, while it waits for the journal */
	bool is_head_only;	     /* the end of the record found no memory */
	bool is_too_weak;	     /* it came in the clear, and may not but for NULL */
	uint8_t tls;		     /* enum call_tls */
	bool is_datagram;	     /* over udp, else over a stream */
	const struct caller *caller; /* the transport's; NULL: "any" */
	struct reply reply;
	const struct procedure *procedure;
	uint64_t began_ns; /* see call_times.h */

	union {
		struct {
			struct stream *stream;
			const struct park_ops *park_ops; /* NULL: it may not wait */
			struct parked *parked;		 /* NULL: it does not wait */
			struct call *next_parked;	 /* of the stream */
			struct call *previous_parked;
		};
		struct {
			struct datagrams *datagrams;
			struct sockaddr_in6 peer; /* (or sockaddr_in) where the reply goes, and */
			struct in6_addr local;	  /* (or in_addr) where it must come from */
			socklen_t peer_size;
		};
	};
};

static inline bool call_may_wait(const struct call *call) {
	return !call->is_datagram && call->park_ops != NULL;
}

static inline bool call_is_parked(const struct call *call) {
	return !call->is_datagram && call->parked != NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROCEDURES_H
#define PROCEDURES_H

/*
 * procedures.h - the procedures of the program: arguments from the wire to operations, replies to
 * results on the wire.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rpc/rpc.h>
#include <rpc/svc_mt.h>
#include <rpcsvc/kv.h>

#include "rpc/access.h"
#include "rpc/call_times.h"
#include "rpc/change_ring.h"
#include "rpc/dispatch.h"
#include "rpc/parking.h"
#include "rpc/wire_lists.h"

struct call;

/* What procedures run with; owned by dispatch. */
struct procedure_context {
	struct service *service;
	struct parking *parking;
	struct access access;
	struct dispatch_hooks hooks;
	struct change_ring *changes;
	uint64_t now_ms;
	size_t waiting_count; /* calls that wait for the journal ... */
	size_t waiting_bytes; /* ... and what they and their replies alone hold */
	size_t waiting_bytes_max;
	struct call_times times;
	struct stats stats; /* of the last STATUS */
	kv1_counter counters[STATS_MAX];
	char principal[PRINCIPAL_TEXT_MAX];
	struct wire_lists lists;   /* of the call that is decoded or answered */
	XDR arguments;		   /* of the call that is decoded: over its record ... */
	struct owned_block *block; /* ... which lies in this; NULL: it is borrowed */
	SVCXPRT xprt;		   /* of the call that is answered, see procedure_xprt() */
	SVCXPRT_EXT extension;	   /* libtirpc looks here for the authentication of xprt */
};

/* What libtirpc sends the reply of this call through; valid until the next call of it. */
SVCXPRT *procedure_xprt(struct procedure_context *context, struct call *call);

/* NULL: there is none of this number. */
const struct procedure *procedure_find(uint32_t number);
const char *procedure_name(const struct procedure *procedure);

/*
 * Decodes context->arguments of a call, whose procedure is set, and runs it: fills in call->reply.
 * False: it was refused with an error of RPC and is gone, or it is parked.
 */
bool procedure_run(struct procedure_context *context, struct call *call);

/* Adds all statistics there are, those of dispatch_hooks.add_stats() too. */
void procedure_add_stats(struct procedure_context *context, struct stats *stats);

/* Encodes and sends the reply. The call is gone then. */
void procedure_reply(struct procedure_context *context, struct call *call);

#endif

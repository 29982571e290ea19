/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISPATCH_H
#define DISPATCH_H

/*
 * dispatch.h - from a record to an answer: the RPC header, the table of procedures, wire structs to
 * operations and replies to wire structs.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/stats.h"
#include "core/service.h"

struct call;
struct dispatch;

/* Fills in the counters of the rooms that dispatch does not know. */
typedef void count_others(void *context, struct counters *counters);

enum snapshot_answer {
	SNAPSHOT_BEGINS,     /* at the end of this turn */
	SNAPSHOT_NEXT,	     /* one is under way; another one begins when it ends */
	SNAPSHOT_NO_JOURNAL, /* everything is in memory only */
};

/* The rest of the server. It is copied. */
struct dispatch_others {
	count_others *count;
	/*
	 * Asks for a snapshot of what was recorded until the end of this turn, and more. *position
	 * is that of the last operation recorded so far. NULL: SNAPSHOT_NO_JOURNAL.
	 */
	enum snapshot_answer (*want_snapshot)(void *context, uint64_t *position);
	void *context;
};

/*
 * Answers calls to `program`, version 1. NULL: no memory. Calls that wait for the journal when it
 * is freed are never answered; NULL is fine.
 */
struct dispatch *dispatch_new(struct service *service, uint32_t program,
			      const struct dispatch_others *others);
void dispatch_free(struct dispatch *dispatch);

/* Each turn has one time. */
void dispatch_set_time(struct dispatch *dispatch, uint64_t now_ms);

/* A call that ran since dispatch_set_time() did not wait for the journal, but was answered. */
bool dispatch_replied_immediately(const struct dispatch *dispatch);

/*
 * The journal is durable up to `position`: answers that show no more than that leave now, and from
 * now on at once. Without a journal every answer does.
 */
void dispatch_release_durable(struct dispatch *dispatch, uint64_t position);

/*
 * A call for the transport to fill in (stream or datagrams, xprt.xp_ops, reply_max, block); what of
 * xprt it needs beyond xp_ops may be left from another call. NULL: no memory. The transport frees
 * it when it was answered.
 */
struct call *dispatch_call(struct dispatch *dispatch);
void dispatch_call_free(struct dispatch *dispatch, struct call *call);

/*
 * Decodes and runs one record, which must be aligned to 4 bytes and needs to live only until this
 * returns. True: the call has been, or will be, answered through its xprt. False: it is no RPC
 * call; nothing will be answered and the call is the caller's again.
 */
bool dispatch_record(struct dispatch *dispatch, struct call *call, struct kv_bytes record);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISPATCH_H
#define DISPATCH_H

/*
 * dispatch.h - the RPC layer of the server: checks the header of a record, runs the call, and
 * releases its reply when the journal is durable as far as the reply shows.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/service.h"
#include "core/stats.h"

struct acl;
struct call;
struct call_times;
struct dispatch;

enum snapshot_answer {
	SNAPSHOT_BEGINS,     /* at the end of this turn */
	SNAPSHOT_NEXT,	     /* later: one is under way, or ended not long ago */
	SNAPSHOT_NO_JOURNAL, /* everything is in memory only */
};

/* A part of a snapshot's file. */
struct backup_page {
	uint64_t position; /* of the snapshot */
	uint64_t offset;   /* bytes */
	void *data;	   /* room for ... */
	size_t size;	   /* ... so many bytes; then how many were read, 0 also if not yet */
	uint64_t total;	   /* bytes of the file */
};

/* The rest of the server, copied. */
struct dispatch_hooks {
	/* Adds the statistics of all other modules. NULL: there are none. */
	void (*add_stats)(void *context, struct stats *stats);
	/*
	 * Requests a snapshot of what was recorded until the end of this turn, and more. *position
	 * is that of the last operation recorded so far. `is_root`: the request is the superuser's.
	 * NULL: SNAPSHOT_NO_JOURNAL.
	 */
	enum snapshot_answer (*want_snapshot)(void *context, bool is_root, uint64_t *position);
	/* Whether the journal is behind: no calls that wait are run meanwhile. NULL: never. */
	bool (*is_behind)(void *context);
	/*
	 * Reads a page. KV_OK; KV_COMPACTED: that snapshot is gone; KV_FULL: too many others are
	 * read; KV_UNAVAILABLE: it cannot be read (logged), or there are no snapshots (also: NULL).
	 */
	enum kv_status (*read_backup)(void *context, struct backup_page *page);
	void *context;
	unsigned waiting_max;	/* calls that wait for changes of keys; 0: PARKING_MAX */
	uint32_t sessions_each; /* that one peer may have, unless the rules say it; 0: no limit */
	uint32_t changes_max;	/* see change_ring_new() */
};

enum {
	/* Calls that wait for the journal may take this part of the store's memory ... */
	WAITING_SHARE = 16,
	/* ... and not less, nor more, than as many bytes. */
	WAITING_MEMORY_MIN = 1024 * 1024,
	WAITING_MEMORY_MAX = 64 * 1024 * 1024,
};

/*
 * Serves calls to `program`, version 1. NULL: no memory. Calls that wait for the journal when it
 * is freed get no reply; NULL is fine.
 */
struct dispatch *dispatch_new(struct service *service, uint32_t program,
			      const struct dispatch_hooks *others);
void dispatch_free(struct dispatch *dispatch);

/*
 * From now on calls are allowed what the rules give their callers, and so are those that wait.
 * Borrowed until the next call of it; NULL, as at the beginning: every caller may everything.
 */
void dispatch_set_acl(struct dispatch *dispatch, const struct acl *acl);
const struct acl *dispatch_acl(const struct dispatch *dispatch);

/*
 * True if so many calls wait for the journal that no more should be read: those read already may
 * still be dispatched.
 */
bool dispatch_is_backlogged(const struct dispatch *dispatch);

/* Each turn has one time. */
void dispatch_set_time(struct dispatch *dispatch, uint64_t now_ms);

/*
 * The times of its calls, which are counted if now_ns is set at the beginning of each turn and
 * call_times_end_turn() is called when they are due.
 */
struct call_times *dispatch_times(struct dispatch *dispatch);

/* Adds all statistics, those of dispatch_hooks too. */
void dispatch_add_stats(struct dispatch *dispatch, struct stats *stats);

/*
 * Runs calls that wait for changes of keys (parking.h): those for which the service's clock made a
 * change, and with dispatch_end_turn() also those whose time is up. dispatch_waiting_due() returns
 * in how many ms dispatch_end_turn() has something to do; UINT64_MAX: not before something comes.
 */
bool dispatch_run_waiting(struct dispatch *dispatch);
void dispatch_end_turn(struct dispatch *dispatch);
uint64_t dispatch_waiting_due(const struct dispatch *dispatch);

/* The connection of a call that waits has ended, which its transport noticed. The call is freed. */
void dispatch_disconnect(struct dispatch *dispatch, struct call *call);

/* True if the reply of a call that ran since dispatch_set_time() did not wait for the journal. */
bool dispatch_replied_immediately(const struct dispatch *dispatch);

/*
 * The journal is durable up to `position`: replies that show no more than that are sent now, and
 * from now on at once. Without a journal every reply is.
 */
void dispatch_release_durable(struct dispatch *dispatch, uint64_t position);

/*
 * A call for the transport to fill in (stream or datagrams, xp_ops, reply_max, tls). NULL:
 * no memory. The transport frees it when its reply was sent.
 */
struct call *dispatch_call(struct dispatch *dispatch);
void dispatch_call_free(struct dispatch *dispatch, struct call *call);

/* Logs a call that gets its reply now: of which `peer` over which transport, and the outcome. */
void dispatch_log_call(const struct call *call, const char *transport, const char *peer);

/*
 * Decodes and runs one record (if call->is_head_only, its first bytes: then a write is refused
 * KV_FULL and other calls with RPC's SYSTEM_ERR), which must be aligned to 4 bytes and needs to
 * live only until this returns. It lies in `block`, if that is not NULL, and a value may take that
 * over. True: the reply has been, or will be, sent through its xp_ops; if
 * the call has park_ops, which the transport sets before, it may wait for that for long. False: it
 * is no RPC call; there is no reply and the caller owns the call again.
 */
bool dispatch_record(struct dispatch *dispatch, struct call *call, struct kv_bytes record,
		     struct owned_block *block);

#endif

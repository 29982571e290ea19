/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TURN_H
#define TURN_H

/*
 * turn.h - a turn but for its sockets: the time, the calls, the journal, snapshots, leases. kvd
 * calls it around its sockets (svc_run.c), a simulation around its network:
 *
 *	turn_begin -> calls come in (dispatch_record) -> turn_end -> answers leave -> turn_expire_sessions
 *
 * Answers are given to the calls' own xprt: while a call runs, in turn_end() when they waited for
 * the journal, and in turn_stop().
 */

#include <stdbool.h>
#include <stdint.h>

#include "rpc/dispatch.h"
#include "storage/huge_pages.h"
#include "storage/journal.h"
#include "core/service.h"
#include "storage/snapshotter.h"

struct turn;

/* All is borrowed. */
struct turn_options {
	struct service *service;
	uint32_t program;
	struct journal *journal;	 /* NULL: everything is in memory only */
	struct snapshotter *snapshotter; /* NULL: no snapshots, or somebody else's */
	struct heap *heap;		 /* to be ready before a snapshot; NULL: it always is */
	uint64_t replayed; /* bytes of the journal that a snapshot saves the next start */
	/* Adds the counters of the transports; NULL: there are none. */
	count_others *transports;
	void *context;
};

/* NULL: no memory. Calls that wait for the journal when it is freed are never answered. */
struct turn *turn_new(const struct turn_options *options);
void turn_free(struct turn *turn);

/* What runs the calls. */
struct dispatch *turn_dispatch(struct turn *turn);

/* Each turn has one time, which never goes back. */
void turn_begin(struct turn *turn, uint64_t now_ms);

/*
 * All that was ready has been run: what is durable is answered, what was recorded goes to the
 * journal, and a snapshot is begun or ended when it is time. `waits`: until a small batch is on the
 * disk, if nothing else is going there, for there is nobody else to answer (solitude.h). False: the
 * disk failed and nobody knows what it holds, so the process must stop (logged).
 */
bool turn_end(struct turn *turn, bool waits);

/* Something that was recorded was not yet durable when turn_end() looked. */
bool turn_has_pending(const struct turn *turn);

/* No more calls should be taken in until a later turn_end(): the disk cannot keep up. */
bool turn_is_backlogged(const struct turn *turn);

/* Ends leases. Answers in how many milliseconds to come back; UINT64_MAX: never. */
uint64_t turn_expire_sessions(struct turn *turn);

/*
 * Somebody wants a snapshot, now: it begins at the end of this turn (or soon after it, when the
 * heap is ready), or when the one under way ends. Many who ask meanwhile get the same one.
 */
enum snapshot_answer turn_request_snapshot(struct turn *turn);

/* The last turn: makes all durable, and answers it. False: the disk failed (logged). */
bool turn_stop(struct turn *turn);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TURN_H
#define TURN_H

/*
 * turn.h - one iteration of the event loop, without its sockets: the time, the calls, the journal,
 * snapshots, leases. kvd calls it around its sockets (svc_run.c), a simulation around its network:
 *
 *	turn_begin -> calls are received (dispatch_record) -> turn_end -> replies are sent ->
 *	turn_expire_sessions
 *
 * Replies go to the xp_ops of each call: while the call runs, in turn_end() if it waited for the
 * journal, and in turn_stop().
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/service.h"
#include "rpc/dispatch.h"
#include "storage/huge_pages.h"
#include "storage/journal.h"
#include "storage/snapshotter.h"

struct turn;

enum {
	/*
	 * After a snapshot that took a time, those that others than the superuser request wait for
	 * so many times as long, and at least this: else one client could keep the disk busy.
	 */
	SNAPSHOT_REST_FACTOR = 10,
	SNAPSHOT_REST_MIN_MS = 10,
};

/* All is borrowed. */
struct turn_options {
	struct service *service;
	uint32_t program;
	struct journal *journal;	 /* NULL: everything is in memory only */
	struct snapshotter *snapshotter; /* NULL: no snapshots */
	struct vfs *vfs;		 /* where the snapshots are; NULL: none are read */
	struct huge_pages *huge_pages;	 /* to be ready before a snapshot; NULL: it always is */
	uint64_t replayed;	/* bytes of the journal that a snapshot saves the next start */
	uint32_t changes_max;	/* that CHANGES remembers; 0: the default (change_ring.h) */
	unsigned waiting_max;	/* calls that wait for changes of keys; 0: PARKING_MAX */
	uint32_t sessions_each; /* that one peer may have, unless the rules say it; 0: no limit */
	/* Adds all statistics but the service's, those of turn_add_stats() included. NULL: only
	   those. */
	void (*add_stats)(void *context, struct stats *stats);
	void *context;
};

/* Begins all leases. NULL: no memory. Calls that wait for the journal when it is freed are never
 * answered. */
struct turn *turn_new(const struct turn_options *options);
void turn_free(struct turn *turn);

/* What runs the calls. */
struct dispatch *turn_dispatch(struct turn *turn);

/* Each turn has one time, which never goes back. */
void turn_begin(struct turn *turn, uint64_t now_ms);

/*
 * Ends a turn: replies that are durable are sent, what was recorded goes to the
 * journal, and a snapshot is begun or ended when it is time. `waits`: until a small batch is on the
 * disk, if nothing else is being written (commit_policy.h).
 * False: the disk failed and what it holds is not known: the process must stop (logged).
 */
bool turn_end(struct turn *turn, bool waits);

/* True if recorded operations were not durable yet at turn_end(). */
bool turn_has_pending(const struct turn *turn);

/* True: no more calls may be received until a later turn_end(): the disk cannot keep up. */
bool turn_is_backlogged(const struct turn *turn);

/*
 * Ends sessions whose leases are over, unless `may_expire` is false (turn_clock.h). Returns in how
 * many milliseconds a turn is due, for that or for calls that wait; UINT64_MAX: not before
 * something happens.
 */
uint64_t turn_expire_sessions(struct turn *turn, bool may_expire);

/*
 * Requests a snapshot now, as the superuser may: it begins at the end of this turn (or soon after,
 * when the heap is ready), or when the one under way ends. Requests meanwhile share the same one.
 */
enum snapshot_answer turn_request_snapshot(struct turn *turn);

/* Closes snapshots that clients do not read any more. As turn_expire_sessions(). */
uint64_t turn_expire_backups(struct turn *turn);

/* Gives memory back to the system, a slice in each turn. As turn_expire_sessions(). */
uint64_t turn_give_back(struct turn *turn);

/* Adds what is known of the journal and the snapshots. */
void turn_add_stats(const struct turn *turn, struct stats *stats);

/* The last turn: makes all durable, and sends the replies. False: the disk failed (logged). */
bool turn_stop(struct turn *turn);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PARKING_H
#define PARKING_H

/*
 * parking.h - calls that wait for a change of a key: a WAIT for another version, a TXN for its
 * first condition, a CHANGES for any key under its prefix. The rules are those of docs/PROTOCOL.md,
 * "Calls that wait".
 *
 * A parked call has not happened: it has not taken its slot, it is not recorded, and the core
 * does not know it. Whatever ends its waiting, it is looked at as if it had just come. A write
 * costs nothing while nothing is parked, then one look-up for each of its keys, and one comparison
 * for each distinct condition that is waited for on such a key.
 *
 * The parking owns the calls that it keeps.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/service.h"
#include "core/stats.h"
#include "rpc/change_ring.h"

struct access;
struct call;
struct parking;

enum {
	PARKING_MAX = 65536,	       /* calls that wait, unless parking_set_max() */
	PARKING_TIME_MAX_MS = 60000,   /* that one copy of a call may wait; more counts as this */
	PARKING_ARGUMENTS_MAX = 65536, /* bytes of keys and values of a TXN that waits */
	PARKING_CONDITIONS_MAX = 256,  /* distinct conditions that are waited for on one key */
	PARKING_PREFIXES_MAX = 256,    /* distinct prefixes that CHANGES wait for */
	PARKING_COPIES_MAX = 4,	       /* of one call, each of another connection */
	PARKING_RUNS_PER_TURN =
	    256, /* of TXNs; as many WAITs and CHANGES, and as many whose time is up
		  */
};

/* What becomes of calls that no longer wait. */
struct parking_hooks {
	/* Sends call->reply, and frees the call. */
	void (*answer)(void *context, struct call *call);
	/* Frees the call. */
	void (*drop)(void *context, struct call *call);
	/* Whether the journal is behind: then nothing is woken. */
	bool (*is_behind)(void *context);
	void *context;
	struct access *access; /* looked at when a call runs; NULL: every call may run */
};

/*
 * `bytes_max`: what all calls that wait may take. `changes`: what CHANGES are answered from;
 * borrowed. Observes the service. Freed with parking_free(), which drops the calls. NULL: no
 * memory.
 */
struct parking *parking_new(struct service *service, struct change_ring *changes, size_t bytes_max,
			    const struct parking_hooks *hooks);
void parking_free(struct parking *parking);

void parking_set_max(struct parking *parking, unsigned max);

/* Each turn has one time. */
void parking_begin_turn(struct parking *parking, uint64_t now_ms);

/*
 * Runs a WAIT, a CHANGES, or a write (wait_ms is 0 but for a TXN). True: call->reply is filled in.
 * False: the call is parked.
 */
bool parking_wait(struct parking *parking, struct call *call, uint64_t epoch, struct kv_bytes key,
		  uint64_t seen, uint32_t wait_ms);
bool parking_changes(struct parking *parking, struct call *call, uint64_t epoch,
		     const struct changes_request *request, uint32_t wait_ms);
bool parking_write(struct parking *parking, struct call *call, uint64_t epoch,
		   const struct operation *operation, uint32_t wait_ms);

/*
 * After an operation: runs the calls that it made able to run, in the order in which they came, as
 * far as this turn may. True if some were run.
 */
bool parking_run(struct parking *parking);

/*
 * After a change of the access rules: the calls that they refuse are refused at the end of this
 * turn, or of the next ones.
 */
void parking_recheck(struct parking *parking);

/* At the end of a turn: what is left to run, and the calls whose time is up. */
void parking_end_turn(struct parking *parking);

/* In how many ms parking_end_turn() has something to do; UINT64_MAX: not before something comes. */
uint64_t parking_due(const struct parking *parking);

/* The connection of a call that is parked has ended. The call is freed. */
void parking_disconnect(struct parking *parking, struct call *call);

/* Calls that wait for this key. */
uint32_t parking_count_at(const struct parking *parking, struct kv_bytes key);

void parking_add_stats(const struct parking *parking, struct stats *stats);

#endif

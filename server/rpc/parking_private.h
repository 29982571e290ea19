/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PARKING_PRIVATE_H
#define PARKING_PRIVATE_H

/*
 * parking_private.h - what parking.c (WAIT and TXN), parking_changes.c (CHANGES) and
 * parking_access.c (access rules) share.
 */

#include "rpc/access.h"
#include "rpc/parking.h"
#include "rpc/wait_index.h"

/* Behind it are the TXN's conditions and changes, and their bytes. */
struct parked_txn {
	struct parked base;
	uint64_t client_id;
	uint64_t seq;
	uint32_t slot;
	struct txn txn;
};

/* Invariants: a call is in the index and among the deadlines; a TXN in `by_slot`, too. */
struct parking {
	struct service *service;
	struct change_ring *changes;
	struct parking_hooks hooks;
	struct wait_index index;
	struct hash_table by_slot; /* of struct parked_txn */
	struct pairing_heap deadlines;
	unsigned max;
	unsigned count; /* calls, copies not counted */
	size_t bytes;	/* of the calls; the index counts its own */
	size_t bytes_max;
	uint64_t txns; /* parked so far: their order */
	uint64_t now_ms;
	unsigned txns_left; /* that may run in this turn ... */
	unsigned waits_left;
	unsigned ends_left;
	uint64_t parked;    /* since the start */
	uint64_t woken;	    /* ran, or was answered, for what it waited for */
	uint64_t timed_out; /* had its time */
	uint64_t refused;   /* for a limit */
	uint64_t lost;	    /* the connection ended */
};

/* NULL: it is none. */
static inline struct parked_txn *parking_txn(struct parked *parked) {
	return parked->kind == PARKED_TXN ? (struct parked_txn *)(void *)parked : NULL;
}

/* The TXN as the core runs it. */
static inline struct operation parking_operation(const struct parked_txn *txn) {
	return (struct operation){
	    .kind = OPERATION_TXN,
	    .client_id = txn->client_id,
	    .slot = txn->slot,
	    .seq = txn->seq,
	    .txn = &txn->txn,
	};
}

/* Runs a TXN for this copy of it; it is refused if its caller has lost its rights. */
void parking_run_copy(struct parking *parking, struct call *call, struct operation *operation);

/* Whether a WAIT may still see the key; else its reply is filled in. */
bool parking_may_read(struct parking *parking, struct call *call, struct kv_bytes key);

/*
 * The filter of a CHANGES, NULL: none is needed. False: it may see nothing, and its reply is filled
 * in.
 */
bool parking_may_show(struct parking *parking, struct call *call, struct kv_bytes prefix,
		      struct access_filter *filter, const struct key_filter **shown);

/* A call, to be freed with free() unless it is parked. NULL: there are too many, or no memory. */
struct parked *parking_make(const struct parking *parking, const struct call *call,
			    enum parked_kind kind);

/* Parks a WAIT or CHANGES that is in the index. */
void parking_park(struct parking *parking, struct parked *parked, struct call *call,
		  uint32_t wait_ms);

/* Takes the call out. Its copies, which are returned, owe a reply then; the caller frees it. */
struct call *parking_take_out(struct parking *parking, struct parked *parked);

/* Looks at the first CHANGES that is woken. Returns false if there is none, or no more may be. */
bool parking_run_changes(struct parking *parking);

/* Its time is up. */
void parking_end_changes(struct parking *parking, struct parked *parked);

#endif

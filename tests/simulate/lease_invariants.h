/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEASE_INVARIANTS_H
#define LEASE_INVARIANTS_H

/*
 * lease_invariants.h - the oracle of one lock with a lease, by what its handles were told and by
 * their own clocks: no two believe to hold it at once, tokens grow, and writes that name their
 * token come in the order of tokens. A lock belongs to one store; with another store all starts
 * again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "sim_network.h"

enum { LEASE_HOLDERS_MAX = 128, LEASE_WRITES_MAX = 4096 };

/* One handle. */
struct lease_holder {
	const struct host *host;
	uint64_t token;	   /* that it was told last; 0: none */
	uint64_t until_ms; /* until then it believes to hold the lock */
	bool is_void;	   /* the token is of a store that is gone */
};

/* A write that named its token and was done. */
struct lease_write {
	uint64_t token;
	uint64_t version;
};

struct lease_invariants {
	struct lease_holder holders[LEASE_HOLDERS_MAX];
	unsigned holder_count;
	struct lease_write writes[LEASE_WRITES_MAX];
	unsigned write_count;
	uint64_t token;	     /* the highest that was told */
	uint64_t generation; /* the first one of the store that is there now */
};

/* NULL: there are too many already. */
struct lease_holder *lease_invariants_enter(struct lease_invariants *invariants,
					    const struct host *host);

/* Another store is there, served by this generation and those that follow. */
void lease_invariants_new_store(struct lease_invariants *invariants, uint64_t generation);

/*
 * The handle believes to hold the lock for left_ms from now, by an answer from that generation of
 * the server if the token is new to it; token 0 or left_ms 0: it does not.
 */
void lease_invariants_believes(struct lease_invariants *invariants, struct lease_holder *holder,
			       uint64_t token, unsigned left_ms, uint64_t generation);

/* A write of the holder that named its token made this version of what the lock guards. */
void lease_invariants_wrote(struct lease_invariants *invariants, const struct lease_holder *holder,
			    uint64_t version);

#endif

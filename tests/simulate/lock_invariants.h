/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_INVARIANTS_H
#define LOCK_INVARIANTS_H

/*
 * lock_invariants.h - the oracle of locks: which handle holds which lock, by what the handles were
 * told. It checks mutual exclusion, that tokens grow, a counter that each holder adds one to, and
 * that no handle takes a lock after it was told that it does not hold it. A lock belongs to one
 * store; with another store all starts again.
 */

#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "lease_invariants.h"
#include "sim_network.h"

enum { LOCKS_MAX = 2, CONTENDERS_MAX = 128, CONTENDER_ID_MAX = 64 };

/* One handle of a lock. */
struct contender {
	unsigned lock;
	const struct host *host;
	char id[CONTENDER_ID_MAX];
	uint64_t token; /* by which it was told that it holds the lock; 0: it does not */
	bool is_closed;
	bool is_settled;  /* was told, and nothing of it is under way: it does not hold the lock ...
			   */
	uint64_t settled; /* ... since this moment */
};

struct lock_state {
	const struct contender *holder;
	const struct contender *last; /* that acquired it last */
	uint64_t token;
	uint64_t added;	   /* to the counter, surely */
	uint64_t doubtful; /* perhaps added */
};

struct lock_invariants {
	struct contender contenders[CONTENDERS_MAX];
	unsigned count;
	struct lock_state locks[LOCKS_MAX];
	uint64_t generation; /* the first one of the store that is there now */
	struct lease_invariants lease;
};

/* NULL: there are too many already. */
struct contender *lock_invariants_enter(struct lock_invariants *invariants, unsigned lock,
					const struct host *host, const char *id);

/* Another store is there, served by this generation and those that follow. */
void lock_invariants_new_store(struct lock_invariants *invariants, uint64_t generation);

/* A use of the handle begins. */
void lock_invariants_begin(struct lock_invariants *invariants, struct contender *contender);
/*
 * What a use of the handle shows: its token, 0 if it does not hold the lock, by an answer from that
 * generation of the server. One that it was not told before is an acquisition.
 */
void lock_invariants_learn(struct lock_invariants *invariants, struct contender *contender,
			   uint64_t token, uint64_t generation);
/*
 * It holds the lock by the token that it was told last: its release was refused, or never tried.
 * Returns false if that token is not the last one of the lock: the store is another.
 */
bool lock_invariants_kept(struct lock_invariants *invariants, struct contender *contender);
/* It lets go: from now on another may be told. */
void lock_invariants_release(struct lock_invariants *invariants, struct contender *contender);
/* It was told for sure that it does not hold the lock. */
void lock_invariants_settled(struct lock_invariants *invariants, struct contender *contender);
void lock_invariants_close(struct contender *contender);

/* Whether it still may believe that it holds the lock. */
bool lock_invariants_holds(const struct lock_invariants *invariants,
			   const struct contender *contender);

/* Whether the id is of a handle that can no longer release the lock: it is closed, or its process
 * died. */
bool lock_invariants_is_gone(const struct lock_invariants *invariants, const char *id, size_t size);

/* A read of the lock's key, called at that moment, showed this id. */
void lock_invariants_seen(const struct lock_invariants *invariants, unsigned lock, const char *id,
			  size_t size, uint64_t called);

/* The counter: a holder read it; and added one, or perhaps, or could not at the version read. */
void lock_invariants_counted(struct lock_invariants *invariants, const struct contender *contender,
			     uint64_t number);
void lock_invariants_added(struct lock_invariants *invariants, const struct contender *contender,
			   enum kv_status status);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WATCHERS_H
#define WATCHERS_H

/*
 * watchers.h - who holds which lock, as the clients were told: mutual exclusion, tokens that grow,
 * a counter that each holder adds one to, and that nobody gets the lock who was told that he did
 * not. A lock is of one store: with another store, all begins anew.
 */

#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "net.h"

enum { LOCKS_MAX = 2, CONTENDERS_MAX = 128, CONTENDER_ID_MAX = 64 };

/* One handle of a lock. */
struct contender {
	unsigned lock;
	const struct host *host;
	char id[CONTENDER_ID_MAX];
	bool is_closed;
	bool is_settled;  /* was told, and nothing of it is under way: it does not hold the lock ...
			   */
	uint64_t settled; /* ... since this moment */
};

struct watched {
	const struct contender *holder;
	const struct contender *last; /* who got it last */
	uint64_t token;
	uint64_t added;	   /* to the counter, surely */
	uint64_t doubtful; /* perhaps added */
};

struct watchers {
	struct contender contenders[CONTENDERS_MAX];
	unsigned count;
	struct watched locks[LOCKS_MAX];
	uint64_t life; /* the first one of the store that is there now */
};

/* NULL: there are too many already. */
struct contender *watchers_enter(struct watchers *watchers, unsigned lock, const struct host *host,
				 const char *id);

/* Another store is there, served by this life and those that follow. */
void watchers_new_store(struct watchers *watchers, uint64_t life);

/* A use of the handle begins. */
void watchers_begin(struct watchers *watchers, struct contender *contender);
/* It was told that it holds the lock, by an answer from that life of the server. */
void watchers_acquired(struct watchers *watchers, struct contender *contender, uint64_t token,
		       uint64_t life);
/*
 * It had the lock still, by a token of before: its release was refused, or never tried. False: it
 * was not told of this token yet, for it was a release that found the lock taken, or the store was
 * another.
 */
bool watchers_kept(struct watchers *watchers, struct contender *contender, uint64_t token);
/* It lets go: from now on another may be told. */
void watchers_release(struct watchers *watchers, struct contender *contender);
/* It was told for sure that it does not hold the lock. */
void watchers_settled(struct watchers *watchers, struct contender *contender);
void watchers_close(struct contender *contender);

/* Whether it still may believe that it holds the lock. */
bool watchers_holds(const struct watchers *watchers, const struct contender *contender);

/* Whether the id is of somebody who will never release the lock any more. */
bool watchers_is_gone(const struct watchers *watchers, const char *id, size_t size);

/* A read of the lock's key, called at that moment, showed this id. */
void watchers_seen(const struct watchers *watchers, unsigned lock, const char *id, size_t size,
		   uint64_t called);

/* The counter: a holder read it; and added one, or perhaps, or could not at the version read. */
void watchers_counted(struct watchers *watchers, const struct contender *contender,
		      uint64_t number);
void watchers_added(struct watchers *watchers, const struct contender *contender,
		    enum kv_status status);

#endif

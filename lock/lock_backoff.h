/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PATIENCE_H
#define PATIENCE_H

/*
 * patience.h - how a contender waits: for a lock that another holds, and, after turns of its own,
 * for others to have theirs. Rules only: the time is handed in, and nobody pauses here.
 *
 * Who waits looks again after 10 ms, and then each time after twice as long, up to 1 s; but only up
 * to 40 ms when the lock has changed hands since the last look.
 *
 * Whoever gave the lock back knows at which version it is free, and takes it again before anybody
 * can have heard of that. So a handle that took it over and over for 10 ms leaves it alone for 10
 * ms before it takes it again, if it has met others who want it: eight times since it met the last.
 */

#include <stdbool.h>
#include <stdint.h>

/* All zero: a handle that met nobody. */
struct patience {
	unsigned backoff_ms; /* the last pause of the wait that goes on; 0: there was none yet */
	uint64_t seen;	     /* the version at which another was last found to hold it; 0: none */
	bool has_changed;    /* hands, between the last two looks */

	bool is_in_row; /* turns one after the other, with nobody else's between them */
	uint64_t row_began_ms;
	uint64_t gave_ms;    /* when the last turn of the row ended */
	unsigned courtesies; /* how often others are still let go first */
};

/* A wait for the lock begins. */
void lock_backoff_reset(struct patience *patience);

/* Another holds the lock, at this version; or was quicker than this handle (0). */
void lock_backoff_contended(struct patience *patience, uint64_t version);

/* How long to wait before looking again, at most: it is for the caller to add jitter. */
unsigned lock_backoff_next_ms(struct patience *patience);

/* The handle has taken the lock, or given it back. */
void lock_backoff_acquired(struct patience *patience, uint64_t now_ms);
void lock_backoff_released(struct patience *patience, uint64_t now_ms);

/* How long to leave a lock alone, at most, that this handle knows to be free; 0: take it. */
unsigned lock_backoff_yield_ms(struct patience *patience, uint64_t now_ms);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_BACKOFF_H
#define LOCK_BACKOFF_H

/*
 * lock_backoff.h - how long a contender waits: for a lock that another handle holds, and for others
 * after a streak of acquisitions. Rules only: the time is handed in, and nothing sleeps here.
 *
 * A contender looks again after 10 ms, and then each time after twice as long, up to 1 s; but only
 * up to 40 ms when the lock has changed hands since the last look.
 *
 * A releasing handle knows the free version and would always win the next acquire. After 10 ms of
 * back-to-back acquisitions it therefore yields for 10 ms, if it has met other contenders: eight
 * times since it met the last one.
 */

#include <stdbool.h>
#include <stdint.h>

/* All zero: a handle that met no contender. */
struct lock_backoff {
	unsigned backoff_ms;   /* the last pause of the wait that goes on; 0: there was none yet */
	uint64_t seen_version; /* the version at which another was last found to hold it; 0: none */
	bool has_changed;      /* hands, between the last two looks */

	bool is_in_streak; /* acquisitions without another holder between them */
	uint64_t streak_began_ms;
	uint64_t released_ms; /* when the last turn of the streak ended */
	unsigned yields_left; /* how often others are still let go first */
};

/* A wait for the lock begins. */
void lock_backoff_reset(struct lock_backoff *backoff);

/* Another holds the lock, at this version; or was quicker than this handle (0). */
void lock_backoff_contended(struct lock_backoff *backoff, uint64_t version);

/* How long to wait before looking again, at most: it is for the caller to add jitter. */
unsigned lock_backoff_next_ms(struct lock_backoff *backoff);

/* The handle has taken the lock, or given it back. */
void lock_backoff_acquired(struct lock_backoff *backoff, uint64_t now_ms);
void lock_backoff_released(struct lock_backoff *backoff, uint64_t now_ms);

/* How long to leave a lock alone, at most, that this handle knows to be free; 0: take it. */
unsigned lock_backoff_yield_ms(struct lock_backoff *backoff, uint64_t now_ms);

#endif

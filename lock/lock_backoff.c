/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nobody queues: the store knows who holds the lock, not who wants it. So fairness is a matter of
 * when each looks. A row of 10 ms is long beside a round trip, so that a contended lock is still
 * taken thousands of times a second; and a courtesy of 10 ms is long enough that of several who
 * look every 40 ms one comes by.
 */
#include "lock_backoff.h"

enum {
	BACKOFF_MS = 10,
	BACKOFF_MAX_MS = 1000,
	BACKOFF_CHANGING_MS = 40, /* the longest pause when the lock changes hands */

	ROW_MS = 10,
	COURTESY_MS = 10,

	/* Of two contenders one comes by in every third courtesy or so: one in vain says little. */
	COURTESIES = 8,
};

void lock_backoff_reset(struct patience *patience) {
	patience->backoff_ms = 0;
	patience->seen = 0;
	patience->has_changed = false;
}

void lock_backoff_contended(struct patience *patience, uint64_t version) {
	if (version == 0 || (patience->seen != 0 && patience->seen != version))
		patience->has_changed = true;
	if (version != 0)
		patience->seen = version;
	patience->is_in_row = false;
	patience->courtesies = COURTESIES;
}

unsigned lock_backoff_next_ms(struct patience *patience) {
	const unsigned most_ms = patience->has_changed ? BACKOFF_CHANGING_MS : BACKOFF_MAX_MS;

	patience->backoff_ms = patience->backoff_ms == 0 ? BACKOFF_MS : 2 * patience->backoff_ms;
	if (patience->backoff_ms > most_ms)
		patience->backoff_ms = most_ms;
	patience->has_changed = false;
	return patience->backoff_ms;
}

void lock_backoff_acquired(struct patience *patience, uint64_t now_ms) {
	if (!patience->is_in_row)
		patience->row_began_ms = now_ms;
	patience->is_in_row = true;
}

void lock_backoff_released(struct patience *patience, uint64_t now_ms) {
	patience->gave_ms = now_ms;
}

unsigned lock_backoff_yield_ms(struct patience *patience, uint64_t now_ms) {
	const uint64_t rested_ms = now_ms - patience->gave_ms;

	if (!patience->is_in_row || patience->courtesies == 0)
		return 0;
	if (rested_ms < COURTESY_MS && now_ms - patience->row_began_ms < ROW_MS)
		return 0;
	patience->is_in_row = false;
	patience->courtesies--;
	return rested_ms < COURTESY_MS ? COURTESY_MS - (unsigned)rested_ms : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * There is no queue: the store knows the holder of the lock, not its contenders. So fairness
 * depends on when each looks. A streak of 10 ms is long beside a round trip, so that a contended
 * lock is still taken thousands of times a second; and a yield of 10 ms is long enough that of
 * several that look every 40 ms one comes by.
 */
#include "lock_backoff.h"

enum {
	BACKOFF_MS = 10,
	BACKOFF_MAX_MS = 1000,
	BACKOFF_CHANGING_MS = 40, /* the longest pause when the lock changes hands */

	STREAK_MS = 10,
	YIELD_MS = 10,

	/* Of two contenders one gets the lock in every third yield or so: one in vain means little.
	 */
	YIELDS = 8,
};

void lock_backoff_reset(struct lock_backoff *backoff) {
	backoff->backoff_ms = 0;
	backoff->seen_version = 0;
	backoff->has_changed = false;
}

void lock_backoff_contended(struct lock_backoff *backoff, uint64_t version) {
	if (version == 0 || (backoff->seen_version != 0 && backoff->seen_version != version))
		backoff->has_changed = true;
	if (version != 0)
		backoff->seen_version = version;
	backoff->is_in_streak = false;
	backoff->yields_left = YIELDS;
}

unsigned lock_backoff_next_ms(struct lock_backoff *backoff) {
	const unsigned max_ms = backoff->has_changed ? BACKOFF_CHANGING_MS : BACKOFF_MAX_MS;

	backoff->backoff_ms = backoff->backoff_ms == 0 ? BACKOFF_MS : 2 * backoff->backoff_ms;
	if (backoff->backoff_ms > max_ms)
		backoff->backoff_ms = max_ms;
	backoff->has_changed = false;
	return backoff->backoff_ms;
}

void lock_backoff_acquired(struct lock_backoff *backoff, uint64_t now_ms) {
	if (!backoff->is_in_streak)
		backoff->streak_began_ms = now_ms;
	backoff->is_in_streak = true;
}

void lock_backoff_released(struct lock_backoff *backoff, uint64_t now_ms) {
	backoff->released_ms = now_ms;
}

unsigned lock_backoff_yield_ms(struct lock_backoff *backoff, uint64_t now_ms) {
	const uint64_t idle_ms = now_ms - backoff->released_ms;

	if (!backoff->is_in_streak || backoff->yields_left == 0)
		return 0;
	if (idle_ms < YIELD_MS && now_ms - backoff->streak_began_ms < STREAK_MS)
		return 0;
	backoff->is_in_streak = false;
	backoff->yields_left--;
	return idle_ms < YIELD_MS ? YIELD_MS - (unsigned)idle_ms : 0;
}

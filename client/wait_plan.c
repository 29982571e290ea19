/* SPDX-License-Identifier: BSD-3-Clause */
#include "wait_plan.h"

static uint64_t least(uint64_t one, uint64_t other) {
	return one < other ? one : other;
}

uint64_t wait_plan_end(const struct backoff *backoff, unsigned wait_ms) {
	const uint64_t began_ms = backoff->began_ms;
	const uint64_t deadline_ms = backoff->deadline_ms;

	if (deadline_ms == NO_DEADLINE)
		return began_ms + wait_ms;
	return least(began_ms + wait_ms,
		     deadline_ms - least((deadline_ms - began_ms) / 4, backoff->retry->attempt_ms));
}

uint64_t wait_plan_copy(const struct backoff *backoff, uint64_t end_ms, uint32_t *copy_wait_ms) {
	const uint64_t now_ms = backoff_now(backoff);
	const uint64_t attempt_ms = backoff->retry->attempt_ms;
	const bool is_over = end_ms <= now_ms || backoff_is_interrupted(backoff);
	const uint64_t wait_ms = is_over ? 0 : least(end_ms - now_ms, COPY_WAIT_MAX_MS);
	const uint64_t part_ms = wait_ms / COPY_WAIT_PARTS;

	*copy_wait_ms = (uint32_t)wait_ms;
	if (wait_ms == 0)
		return backoff_attempt_until(backoff);
	return least(backoff_deadline(backoff),
		     now_ms + (part_ms >= attempt_ms ? part_ms : wait_ms + attempt_ms));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "event_sort.h"

#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum {
	DIGIT_BITS = 11,
	DIGITS = 1 << DIGIT_BITS,
};

static size_t digit(const struct event *event, uint64_t least_ns, unsigned shift) {
	return (size_t)((event->time_ns - least_ns) >> shift) & (DIGITS - 1);
}

static void state(const struct event *from, struct event *to, size_t count, uint64_t least_ns,
		  unsigned shift) {
	size_t starts[DIGITS] = {0};
	size_t start = 0;

	for (size_t i = 0; i < count; i++)
		starts[digit(&from[i], least_ns, shift)]++;
	for (size_t i = 0; i < DIGITS; i++) {
		size_t next = start + starts[i];
		starts[i] = start;
		start = next;
	}
	for (size_t i = 0; i < count; i++)
		to[starts[digit(&from[i], least_ns, shift)]++] = from[i];
}

/* Digit by digit from the lowest: the times of one run differ in few of them. */
bool event_sort(struct event *events, size_t count) {
	uint64_t least_ns = UINT64_MAX;
	uint64_t most_ns = 0;
	struct event *other = malloc((count + 1) * sizeof(*other));
	struct event *from = events;
	struct event *to = other;

	if (other == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (events[i].time_ns < least_ns)
			least_ns = events[i].time_ns;
		if (events[i].time_ns > most_ns)
			most_ns = events[i].time_ns;
	}
	for (unsigned shift = 0; count > 1 && shift < 64; shift += DIGIT_BITS) {
		if ((most_ns - least_ns) >> shift == 0)
			break;
		state(from, to, count, least_ns, shift);
		struct event *swapped = from;
		from = to;
		to = swapped;
	}
	if (from != events)
		memcpy(events, from, count * sizeof(*events));
	free(other);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TIMEOUT_LIST_H
#define TIMEOUT_LIST_H

/*
 * timeout_list.h - peers with pending I/O, ordered by their last progress, least recent first: so
 * that a look at the timeouts costs the same however many there are.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: not listed. */
struct timeout_entry {
	bool is_listed;
	uint64_t since_ms; /* when it was touched */
	size_t bytes;	   /* moved since then; the caller adds to it */
	struct timeout_entry *next;
	struct timeout_entry *previous;
};

/* All zero: empty. */
struct timeout_list {
	struct timeout_entry *first; /* the least recent */
	struct timeout_entry *last;
};

/* Makes it the most recent. `now_ms` does not go back. */
void timeout_list_touch(struct timeout_list *timeouts, struct timeout_entry *timeout,
			uint64_t now_ms);

/* Does nothing if it is not listed. */
void timeout_list_remove(struct timeout_list *timeouts, struct timeout_entry *timeout);

#endif

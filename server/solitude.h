/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SOLITUDE_H
#define SOLITUDE_H

/*
 * solitude.h - whether kvd serves one client only, who waits for each of its calls. Then the turn
 * waits for the disk itself: handing a batch to the journal's thread and back costs as much as half
 * a sync (docs/PERFORMANCE.md), and there is nobody whom the turn could serve meanwhile.
 *
 * A lone client sends nothing while a batch of its own is on its way. Whoever does is another one
 * (or another thread of it), and for the next writes the thread is used again: so is it while the
 * disk is slow, for then the change of threads does not matter, and who comes would wait long. Only
 * writes that the thread made count for solitude: while it makes one, those who read are noticed.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	SOLITUDE_WRITES = 64,	 /* in a row, and kvd takes its client for a lone one */
	SOLITUDE_WAIT_US = 1000, /* longer than that a turn does not want to wait ... */
	SOLITUDE_SLOW = 3,	 /* ... so often in a row */
};

/* Zeros: nobody came yet. */
struct solitude {
	unsigned writes; /* during which nobody came */
	unsigned slow;	 /* waits in a row that were too long */
};

/*
 * A turn ran what came (`has_calls`: something did). A batch was on its way before, and is, or has
 * been gathered, now.
 */
void solitude_ran(struct solitude *solitude, bool has_calls, bool was_writing, bool is_writing);

bool solitude_is(const struct solitude *solitude);

/* The turn waited so long for the disk, and `has_company`: others became ready meanwhile. */
void solitude_waited(struct solitude *solitude, uint64_t took_us, bool has_company);

#endif

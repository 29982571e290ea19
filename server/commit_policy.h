/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMIT_POLICY_H
#define COMMIT_POLICY_H

/*
 * solitude.h - whether there is anybody whom the turn could answer while a batch is written. If
 * not, because one client waits for its write or all clients write, the turn waits for the disk
 * itself: handing a batch to the journal's thread and back costs as much as half a sync, and on a
 * machine with few processors the thread waits for one of them, too (docs/PERFORMANCE.md, decision
 * 28).
 *
 * Who is answered at once while a batch is on its way, or in the turn that gathers one, or in the
 * turn after one that kept him waiting, would be kept waiting: for the next writes the thread is
 * used again. So is it while the disk is slow, for then the change of threads does not matter, and
 * who comes would wait long.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	COMMIT_POLICY_TURNS = 64,	 /* in a row without anybody, and the turn waits for the disk */
	COMMIT_POLICY_WAIT_US = 1000, /* longer than that it does not want to wait ... */
	COMMIT_POLICY_SLOW = 3,	 /* ... so often in a row */
};

/* Zeros: nobody came yet. */
struct solitude {
	unsigned turns;	  /* that brought writes, and nobody who was answered at once */
	unsigned slow;	  /* waits in a row that were too long */
	bool has_company; /* somebody came while the turn waited last */
};

/*
 * A turn ran what came: whether something did (`has_calls`), and whether somebody was answered at
 * once (`has_answered`). A batch was on its way before, and is, or has been gathered, now.
 */
void commit_policy_observe(struct solitude *solitude, bool has_calls, bool has_answered, bool was_writing,
		  bool is_writing);

bool commit_policy_is_inline(const struct solitude *solitude);

/* The turn waited so long for the disk, and `has_company`: somebody became ready meanwhile. */
void commit_policy_synced(struct solitude *solitude, uint64_t took_us, bool has_company);

#endif

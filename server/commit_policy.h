/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMIT_POLICY_H
#define COMMIT_POLICY_H

/*
 * commit_policy.h - the choice whether the turn writes and syncs a batch itself (inline) or hands
 * it to the journal's thread.
 *
 * Inline is chosen while no other client could be served during the sync, because one client waits
 * for its write or all clients write: handing a batch over and back costs as much as half a sync,
 * and on a machine with few processors the thread waits for one of them, too (docs/PERFORMANCE.md,
 * decision 28).
 *
 * A call that is answered without the disk while a batch is pending, or in the turn that gathers
 * one, or right after an inline sync, would have been delayed by such a sync: it switches back to
 * the thread for COMMIT_POLICY_TURNS turns. So do slow syncs, because then the hand-over costs
 * little and a new call would wait long.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	COMMIT_POLICY_TURNS = 64,     /* in a row without such a call, before inline is chosen */
	COMMIT_POLICY_WAIT_US = 1000, /* a sync that takes longer is slow ... */
	COMMIT_POLICY_SLOW = 3,	      /* ... and so many in a row switch to the thread */
};

/* Initially zeros. */
struct commit_policy {
	unsigned turns;	  /* in a row that had writes only */
	unsigned slow;	  /* slow syncs in a row */
	bool has_company; /* a descriptor became ready during the last inline sync */
};

/*
 * Records a turn: it ran calls (`has_calls`), some of which were answered at once (`has_answered`).
 * A batch was pending before it (`was_writing`), and is pending or gathered after it
 * (`is_writing`).
 */
void commit_policy_observe(struct commit_policy *policy, bool has_calls, bool has_answered,
			   bool was_writing, bool is_writing);

bool commit_policy_is_inline(const struct commit_policy *policy);

/* Records an inline sync of `took_us`; `has_company`: a descriptor became ready meanwhile. */
void commit_policy_synced(struct commit_policy *policy, uint64_t took_us, bool has_company);

#endif

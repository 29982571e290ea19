/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JUDGE_H
#define JUDGE_H

/*
 * judge.h - promises, held against what the clients were answered: which answers there can be at
 * all, and each unique token appended exactly once. Whether every key is linearizable:
 * histories.h.
 */

#include "deeds.h"

/* What was agreed with the client that made a deed. */
struct terms {
	bool is_stateless;
	bool is_for_ever; /* its calls have no time limit */
	bool may_be_full; /* the server may lack memory, sessions or disk */
	bool is_durable;  /* the store outlives the server */
};

/*
 * Whether such a deed may be answered so. True: it is an answer that only a lost session explains,
 * and somebody must have lost one (a lease that ended, an early death does not count).
 */
bool judge_answer(const struct terms *terms, const struct deed *deed);

/* Of a lock: an acquire, a try, a release. */
enum lock_use { USE_ACQUIRE, USE_TRY, USE_RELEASE };
void judge_lock(const struct terms *terms, enum lock_use use, enum kv_status status);

/*
 * The key was only appended to, by tokens that end with ';', and holds `value` in the end, as the
 * server of `first_life` and those after it made it: each token that was surely appended there is
 * in it once, each that may have been at most once, no other, and those of one worker in its order.
 */
void judge_tokens(const struct deeds *deeds, const char *key, const struct kv_value *value,
		  uint64_t first_life);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef INVARIANTS_H
#define INVARIANTS_H

/*
 * invariants.h - invariants over recorded client operations: which statuses can come back at all,
 * and that each unique token was appended exactly once. Linearizability is in check_histories.h.
 */

#include "op_log.h"

/* What was agreed with the client that made a op. */
struct client_contract {
	bool is_stateless;
	bool is_for_ever; /* its calls have no time limit */
	bool may_be_full; /* the server may lack memory, sessions or disk */
	bool is_durable;  /* the store outlives the server */
};

/*
 * Whether such a op may be answered so. True: it is an answer that only a lost session explains,
 * and some client must have lost one (a lease that ended, an early death does not count).
 */
bool invariant_status(const struct client_contract *contract, const struct op *op);

/* Of a lock: an acquire, a try, a release. */
enum lock_use { USE_ACQUIRE, USE_TRY, USE_RELEASE };
void invariant_lock_status(const struct client_contract *contract, enum lock_use use,
			   enum kv_status status);

/*
 * The key was only appended to, by tokens that end with ';', and holds `value` in the end, as the
 * server of `first_generation` and those after it made it: each token that was surely appended
 * there is in it once, each that may have been at most once, no other, and those of one worker in
 * its order.
 */
void invariant_tokens(const struct op_log *op_log, const char *key, const struct kv_value *value,
		      uint64_t first_generation);

/* Tokens that transactions appended to both keys are in both in the end, or in none. */
void invariant_both(const struct op_log *op_log, const char *const keys[2],
		    const struct kv_value values[2]);

#endif

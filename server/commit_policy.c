/* SPDX-License-Identifier: BSD-3-Clause */
#include "commit_policy.h"

void commit_policy_observe(struct solitude *solitude, bool has_calls, bool has_answered, bool was_writing,
		  bool is_writing) {
	if (has_answered && (was_writing || is_writing || solitude->has_company))
		solitude->turns = 0;
	else if (has_calls && is_writing && !has_answered && solitude->turns < COMMIT_POLICY_TURNS)
		solitude->turns++;
	solitude->has_company = false;
}

bool commit_policy_is_inline(const struct solitude *solitude) {
	return solitude->turns >= COMMIT_POLICY_TURNS;
}

void commit_policy_synced(struct solitude *solitude, uint64_t took_us, bool has_company) {
	solitude->has_company = has_company;
	solitude->slow = took_us > COMMIT_POLICY_WAIT_US ? solitude->slow + 1 : 0;
	if (solitude->slow < COMMIT_POLICY_SLOW)
		return;
	solitude->turns = 0;
	solitude->slow = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "commit_policy.h"

void commit_policy_observe(struct commit_policy *policy, bool has_calls, bool has_answered,
			   bool was_writing, bool is_writing) {
	if (has_answered && (was_writing || is_writing || policy->has_company))
		policy->turns = 0;
	else if (has_calls && is_writing && !has_answered && policy->turns < COMMIT_POLICY_TURNS)
		policy->turns++;
	policy->has_company = false;
}

bool commit_policy_is_inline(const struct commit_policy *policy) {
	return policy->turns >= COMMIT_POLICY_TURNS;
}

void commit_policy_synced(struct commit_policy *policy, uint64_t took_us, bool has_company) {
	policy->has_company = has_company;
	policy->slow = took_us > COMMIT_POLICY_WAIT_US ? policy->slow + 1 : 0;
	if (policy->slow < COMMIT_POLICY_SLOW)
		return;
	policy->turns = 0;
	policy->slow = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "commit_policy.h"

void solitude_ran(struct solitude *solitude, bool has_calls, bool has_answered, bool was_writing,
		  bool is_writing) {
	if (has_answered && (was_writing || is_writing || solitude->has_company))
		solitude->turns = 0;
	else if (has_calls && is_writing && !has_answered && solitude->turns < SOLITUDE_TURNS)
		solitude->turns++;
	solitude->has_company = false;
}

bool solitude_is(const struct solitude *solitude) {
	return solitude->turns >= SOLITUDE_TURNS;
}

void solitude_waited(struct solitude *solitude, uint64_t took_us, bool has_company) {
	solitude->has_company = has_company;
	solitude->slow = took_us > SOLITUDE_WAIT_US ? solitude->slow + 1 : 0;
	if (solitude->slow < SOLITUDE_SLOW)
		return;
	solitude->turns = 0;
	solitude->slow = 0;
}

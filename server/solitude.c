/* SPDX-License-Identifier: BSD-3-Clause */
#include "solitude.h"

void solitude_came(struct solitude *solitude, bool is_writing) {
	if (is_writing)
		solitude->turns = 0;
	else if (solitude->turns < SOLITUDE_TURNS)
		solitude->turns++;
}

bool solitude_is(const struct solitude *solitude) {
	return solitude->turns >= SOLITUDE_TURNS;
}

void solitude_waited(struct solitude *solitude, uint64_t took_us, bool has_company) {
	solitude->slow = took_us > SOLITUDE_WAIT_US ? solitude->slow + 1 : 0;
	if (!has_company && solitude->slow < SOLITUDE_SLOW)
		return;
	solitude->turns = 0;
	solitude->slow = 0;
}

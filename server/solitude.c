/* SPDX-License-Identifier: BSD-3-Clause */
#include "solitude.h"

void solitude_ran(struct solitude *solitude, bool has_calls, bool was_writing, bool is_writing) {
	if (has_calls && was_writing)
		solitude->writes = 0;
	else if (is_writing && !was_writing && solitude->writes < SOLITUDE_WRITES)
		solitude->writes++;
}

bool solitude_is(const struct solitude *solitude) {
	return solitude->writes >= SOLITUDE_WRITES;
}

void solitude_waited(struct solitude *solitude, uint64_t took_us, bool has_company) {
	solitude->slow = took_us > SOLITUDE_WAIT_US ? solitude->slow + 1 : 0;
	if (!has_company && solitude->slow < SOLITUDE_SLOW)
		return;
	solitude->writes = 0;
	solitude->slow = 0;
}

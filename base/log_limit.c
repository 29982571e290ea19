/* SPDX-License-Identifier: BSD-3-Clause */
#include "log_limit.h"

#include <stdio.h>

bool log_limit_allows(struct log_limit *limit, uint64_t now_ms, char more[LOG_LIMIT_TEXT_MAX]) {
	if (now_ms - limit->period_ms >= LOG_LIMIT_PERIOD_MS) {
		limit->period_ms = now_ms;
		limit->lines = 0;
	}
	if (limit->lines == LOG_LIMIT_LINES) {
		limit->left_out++;
		return false;
	}
	limit->lines++;
	more[0] = '\0';
	if (limit->left_out > 0)
		(void)snprintf(more, LOG_LIMIT_TEXT_MAX, " (and %u more like it)", limit->left_out);
	limit->left_out = 0;
	return true;
}

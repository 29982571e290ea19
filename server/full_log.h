/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FULL_LOG_H
#define FULL_LOG_H

/*
 * full_log.h - log of a limit that refuses calls: one line when it is reached, and one when it has
 * refused none for FULL_LOG_QUIET_MS, with the number of calls refused meanwhile.
 */

#include <stdbool.h>
#include <stdint.h>

enum { FULL_LOG_QUIET_MS = 10000 };

struct full_log {
	const char *what;    /* is refused: "writes: the memory is full (--max-memory)" */
	uint64_t refused;    /* calls, when it was looked at last */
	uint64_t first;	     /* of them, those before the limit was reached */
	uint64_t refused_ms; /* when one was found last */
	bool is_full;
};

/*
 * Looks at the number of calls `refused` since the start, at the time `now_ms`. Returns in how many
 * milliseconds to look again at the latest; UINT64_MAX: only after a call.
 */
uint64_t full_log_observe(struct full_log *log, uint64_t refused, uint64_t now_ms);

#endif

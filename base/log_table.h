/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOG_TABLE_H
#define LOG_TABLE_H

/*
 * log_table.h - a rate limit for log lines that peers can cause: of each peer and kind of line one
 * in a period, and in the next period the number of lines that were left out. So no peer's lines
 * hide those of another.
 *
 * The table is bounded: when the places where a peer's lines are counted are taken by others of
 * this period, the lines share a log_limit with all such peers.
 */

#include "log_limit.h"

enum {
	LOG_TABLE_MAX = 256, /* peers and kinds that are counted at once */
	LOG_TABLE_WAYS = 4,  /* places that each of them may have */
};

struct log_place {
	uint64_t key;	    /* a hash of the peer and the kind; 0: the place is free */
	uint64_t period_ms; /* when its line was logged */
	unsigned left_out;  /* since then */
};

/* All zero: nothing was logged yet. */
struct log_table {
	struct log_place list[LOG_TABLE_MAX];
	struct log_limit others;
};

/* As log_limit_allows(), of lines with this key, which is well mixed. */
bool log_table_allows(struct log_table *table, uint64_t key, uint64_t now_ms,
		      char more[LOG_LIMIT_TEXT_MAX]);

#endif

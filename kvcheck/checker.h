/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHECKER_H
#define CHECKER_H

/*
 * checker.h - the linearizability checker: whether one order of all calls of a history explains all
 * replies, with each call between its call and its return.
 *
 * The model is a store of keys that are missing or have a version and a value (model.h). Each key
 *is judged by itself, which is as good (Herlihy and Wing: linearizability is local) but for
 * transactions, which are of several keys: of these, and of the versions of keys that begin anew,
 *is then judged what store_order.h says.
 *
 *	struct checker_report report;
 *	checker_run(history, NULL, &report);
 *	if (report.verdict != CHECKER_LINEARIZABLE)
 *		report_print(stderr, history, &report);		(text_report.h)
 *	checker_report_free(&report);
 */

#include "history.h"

enum checker_verdict {
	CHECKER_LINEARIZABLE,
	CHECKER_NOT,
	CHECKER_UNDECIDED, /* a limit was reached, or there is no memory; nothing is known */
};

/* All zero = the defaults. */
struct checker_limits {
	uint64_t steps_max; /* tried orders, for each key; 0 = 20 million */
	size_t memory_max;  /* bytes for the search, besides the history; 0 = 1 GiB */

	/*
	 * The store may have held anything when the history began. Without it every key is missing
	 * at first.
	 */
	bool any_start;

	/* Called now and then with the number of calls that were judged; or NULL. */
	void (*progress)(void *context, size_t calls);
	void *context;
};

enum { CHECKER_REASON_MAX = 200 };

struct checker_report {
	enum checker_verdict verdict;
	uint64_t steps; /* tried, over all keys */
	size_t keys;

	/* Unless CHECKER_LINEARIZABLE: the key, which belongs to the history. */
	struct kv_bytes key;
	/* CHECKER_UNDECIDED: which limit; CHECKER_NOT: why no order will do. One line. */
	char reason[CHECKER_REASON_MAX];

	/*
	 * CHECKER_NOT: the shortest part that was found which cannot be ordered: indexes into the
	 * history, by time of call. Whatever the calls that were left out did, no order explains
	 * these. Owned; empty if there was no memory to look for it.
	 */
	size_t *calls;
	size_t call_count;
	uint64_t start_version; /* the part begins when the key was at this version */
	bool is_of_keys;	/* each key by itself can be ordered: the calls are of several */
	bool is_shortest;	/* without any one of them the rest can be ordered */
};

/*
 * Judges all keys and ends at the first that cannot be ordered; an undecided one does not end it.
 * *report is to be freed with checker_report_free(). `limits` may be NULL.
 */
void checker_run(const struct history *history, const struct checker_limits *limits,
		 struct checker_report *report);
void checker_report_free(struct checker_report *report);

#endif

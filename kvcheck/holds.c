/* SPDX-License-Identifier: BSD-3-Clause */
#include "holds.h"

#include <stdio.h>
#include <stdlib.h>

struct hold {
	size_t key; /* its number */
	size_t call;
	uint64_t token;
	uint64_t from_ns;
	uint64_t until_ns;
};

static int compare(const void *a, const void *b) {
	const struct hold *left = a;
	const struct hold *right = b;

	if (left->key != right->key)
		return left->key < right->key ? -1 : 1;
	if (left->from_ns != right->from_ns)
		return left->from_ns < right->from_ns ? -1 : 1;
	return left->call < right->call ? -1 : left->call > right->call;
}

static size_t gather(const struct history *history, struct hold *holds) {
	size_t count = 0;

	for (size_t i = 0; i < history_count(history); i++) {
		const struct history_call *call = history_at(history, i);

		if (call->op == HISTORY_HOLD)
			holds[count++] = (struct hold){
			    .key = history_key_of(history, i),
			    .call = i,
			    .token = call->expected,
			    .from_ns = call->call_ns,
			    .until_ns =
				call->return_ns == HISTORY_OPEN ? call->call_ns : call->return_ns,
			};
	}
	return count;
}

static enum store_order report_two(const struct history *history, struct checker_report *report,
				   const struct hold *first, const struct hold *second) {
	const bool is_overlap = second->from_ns < first->until_ns;

	report->key = history_at(history, first->call)->key;
	(void)snprintf(report->reason, CHECKER_REASON_MAX,
		       is_overlap ? "client %llu held the lock with token %llu when client %llu "
				    "held it with token %llu"
				  : "client %llu held the lock with token %llu before client %llu "
				    "held it with token %llu, and tokens grow",
		       (unsigned long long)history_at(history, first->call)->client,
		       (unsigned long long)first->token,
		       (unsigned long long)history_at(history, second->call)->client,
		       (unsigned long long)second->token);
	report->calls = malloc(2 * sizeof(*report->calls));
	if (report->calls != NULL) {
		report->calls[0] = first->call;
		report->calls[1] = second->call;
		report->call_count = 2;
	}
	report->is_shortest = true;
	return STORE_NOT;
}

/* `last`: of those before, the one that is there for longest; `highest`: that with most of a token.
 */
static enum store_order check_in_order(const struct history *history, const struct hold *holds,
				       size_t count, struct checker_report *report) {
	const struct hold *last = NULL;
	const struct hold *highest = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct hold *hold = &holds[i];

		if (last != NULL && last->key != hold->key)
			last = highest = NULL;
		if (last != NULL && hold->from_ns < last->until_ns)
			return report_two(history, report, last, hold);
		if (highest != NULL && hold->token <= highest->token)
			return report_two(history, report, highest, hold);
		if (last == NULL || hold->until_ns > last->until_ns)
			last = hold;
		highest = hold;
	}
	return STORE_ORDERED;
}

enum store_order holds_check(const struct history *history, struct checker_report *report) {
	struct hold *holds = malloc((history_count(history) + 1) * sizeof(*holds));
	enum store_order order = STORE_NO_MEMORY;
	size_t count;

	if (holds == NULL)
		return order;
	count = gather(history, holds);
	qsort(holds, count, sizeof(*holds), compare);
	order = check_in_order(history, holds, count, report);
	free(holds);
	return order;
}

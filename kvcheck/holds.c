/* SPDX-License-Identifier: BSD-3-Clause */
#include "holds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The key of a share: the lock's name, this, and the holder's id (docs/PROTOCOL.md, "Shares"). */
static const char share_infix[] = "/__share/";

enum { SHARE_INFIX_SIZE = sizeof(share_infix) - 1, SHARE_ID_SIZE = 32 };

struct hold {
	size_t key; /* its number */
	size_t call;
	struct kv_bytes lock; /* its name: of a share a part of its key */
	bool is_share;
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

static int compare_bytes(struct kv_bytes a, struct kv_bytes b) {
	const size_t both = a.size < b.size ? a.size : b.size;
	const int order = both == 0 ? 0 : memcmp(a.data, b.data, both);

	return order != 0 || a.size == b.size ? order : a.size < b.size ? -1 : 1;
}

/* By lock, shares of it and those that exclude them together, in the order of their beginnings. */
static int compare_locks(const void *a, const void *b) {
	const struct hold *left = a;
	const struct hold *right = b;
	const int order = compare_bytes(left->lock, right->lock);

	if (order != 0)
		return order;
	if (left->from_ns != right->from_ns)
		return left->from_ns < right->from_ns ? -1 : 1;
	return left->call < right->call ? -1 : left->call > right->call;
}

static bool is_id(struct kv_bytes text) {
	const char *at = text.data;

	for (size_t i = 0; i < text.size; i++)
		if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f')))
			return false;
	return text.size == SHARE_ID_SIZE;
}

static void name_lock(struct hold *hold, struct kv_bytes key) {
	const size_t behind = SHARE_INFIX_SIZE + SHARE_ID_SIZE;
	const char *at = key.data;

	hold->lock = key;
	if (key.size <= behind ||
	    memcmp(at + key.size - behind, share_infix, SHARE_INFIX_SIZE) != 0 ||
	    !is_id((struct kv_bytes){at + key.size - SHARE_ID_SIZE, SHARE_ID_SIZE}))
		return;
	hold->is_share = true;
	hold->lock.size -= behind;
}

static size_t gather(const struct history *history, struct hold *holds) {
	size_t count = 0;

	for (size_t i = 0; i < history_count(history); i++) {
		const struct history_call *call = history_at(history, i);

		if (call->op != HISTORY_HOLD)
			continue;
		holds[count] = (struct hold){
		    .key = history_key_of(history, i),
		    .call = i,
		    .token = call->expected,
		    .from_ns = call->call_ns,
		    .until_ns = call->return_ns == HISTORY_OPEN ? call->call_ns : call->return_ns,
		};
		name_lock(&holds[count++], call->key);
	}
	return count;
}

static const char *what(const struct hold *hold) {
	return hold->is_share ? "a share of the lock" : "the lock";
}

static enum store_order report_two(const struct history *history, struct checker_report *report,
				   const struct hold *first, const struct hold *second) {
	const bool is_overlap = second->from_ns < first->until_ns;

	report->key = history_at(history, first->call)->key;
	(void)snprintf(report->reason, CHECKER_REASON_MAX,
		       is_overlap ? "client %llu held %s with token %llu when client %llu "
				    "held %s with token %llu"
				  : "client %llu held %s with token %llu before client %llu "
				    "held %s with token %llu, and tokens grow",
		       (unsigned long long)history_at(history, first->call)->client, what(first),
		       (unsigned long long)first->token,
		       (unsigned long long)history_at(history, second->call)->client,
		       first->is_share == second->is_share ? "it" : what(second),
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

/* Sorted by lock. Of those before, `shared` and `alone` are those that are there for longest. */
static enum store_order check_shares(const struct history *history, const struct hold *holds,
				     size_t count, struct checker_report *report) {
	const struct hold *shared = NULL;
	const struct hold *alone = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct hold *hold = &holds[i];
		const struct hold **longest = hold->is_share ? &shared : &alone;

		if (i > 0 && compare_bytes(holds[i - 1].lock, hold->lock) != 0)
			shared = alone = NULL;
		const struct hold *other = hold->is_share ? alone : shared;
		if (other != NULL && hold->from_ns < other->until_ns)
			return report_two(history, report, other, hold);
		if (*longest == NULL || hold->until_ns > (*longest)->until_ns)
			*longest = hold;
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
	if (order == STORE_ORDERED) {
		qsort(holds, count, sizeof(*holds), compare_locks);
		order = check_shares(history, holds, count, report);
	}
	free(holds);
	return order;
}

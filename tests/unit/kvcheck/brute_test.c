/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checker against one that simply tries all orders, on small random histories: the same
 * verdict on each. And what it shows of a bad one is bad by itself.
 */
#include "world.h"

enum {
	CALLS_MAX = 7,
	VALUE_MAX = 64,
	ROUNDS = 30000,
};

/* --- All orders ---------------------------------------------------------------------------------
 */

struct model {
	uint64_t version;
	size_t size;
	char value[VALUE_MAX];
};

struct brute {
	const struct history *history;
	size_t count;
	bool is_done[CALLS_MAX];
};

/* What the store answers in this state, by the table of DESIGN alone. */
static enum kv_status model_write(struct model *model, const struct history_call *call) {
	if (call->expected != HISTORY_ANY && call->expected != model->version)
		return model->version == 0 ? KV_NOKEY : KV_VERSION;
	if (call->op == HISTORY_PUT)
		model->size = 0;
	ck_assert_uint_le(model->size + call->value.size, VALUE_MAX);
	memcpy(model->value + model->size, call->value.data, call->value.size);
	model->size += call->value.size;
	model->version++;
	return KV_OK;
}

static bool is_value(const struct model *model, const struct history_call *call) {
	return !call->has_got ||
	       (call->got.size == model->size &&
		(model->size == 0 || memcmp(call->got.data, model->value, model->size) == 0));
}

/* Whether the call may come next, and what it makes of the state. */
static bool model_takes(struct model *model, const struct history_call *call) {
	struct model before = *model;
	enum kv_status status;

	if (call->op == HISTORY_GET) {
		if (call->status == KV_NOKEY)
			return model->version == 0;
		return model->version != 0 && is_value(model, call) &&
		       (call->version == 0 || call->version == model->version);
	}
	status = model_write(model, call);
	if (history_outcome(call) == HISTORY_INDETERMINATE)
		return true;
	if (status != call->status)
		return false;
	if (status == KV_NOKEY)
		return true;
	if (call->version != 0 && call->version != model->version)
		return false;
	return status != KV_OK || call->op == HISTORY_PUT || is_value(&before, call);
}

static uint64_t returns_at(const struct history_call *call) {
	return history_outcome(call) == HISTORY_DEFINITE ? call->return_ns : UINT64_MAX;
}

static bool has_order(struct brute *brute, const struct model *model) {
	uint64_t first_ns = UINT64_MAX;

	for (size_t i = 0; i < brute->count; i++) {
		if (!brute->is_done[i] && returns_at(history_at(brute->history, i)) < first_ns)
			first_ns = returns_at(history_at(brute->history, i));
	}
	if (first_ns == UINT64_MAX)
		return true;
	for (size_t i = 0; i < brute->count; i++) {
		const struct history_call *call = history_at(brute->history, i);
		struct model next = *model;
		if (brute->is_done[i] || call->call_ns > first_ns)
			continue;
		brute->is_done[i] = true;
		if (model_takes(&next, call) && has_order(brute, &next))
			return true;
		brute->is_done[i] = false;
	}
	return false;
}

static bool has_order_from(const struct history *history, const struct model *model) {
	struct brute brute = {.history = history, .count = history_count(history)};

	for (size_t i = 0; i < brute.count; i++)
		brute.is_done[i] = history_outcome(history_at(history, i)) == HISTORY_NO_EFFECT;
	return has_order(&brute, model);
}

static bool brute_force(const struct history *history) {
	return has_order_from(history, &(struct model){0});
}

/* From any version that an answer can tell of, and any value: the beginnings of those seen. */
static bool brute_force_anyhow(const struct history *history) {
	bool is_explained = brute_force(history);

	for (uint64_t version = 1; !is_explained && version <= CALLS_MAX + 4; version++) {
		struct model model = {.version = version, .size = 1, .value = "?"};
		is_explained = has_order_from(history, &model);
		for (size_t i = 0; i < history_count(history); i++) {
			const struct history_call *call = history_at(history, i);
			if (!call->has_got)
				continue;
			if (call->got.size > 0)
				memcpy(model.value, call->got.data, call->got.size);
			for (model.size = 0; !is_explained && model.size <= call->got.size;
			     model.size++)
				is_explained = has_order_from(history, &model);
		}
	}
	return is_explained;
}

/* --- Random histories ---------------------------------------------------------------------------
 */

static uint64_t seed;

static uint64_t below(uint64_t limit) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % limit;
}

static const char *const words[] = {"", "a", "b", "ab", "ba", "aa"};

static struct kv_bytes word(void) {
	const char *text = words[below(sizeof(words) / sizeof(words[0]))];
	return (struct kv_bytes){text, strlen(text)};
}

static char kept[CALLS_MAX][VALUE_MAX];

/*
 * A history that came about in some order, with one answer told wrong now and then. Calls last
 * some time, so that the order cannot be seen in the times.
 */
static struct history *random_history(bool hides_versions, uint64_t one_open_in) {
	struct history *history = history_new();
	struct model model = {0};
	size_t count = 1 + below(CALLS_MAX);
	uint64_t time_ns = 100;

	ck_assert_ptr_nonnull(history);
	for (size_t i = 0; i < count; i++) {
		struct history_call call = {.client = i,
					    .op = (enum history_op)below(3),
					    .key = {"k", 1},
					    .value = word(),
					    .expected = HISTORY_ANY};
		struct model before;

		time_ns += below(3);
		call.call_ns = time_ns - below(20);
		call.return_ns = time_ns + below(20);
		if (below(2) == 0)
			call.expected = below(3) == 0 ? below(4) : model.version;
		before = model;
		if (call.op == HISTORY_GET) {
			call.status = model.version == 0 ? KV_NOKEY : KV_OK;
			call.version = model.version;
		} else if (below(one_open_in) == 0) {
			call.status = KV_MAYBE;
			if (below(2) == 0)
				call.return_ns = HISTORY_OPEN;
			if (below(2) == 0)
				(void)model_write(&model, &call);
		} else if (below(12) == 0) {
			call.status = KV_TIMEOUT;
		} else {
			call.status = model_write(&model, &call);
			call.version = call.status == KV_NOKEY ? 0 : model.version;
		}
		call.has_got = call.op != HISTORY_PUT && call.status == KV_OK && below(4) != 0;
		memcpy(kept[i], before.value, before.size);
		call.got = (struct kv_bytes){kept[i], before.size};
		if (hides_versions && below(2) == 0)
			call.version = 0;
		if (below(12) == 0)
			call.version += below(3);
		if (below(20) == 0)
			call.got = word();
		if (below(30) == 0)
			call.status = (enum kv_status)below(4);
		ck_assert(history_add(history, &call));
	}
	return history;
}

static size_t undecided;

static void must_agree(const struct history *history, bool starts_anyhow, uint64_t first_seed,
		       bool has_one) {
	struct checker_limits limits = {.starts_anyhow = starts_anyhow};
	struct checker_report report;

	checker_run(history, &limits, &report);
	/* An answer without its version, which a store that was not empty needs. */
	if (starts_anyhow && report.verdict == CHECKER_UNDECIDED) {
		undecided++;
		return;
	}
	if (report.verdict != (has_one ? CHECKER_LINEARIZABLE : CHECKER_NOT))
		(void)history_write(history, stderr);
	ck_assert_msg(report.verdict == (has_one ? CHECKER_LINEARIZABLE : CHECKER_NOT),
		      "seed %llu: verdict %d, but %s", (unsigned long long)first_seed,
		      report.verdict, has_one ? "there is an order" : "there is none");
	if (!has_one) {
		ck_assert_uint_gt(report.call_count, 0);
		ck_assert(report.is_shortest);
	}
	checker_report_free(&report);
}

static void agree_on_many(bool hides_versions, uint64_t one_open_in, bool starts_anyhow) {
	size_t good = 0;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		seed = round * 0x9e3779b97f4a7c15u + hides_versions + one_open_in;
		uint64_t first_seed = seed;
		struct history *history = random_history(hides_versions, one_open_in);
		bool has_one = starts_anyhow ? brute_force_anyhow(history) : brute_force(history);
		good += has_one;
		must_agree(history, starts_anyhow, first_seed, has_one);
		history_free(history);
	}
	/* Both kinds came in numbers. */
	ck_assert_uint_gt(good, ROUNDS / 10);
	ck_assert_uint_lt(good, ROUNDS - ROUNDS / 10);
	ck_assert_uint_lt(undecided, ROUNDS / 20);
}

START_TEST(with_versions_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many(false, 4, false);
}
END_TEST

START_TEST(with_many_open_calls_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many(false, 2, false);
}
END_TEST

START_TEST(without_versions_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many(true, 4, false);
}
END_TEST

START_TEST(in_a_store_that_was_not_empty_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many(false, 3, true);
}
END_TEST

int main(void) {
	TCase *agreement = tcase_create("agreement");
	tcase_set_timeout(agreement, 120);
	tcase_add_test(agreement, with_versions_the_verdict_is_that_of_trying_all_orders);
	tcase_add_test(agreement, with_many_open_calls_the_verdict_is_that_of_trying_all_orders);
	tcase_add_test(agreement, without_versions_the_verdict_is_that_of_trying_all_orders);
	tcase_add_test(agreement,
		       in_a_store_that_was_not_empty_the_verdict_is_that_of_trying_all_orders);
	return check_run("check_brute", agreement);
}

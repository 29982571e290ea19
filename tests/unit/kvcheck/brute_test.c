/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checker against one that simply tries all orders, on small random histories: the same
 * verdict on each. And what it shows of a bad one is bad by itself.
 */
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "prng.h"
#include "test.h"

enum {
	CALLS_MAX = 7,
	VALUE_MAX = 64,
	ROUNDS = 10000,
	ROUNDS_FEW = 400, /* where there is more to try: ttls, other beginnings */
	SKIPS = 12,	  /* of versions, below the first of a key */
};

/* --- All orders ---------------------------------------------------------------------------------
 */

struct model {
	uint64_t version; /* that was made last */
	bool is_there;
	uint64_t end_ns;
	size_t size;
	char value[VALUE_MAX];
};

struct brute {
	const struct history *history;
	size_t count;
	bool has_ends;
	uint64_t touch_ns; /* when a ttl that an open touch gave may be over */
	bool is_done[CALLS_MAX];
};

/* A ttl less an eighth. */
static uint64_t ends_at(const struct history_call *call) {
	return call->call_ns + (call->ttl_ms - call->ttl_ms / 8) * 1000000;
}

static enum kv_status refusal(const struct model *model, const struct history_call *call) {
	if (!model->is_there && call->op == HISTORY_DELETE)
		return KV_NOKEY;
	if (call->expected == HISTORY_ANY ||
	    call->expected == (model->is_there ? model->version : 0))
		return KV_OK;
	return model->is_there ? KV_VERSION : KV_NOKEY;
}

static void model_end(struct model *model) {
	model->version++;
	model->is_there = false;
	model->size = 0;
	model->end_ns = UINT64_MAX;
}

/* What the store answers in this state, by the table of DESIGN alone. `skip`: of a key that begins.
 */
static enum kv_status model_write(struct model *model, const struct history_call *call,
				  uint64_t skip) {
	enum kv_status status = refusal(model, call);

	if (status != KV_OK)
		return status;
	if (call->op == HISTORY_DELETE) {
		model_end(model);
		return KV_OK;
	}
	if (call->op == HISTORY_PUT) {
		model->size = 0;
		model->end_ns = call->ttl_ms == 0 ? UINT64_MAX : ends_at(call);
	}
	if (!model->is_there)
		model->version += skip;
	ck_assert_uint_le(model->size + call->value.size, VALUE_MAX);
	memcpy(model->value + model->size, call->value.data, call->value.size);
	model->size += call->value.size;
	model->version++;
	model->is_there = true;
	return KV_OK;
}

static bool is_value(const struct model *model, struct kv_bytes value) {
	return value.size == model->size &&
	       (model->size == 0 || memcmp(value.data, model->value, model->size) == 0);
}

static bool is_got(const struct model *model, const struct history_call *call) {
	return !call->has_got || is_value(model, call->got);
}

static bool is_at(const struct model *model, uint64_t version) {
	return model->is_there && (version == 0 || version == model->version);
}

static bool holds(const struct model *model, const struct history_call *call) {
	switch (call->test) {
	case HISTORY_AT:
		return call->expected == (model->is_there ? model->version : 0);
	case HISTORY_EXISTS:
		return model->is_there;
	case HISTORY_HOLDS:
		return model->is_there && is_value(model, call->value);
	case HISTORY_FREE:
		return !model->is_there || is_value(model, call->value);
	}
	return false;
}

static bool model_checks(const struct model *model, const struct history_call *call) {
	if (call->status == KV_NOKEY)
		return !model->is_there && !holds(model, call);
	if (call->status == KV_UNMET)
		return is_at(model, call->version) && !holds(model, call);
	if (call->test == HISTORY_AT || !model->is_there)
		return holds(model, call);
	return is_at(model, call->version) && holds(model, call);
}

static bool model_touches(struct model *model, const struct history_call *call) {
	uint64_t end_ns = ends_at(call);

	if (call->status == KV_NOKEY)
		return !model->is_there;
	if (call->status != KV_OK || !is_at(model, call->version))
		return false;
	if (model->end_ns == UINT64_MAX || model->end_ns < end_ns)
		model->end_ns = end_ns;
	return true;
}

/* Whether the call may come next, and what it makes of the state. */
static bool model_takes(struct model *model, const struct history_call *call, uint64_t skip) {
	struct model before = *model;
	enum kv_status status;

	if (call->op == HISTORY_GET) {
		if (call->status == KV_NOKEY)
			return !model->is_there;
		return is_at(model, call->version) && is_got(model, call);
	}
	if (call->op == HISTORY_CHECK)
		return model_checks(model, call);
	if (call->op == HISTORY_TOUCH)
		return model_touches(model, call);
	status = model_write(model, call, skip);
	if (history_outcome(call) == HISTORY_INDETERMINATE)
		return true;
	if (status != call->status)
		return false;
	if (status == KV_NOKEY)
		return true;
	if (call->version != 0 && call->version != model->version)
		return false;
	return status != KV_OK || call->op != HISTORY_APPEND || is_got(&before, call);
}

static uint64_t returns_at(const struct history_call *call) {
	return history_outcome(call) == HISTORY_DEFINITE ? call->return_ns : UINT64_MAX;
}

static bool has_order(struct brute *brute, const struct model *model);

/* The key ends next. */
static bool has_order_with_end(struct brute *brute, const struct model *model, uint64_t first_ns) {
	struct model next = *model;
	uint64_t end_ns = model->end_ns == UINT64_MAX ? brute->touch_ns : model->end_ns;

	if (!model->is_there || end_ns > first_ns)
		return false;
	model_end(&next);
	return has_order(brute, &next);
}

static bool has_order_with(struct brute *brute, const struct model *model, size_t index) {
	const struct history_call *call = history_at(brute->history, index);
	bool is_jump = brute->has_ends && !model->is_there && history_is_write(call->op);
	uint64_t skip = 0;
	uint64_t last = is_jump ? SKIPS : 0;

	/* To where its answer tells. */
	if (is_jump && history_outcome(call) == HISTORY_DEFINITE && call->version > model->version)
		skip = last = call->version - model->version - 1;
	for (; skip <= last; skip++) {
		struct model next = *model;
		if (model_takes(&next, call, skip) && has_order(brute, &next))
			return true;
	}
	return false;
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
		if (brute->is_done[i] || history_at(brute->history, i)->call_ns > first_ns)
			continue;
		brute->is_done[i] = true;
		if (has_order_with(brute, model, i))
			return true;
		brute->is_done[i] = false;
	}
	return has_order_with_end(brute, model, first_ns);
}

static bool has_order_from(const struct history *history, const struct model *model,
			   bool any_start) {
	struct brute brute = {.history = history,
			      .count = history_count(history),
			      .has_ends = any_start || history_has_ends(history),
			      .touch_ns = UINT64_MAX};

	for (size_t i = 0; i < brute.count; i++) {
		const struct history_call *call = history_at(history, i);
		bool is_open = history_outcome(call) == HISTORY_INDETERMINATE;
		brute.is_done[i] = history_outcome(call) == HISTORY_NO_EFFECT ||
				   (is_open && call->op == HISTORY_TOUCH);
		if (is_open && call->op == HISTORY_TOUCH && ends_at(call) < brute.touch_ns)
			brute.touch_ns = ends_at(call);
	}
	return has_order(&brute, model);
}

static bool brute_force(const struct history *history, bool any_start) {
	return has_order_from(history, &(struct model){.end_ns = UINT64_MAX}, any_start);
}

/* From any version that an answer can tell of, and any value: the beginnings of those seen. */
static bool brute_force_anyhow(const struct history *history) {
	bool is_explained = brute_force(history, true);

	for (uint64_t version = 1; !is_explained && version <= CALLS_MAX + 4; version++) {
		struct model model = {
		    .version = version, .is_there = true, .size = 1, .value = "?"};
		is_explained = has_order_from(history, &model, true);
		for (size_t i = 0; i < history_count(history); i++) {
			const struct history_call *call = history_at(history, i);
			if (!call->has_got)
				continue;
			if (call->got.size > 0)
				memcpy(model.value, call->got.data, call->got.size);
			for (model.size = 0; !is_explained && model.size <= call->got.size;
			     model.size++)
				is_explained = has_order_from(history, &model, true);
		}
	}
	return is_explained;
}

/* --- Random histories ---------------------------------------------------------------------------
 */

static struct prng prng;

static uint64_t below(uint64_t limit) {
	return prng_below(&prng, limit);
}

static const char *const words[] = {"", "a", "b", "ab", "ba", "aa"};

static struct kv_bytes word(void) {
	const char *text = words[below(sizeof(words) / sizeof(words[0]))];
	return (struct kv_bytes){text, strlen(text)};
}

static char kept[CALLS_MAX][VALUE_MAX];

struct kind {
	bool has_ends;
	bool has_no_ttl; /* keys end by deletes only */
	bool hides_versions;
	uint64_t one_open_in;
};

static struct history_call random_call(const struct kind *kind, const struct model *model) {
	unsigned ops = !kind->has_ends ? 3 : kind->has_no_ttl ? 4 : 6;
	struct history_call call = {
	    .op = (enum history_op)below(ops), .key = {"k", 1}, .expected = HISTORY_ANY};

	call.part = call.op == HISTORY_TOUCH || call.op == HISTORY_CHECK;
	if (call.op == HISTORY_CHECK)
		call.test = (enum history_test)below(4);
	if (call.op == HISTORY_TOUCH || (call.op == HISTORY_PUT && ops == 6 && below(2) == 0))
		call.ttl_ms = 1 + below(9);
	if (history_has_value(&call))
		call.value = word();
	if (call.op != HISTORY_TOUCH && below(2) == 0)
		call.expected = below(3) == 0 ? below(4) : model->is_there ? model->version : 0;
	if (call.op == HISTORY_CHECK && call.test == HISTORY_AT && call.expected == HISTORY_ANY)
		call.expected = model->version;
	return call;
}

/* The answer of a store in this state, which the call changes. */
static void answer(struct history_call *call, struct model *model) {
	call->status = model->is_there ? KV_OK : KV_NOKEY;
	call->version = model->is_there ? model->version : 0;
	switch (call->op) {
	case HISTORY_GET:
	case HISTORY_HOLD:
		break;
	case HISTORY_TOUCH:
		(void)model_touches(model, call);
		break;
	case HISTORY_CHECK:
		if (holds(model, call))
			call->status = KV_OK;
		else if (model->is_there)
			call->status = KV_UNMET;
		break;
	case HISTORY_PUT:
	case HISTORY_APPEND:
	case HISTORY_DELETE:
		call->status = model_write(model, call, below(3));
		call->version = call->status == KV_NOKEY ? 0 : model->version;
		break;
	}
}

/*
 * A history that came about in some order, with one answer told wrong now and then. Calls last
 * some time, so that the order cannot be seen in the times.
 */
static struct history *random_history(const struct kind *kind) {
	struct history *history = history_new();
	struct model model = {.end_ns = UINT64_MAX};
	size_t count = 1 + below(kind->has_ends ? CALLS_MAX - 2 : CALLS_MAX);
	uint64_t time_ms = 100;

	ck_assert_ptr_nonnull(history);
	for (size_t i = 0; i < count; i++) {
		struct history_call call = random_call(kind, &model);
		struct model before = model;

		time_ms += below(3);
		call.client = i;
		call.call_ns = (time_ms - below(20)) * 1000000;
		call.return_ns = (time_ms + below(20)) * 1000000;
		if (model.is_there && model.end_ns < time_ms * 1000000 && below(2) == 0)
			model_end(&model);
		before = model;
		if (history_is_write(call.op) && below(kind->one_open_in) == 0) {
			call.status = KV_MAYBE;
			if (below(2) == 0)
				call.return_ns = HISTORY_OPEN;
			if (below(2) == 0 && call.op != HISTORY_TOUCH)
				(void)model_write(&model, &call, kind->has_ends ? below(3) : 0);
			else if (below(2) == 0 && call.op == HISTORY_TOUCH)
				(void)model_touches(&model, &call);
		} else if (history_is_write(call.op) && below(12) == 0) {
			call.status = KV_TIMEOUT;
		} else if (kind->has_ends) {
			answer(&call, &model);
		} else {
			call.status = call.op != HISTORY_GET ? model_write(&model, &call, 0)
				      : model.is_there	     ? KV_OK
							     : KV_NOKEY;
			call.version = call.status == KV_NOKEY ? 0 : model.version;
		}
		call.has_got = (call.op == HISTORY_GET || call.op == HISTORY_APPEND) &&
			       call.status == KV_OK && below(4) != 0;
		memcpy(kept[i], before.value, before.size);
		call.got = (struct kv_bytes){kept[i], before.size};
		if (kind->hides_versions && call.op != HISTORY_TOUCH && below(2) == 0)
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

static void must_agree(const struct history *history, bool any_start, uint64_t first_seed,
		       bool has_one) {
	struct checker_limits limits = {.any_start = any_start};
	struct checker_report report;

	checker_run(history, &limits, &report);
	/* An answer without its version, which a store that was not empty needs. */
	if (any_start && report.verdict == CHECKER_UNDECIDED) {
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

static void agree_on_many(struct kind kind, bool any_start) {
	const bool is_slow = any_start || (kind.has_ends && !kind.has_no_ttl);
	const uint64_t rounds = is_slow ? ROUNDS_FEW : ROUNDS;
	size_t good = 0;

	for (uint64_t round = 1; round <= rounds; round++) {
		uint64_t first_seed = round << 8 | kind.has_no_ttl << 6 | kind.has_ends << 5 |
				      kind.hides_versions << 4 | kind.one_open_in;
		prng.state = first_seed;
		struct history *history = random_history(&kind);
		bool has_one =
		    any_start ? brute_force_anyhow(history) : brute_force(history, false);
		good += has_one;
		must_agree(history, any_start, first_seed, has_one);
		history_free(history);
	}
	/* Both kinds came in numbers. */
	ck_assert_uint_gt(good, rounds / 100);
	ck_assert_uint_lt(good, rounds - rounds / (kind.has_ends ? 50 : 10));
	ck_assert_uint_lt(undecided, rounds / (kind.has_ends ? 4 : 20));
}

CASE(agreement, .seconds = 60);

TEST(with_versions_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.one_open_in = 4}, false);
}

TEST(with_many_open_calls_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.one_open_in = 2}, false);
}

TEST(without_versions_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.one_open_in = 4, .hides_versions = true}, false);
}

TEST(in_a_store_that_was_not_empty_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.one_open_in = 3}, true);
}

CASE(agreement_where_keys_end, .seconds = 60);

TEST(where_keys_end_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.has_ends = true, .one_open_in = 5}, false);
}

TEST(where_keys_end_with_many_open_calls_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.has_ends = true, .one_open_in = 2}, false);
}

TEST(where_keys_are_deleted_with_many_open_calls_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.has_ends = true, .has_no_ttl = true, .one_open_in = 2}, false);
}

TEST(where_keys_end_without_versions_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.has_ends = true, .one_open_in = 5, .hides_versions = true},
		      false);
}

TEST(where_keys_end_in_a_store_that_was_not_empty_the_verdict_is_that_of_trying_all_orders) {
	agree_on_many((struct kind){.has_ends = true, .one_open_in = 5}, true);
}

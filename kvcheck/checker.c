/* SPDX-License-Identifier: BSD-3-Clause */
#include "checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "shrink.h"
#include "store_order.h"

enum { STEPS_DEFAULT = 20 * 1000 * 1000 };
#define MEMORY_DEFAULT ((size_t)1 << 30)

/* The calls of the history by key: those of key k are list[starts[k]] up to list[starts[k + 1]]. */
struct parts {
	size_t *starts;
	uint32_t *list;
};

/* What is passed on while one key is judged. */
struct run {
	const struct history *history;
	struct checker_limits limits;
	struct checker_report *report;
	size_t judged; /* calls of the keys before */
};

static void progress(void *context, size_t calls) {
	const struct run *run = context;

	if (run->limits.progress != NULL)
		run->limits.progress(run->limits.context, run->judged + calls);
}

static bool partition(const struct history *history, struct parts *parts) {
	size_t keys = history_key_count(history);
	size_t count = history_count(history);

	parts->starts = calloc(keys + 2, sizeof(*parts->starts));
	parts->list = malloc((count + 1) * sizeof(*parts->list));
	if (parts->starts == NULL || parts->list == NULL)
		return false;
	for (size_t i = 0; i < count; i++)
		parts->starts[history_key_of(history, i) + 2]++;
	for (size_t i = 2; i < keys + 2; i++)
		parts->starts[i] += parts->starts[i - 1];
	/* What begins as the start of the next key ends as its own. */
	for (size_t i = 0; i < count; i++)
		parts->list[parts->starts[history_key_of(history, i) + 1]++] = (uint32_t)i;
	return true;
}

/* Whether keys of the store may end. */
static bool has_ends(const struct run *run) {
	return run->limits.any_start || history_has_ends(run->history);
}

static struct event_op *make_steps(const struct run *run, const uint32_t *list, size_t count,
				   size_t *made) {
	struct event_op *steps = malloc((count + 1) * sizeof(*steps));

	*made = 0;
	for (size_t i = 0; steps != NULL && i < count; i++) {
		const struct history_call *call = history_at(run->history, list[i]);
		struct event_op *step = &steps[*made];
		if (!step_from(step, call, list[i]))
			continue;
		/* A key that is created is made at version 1, unless one ended before. */
		if (step->kind == STEP_WRITE && step->version == 0 && step->expected == 0 &&
		    !has_ends(run))
			step->version = 1;
		(*made)++;
	}
	return steps;
}

/*
 * In a store that may have held anything, the key may as well have been at the least version of
 * which an answer tells: what came before is not told of. Or it was missing, as `initial` has it.
 * False: an answer does not tell enough.
 */
static bool find_initial(const struct event_op *steps, size_t count,
			 struct initial_state *initial) {
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		if (steps[i].kind == STEP_OPEN)
			continue;
		if (!step_tells_version(&steps[i]))
			return false;
		if (steps[i].version == 0)
			continue;
		uint64_t version = steps[i].version - (steps[i].kind == STEP_WRITE);
		if (version < least)
			least = version;
	}
	if (least == UINT64_MAX || least == 0)
		return true;
	initial->version = least;
	initial->is_known = false;
	initial->has_ttl = true;
	initial->end_ns = 0;
	return true;
}

/* How keys of this store, and this one, may end. */
static struct initial_state missing_at_first(const struct run *run, const uint32_t *list,
					     size_t count) {
	struct initial_state initial = {
	    .is_known = true,
	    .has_ends = has_ends(run),
	    .end_ns = END_NEVER,
	    .open_touch_ns = END_NEVER,
	};

	for (size_t i = 0; i < count; i++) {
		const struct history_call *call = history_at(run->history, list[i]);
		initial.has_ttl = initial.has_ttl || call->ttl_ms != 0;
		if (call->op != HISTORY_TOUCH || history_outcome(call) != HISTORY_INDETERMINATE)
			continue;
		uint64_t end_ns = end_of_ttl(call->call_ns, call->ttl_ms);
		if (end_ns < initial.open_touch_ns)
			initial.open_touch_ns = end_ns;
	}
	return initial;
}

static void report_undecided(struct run *run, struct kv_bytes key, const char *reason) {
	/* The first is told of. */
	if (run->report->verdict == CHECKER_UNDECIDED)
		return;
	run->report->verdict = CHECKER_UNDECIDED;
	run->report->key = key;
	(void)snprintf(run->report->reason, CHECKER_REASON_MAX, "%s", reason);
}

/* The search took the steps apart: they are made anew. */
static void report_not(struct run *run, const uint32_t *list, size_t count,
		       struct initial_state initial) {
	struct checker_report *report = run->report;
	struct search_limits limits = {
	    .steps_left = run->limits.steps_max,
	    .memory_max = run->limits.memory_max,
	};
	size_t made = 0;
	struct event_op *steps = make_steps(run, list, count, &made);

	report->verdict = CHECKER_NOT;
	report->key = history_at(run->history, list[0])->key;
	(void)snprintf(report->reason, CHECKER_REASON_MAX, "no order of its calls explains them");
	if (steps != NULL)
		(void)shrink(steps, made, initial, &limits, report);
	free(steps);
}

static enum search_answer search_from(struct run *run, const uint32_t *list, size_t count,
				      struct initial_state initial) {
	struct search_limits limits = {
	    .steps_left = run->limits.steps_max,
	    .memory_max = run->limits.memory_max,
	    .progress = progress,
	    .context = run,
	};
	enum search_answer answer = SEARCH_TOO_BIG;
	struct plan plan;
	uint32_t stuck = 0;
	size_t made = 0;
	struct event_op *steps = make_steps(run, list, count, &made);

	if (steps == NULL || !plan_make(&plan, steps, made, initial, false))
		return answer;
	answer = search_run(&plan, &limits, &stuck);
	plan_free(&plan);
	run->report->steps += run->limits.steps_max - limits.steps_left;
	return answer;
}

/* *initial becomes another one than `missing`, if that is possible. False: it cannot be told. */
static bool find_start(struct run *run, const uint32_t *list, size_t count,
		       struct initial_state *initial) {
	size_t made = 0;
	struct event_op *steps = make_steps(run, list, count, &made);
	bool is_found =
	    steps == NULL || !run->limits.any_start || find_initial(steps, made, initial);

	free(steps);
	return is_found;
}

static void judge_key(struct run *run, const uint32_t *list, size_t count) {
	struct kv_bytes key = history_at(run->history, list[0])->key;
	struct initial_state missing = missing_at_first(run, list, count);
	struct initial_state initial = missing;
	enum search_answer answer;

	if (!find_start(run, list, count, &initial)) {
		report_undecided(run, key,
				 "answers without versions, in a store that was not empty");
		return;
	}
	answer = search_from(run, list, count, initial);
	if (answer == SEARCH_STUCK && initial.version != 0)
		answer = search_from(run, list, count, missing);
	switch (answer) {
	case SEARCH_ORDERED:
		break;
	case SEARCH_STUCK:
		report_not(run, list, count, initial);
		break;
	case SEARCH_TOO_LONG:
		report_undecided(run, key, "more orders to try than the limit of steps allows");
		break;
	case SEARCH_TOO_BIG:
		report_undecided(run, key, "more orders at a time than the memory allowed holds");
		break;
	}
}

/* Each key can be ordered by itself. */
static void judge_store(struct run *run) {
	enum store_order order = store_order_check(run->history, run->report);

	if (order == STORE_ORDERED)
		order = holds_check(run->history, run->report);
	switch (order) {
	case STORE_ORDERED:
		break;
	case STORE_NOT:
		run->report->verdict = CHECKER_NOT;
		run->report->is_of_keys = true;
		break;
	case STORE_NO_MEMORY:
		report_undecided(run, (struct kv_bytes){0}, "no memory");
		break;
	}
}

void checker_run(const struct history *history, const struct checker_limits *limits,
		 struct checker_report *report) {
	struct run run = {.history = history, .report = report};
	struct parts parts = {0};

	*report = (struct checker_report){.verdict = CHECKER_LINEARIZABLE,
					  .keys = history_key_count(history)};
	if (limits != NULL)
		run.limits = *limits;
	if (run.limits.steps_max == 0)
		run.limits.steps_max = STEPS_DEFAULT;
	if (run.limits.memory_max == 0)
		run.limits.memory_max = MEMORY_DEFAULT;
	bool is_parted = partition(history, &parts);
	if (!is_parted)
		report_undecided(&run, (struct kv_bytes){0}, "no memory");
	for (size_t i = 0; is_parted && i < report->keys; i++) {
		size_t count = parts.starts[i + 1] - parts.starts[i];
		if (report->verdict == CHECKER_NOT)
			break;
		judge_key(&run, parts.list + parts.starts[i], count);
		run.judged += count;
	}
	if (report->verdict == CHECKER_LINEARIZABLE)
		judge_store(&run);
	free(parts.starts);
	free(parts.list);
}

void checker_report_free(struct checker_report *report) {
	free(report->calls);
	*report = (struct checker_report){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shrink.h"

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

static struct step *make_steps(const struct run *run, const uint32_t *list, size_t count,
			       size_t *made) {
	struct step *steps = malloc((count + 1) * sizeof(*steps));

	*made = 0;
	for (size_t i = 0; steps != NULL && i < count; i++) {
		const struct history_call *call = history_at(run->history, list[i]);
		*made += step_from(&steps[*made], call, list[i]);
	}
	return steps;
}

/*
 * In a store that may have held anything, the key may as well have been at the least version of
 * which an answer tells: what came before is not told of. False: an answer does not tell enough.
 */
static bool find_beginning(const struct step *steps, size_t count, struct beginning *beginning) {
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		if (steps[i].kind == STEP_OPEN)
			continue;
		if (!step_tells_version(&steps[i]))
			return false;
		uint64_t version = steps[i].version - (steps[i].kind == STEP_WRITE);
		if (version < least)
			least = version;
	}
	beginning->version = least == UINT64_MAX ? 0 : least;
	beginning->is_known = beginning->version == 0;
	return true;
}

static void tell_undecided(struct run *run, struct kv_bytes key, const char *reason) {
	/* The first is told of. */
	if (run->report->verdict == CHECKER_UNDECIDED)
		return;
	run->report->verdict = CHECKER_UNDECIDED;
	run->report->key = key;
	(void)snprintf(run->report->reason, CHECKER_REASON_MAX, "%s", reason);
}

/* The search took the steps apart: they are made anew. */
static void tell_not(struct run *run, const uint32_t *list, size_t count,
		     struct beginning beginning) {
	struct checker_report *report = run->report;
	struct search_limits limits = {
	    .steps_left = run->limits.steps_max,
	    .memory_max = run->limits.memory_max,
	};
	size_t made = 0;
	struct step *steps = make_steps(run, list, count, &made);

	report->verdict = CHECKER_NOT;
	report->key = history_at(run->history, list[0])->key;
	(void)snprintf(report->reason, CHECKER_REASON_MAX, "no order of its calls explains them");
	if (steps != NULL)
		(void)shrink(steps, made, beginning, &limits, report);
	free(steps);
}

static void judge_key(struct run *run, const uint32_t *list, size_t count) {
	struct search_limits limits = {
	    .steps_left = run->limits.steps_max,
	    .memory_max = run->limits.memory_max,
	    .progress = progress,
	    .context = run,
	};
	struct kv_bytes key = history_at(run->history, list[0])->key;
	struct beginning beginning = {.version = 0, .is_known = true};
	size_t made = 0;
	struct step *steps = make_steps(run, list, count, &made);
	struct plan plan;
	uint32_t stuck = 0;
	enum search_answer answer = SEARCH_TOO_BIG;

	if (steps != NULL && run->limits.starts_anyhow &&
	    !find_beginning(steps, made, &beginning)) {
		tell_undecided(run, key, "answers without versions, in a store that was not empty");
		free(steps);
		return;
	}
	if (steps != NULL && plan_make(&plan, steps, made, beginning, false)) {
		answer = search_run(&plan, &limits, &stuck);
		plan_free(&plan);
	}
	run->report->steps += run->limits.steps_max - limits.steps_left;
	switch (answer) {
	case SEARCH_ORDERED:
		break;
	case SEARCH_STUCK:
		tell_not(run, list, count, beginning);
		break;
	case SEARCH_TOO_LONG:
		tell_undecided(run, key, "more orders to try than the limit of steps allows");
		break;
	case SEARCH_TOO_BIG:
		tell_undecided(run, key, "more orders at a time than the memory allowed holds");
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
		tell_undecided(&run, (struct kv_bytes){0}, "no memory");
	for (size_t i = 0; is_parted && i < report->keys; i++) {
		size_t count = parts.starts[i + 1] - parts.starts[i];
		if (report->verdict == CHECKER_NOT)
			break;
		judge_key(&run, parts.list + parts.starts[i], count);
		run.judged += count;
	}
	free(parts.starts);
	free(parts.list);
}

void checker_report_free(struct checker_report *report) {
	free(report->calls);
	*report = (struct checker_report){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "explain.h"

#include <stdio.h>

typedef unsigned long long number;

static void say_both_made(char *reason, const struct event_op *a) {
	(void)snprintf(reason, CHECKER_REASON_MAX,
		       "two calls were told that they made version %llu", (number)a->told);
}

/* Answers of one call that no state of the key gives. */
static bool is_absurd(const struct event_op *step, bool has_ends, char *reason) {
	bool is_write = history_is_write(step->op) && step->op != HISTORY_TOUCH;

	if (step->kind == STEP_WRITE && step->expected != HISTORY_ANY &&
	    (step->expected != 0 || !has_ends) && step->version != step->expected + 1)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "a write that expected version %llu made version %llu",
			       (number)step->told_expected, (number)step->told);
	else if (step->kind == STEP_READ && is_write && step->status == KV_VERSION &&
		 step->expected == HISTORY_ANY)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "a write that expected no version was refused for the version");
	else if (step->kind == STEP_READ && step->status == KV_VERSION &&
		 step->version == step->expected)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "a write was refused at the very version that it expected, %llu",
			       (number)step->told);
	else if (step->kind == STEP_READ && step->status == KV_NOKEY && is_write &&
		 step->op != HISTORY_DELETE && step->expected == 0)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "a write that creates the key was refused because there is none");
	else
		return false;
	return true;
}

/* Where a call stands among the versions: 2v makes or sees v; 2v - 1 makes it. */
static bool is_before(const struct event_op *a, const struct event_op *b) {
	if (a->version != b->version)
		return a->version < b->version;
	return a->kind == STEP_WRITE && b->kind == STEP_READ;
}

static bool is_backward(const struct event_op *a, const struct event_op *b, char *reason) {
	if (a->return_ns >= b->call_ns || !is_before(b, a))
		return false;
	if (a->version == b->version)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "version %llu was seen before the call that made it began",
			       (number)a->told);
	else if (b->kind == STEP_READ && b->version == 0)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "the key was missing after it had been at version %llu",
			       (number)a->told);
	else
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "version %llu was %s after version %llu had been answered",
			       (number)b->told, b->kind == STEP_WRITE ? "made" : "seen",
			       (number)a->told);
	return true;
}

static bool explain_pair(const struct event_op *a, const struct event_op *b, char *reason) {
	if (!step_tells_version(a) || !step_tells_version(b) || a->free_at != 0 || b->free_at != 0)
		return false;
	if (a->kind == STEP_WRITE && b->kind == STEP_WRITE && a->version == b->version) {
		say_both_made(reason, a);
		return true;
	}
	if (is_backward(a, b, reason) || is_backward(b, a, reason))
		return true;
	(void)snprintf(reason, CHECKER_REASON_MAX, "the two calls tell of different values");
	return true;
}

/* The lowest version that must have been made and no reply claims; 0: there is none. */
static uint64_t first_gap(const struct plan *plan) {
	for (uint64_t version = plan->initial.version + 1; version <= plan->version_max;
	     version++) {
		const struct version_info *info = plan_version(plan, version);
		if (info == NULL || info->writer == PLAN_NONE)
			return version;
	}
	return 0;
}

static void explain_gap(uint64_t gap, size_t opens, char *reason) {
	if (opens == 0)
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "version %llu was there, and no call can have made it", (number)gap);
	else
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "no order of the %zu open calls explains what was seen from "
			       "version %llu on",
			       opens, (number)gap);
}

void explain(const struct plan *plan, char reason[CHECKER_REASON_MAX]) {
	const struct event_op *answered[2] = {NULL, NULL};
	uint64_t gap = first_gap(plan);
	size_t answers = 0;
	size_t opens = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct event_op *step = &plan->steps[i];
		if (step->kind == STEP_OPEN)
			opens++;
		else if (step->kind != STEP_PLACEHOLDER) {
			if (answers < 2)
				answered[answers] = step;
			answers++;
		}
	}
	if (answers == 1 && is_absurd(answered[0], plan->initial.has_ends, reason))
		return;
	if (answers == 2 && opens == 0 && (plan->has_filler || gap == 0) &&
	    explain_pair(answered[0], answered[1], reason))
		return;
	if (!plan->has_filler && gap != 0 && plan->is_complete && !plan->initial.has_ends) {
		explain_gap(gap, opens, reason);
		return;
	}
	if (answers + opens == 1)
		(void)snprintf(reason, CHECKER_REASON_MAX, "no order explains this call");
	else
		(void)snprintf(reason, CHECKER_REASON_MAX,
			       "no order of these %zu calls explains them", answers + opens);
}

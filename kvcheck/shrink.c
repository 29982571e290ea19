/* SPDX-License-Identifier: BSD-3-Clause */
#include "shrink.h"

#include <stdlib.h>
#include <string.h>

#include "explain.h"

/*
 * What is tried: the calls that are kept, of those that have to do with versions from `least` to
 * `most`. All orders of a history's calls pass through its versions one by one: what happened from
 * one version to another is an order of the calls in between.
 */
struct part {
	const struct event_op *steps;
	size_t count;
	bool *is_kept; /* answered calls; open ones are in unless has_filler */
	uint64_t least;
	uint64_t most;
	bool has_filler;
	struct initial_state initial;
	struct search_limits *limits;
};

static bool is_within(const struct part *part, const struct event_op *step) {
	if (step->kind == STEP_OPEN || !step_tells_version(step) || part->initial.has_ends)
		return true;
	return step->version <= part->most &&
	       (step->kind == STEP_READ ? step->version >= part->least
					: step->version > part->least);
}

static uint64_t last_return(const struct part *part) {
	uint64_t last_ns = 0;

	for (size_t i = 0; i < part->count; i++) {
		const struct event_op *step = &part->steps[i];
		if (part->is_kept[i] && step->kind != STEP_OPEN && is_within(part, step) &&
		    step->return_ns > last_ns)
			last_ns = step->return_ns;
	}
	return last_ns;
}

/* False: no memory. */
static bool make_plan(const struct part *part, struct plan *plan) {
	struct initial_state initial = part->initial;
	struct event_op *steps = malloc((part->count + 1) * sizeof(*steps));
	uint64_t last_ns = last_return(part);
	size_t count = 0;

	if (steps == NULL)
		return false;
	if (part->least != part->initial.version) {
		initial.version = part->least;
		initial.is_known = false;
	}
	for (size_t i = 0; i < part->count; i++) {
		const struct event_op *step = &part->steps[i];
		if (!is_within(part, step))
			continue;
		/* A call that began after all answers explains none. */
		if (step->kind == STEP_OPEN && (part->has_filler || step->call_ns > last_ns))
			continue;
		if (step->kind != STEP_OPEN && !part->is_kept[i] && step->kind == STEP_READ)
			continue;
		steps[count] = *step;
		/* It tells nothing any more but that there is such a version. */
		if (step->kind == STEP_WRITE && !part->is_kept[i]) {
			steps[count].kind = STEP_PLACEHOLDER;
			steps[count].has_got = false;
		}
		count++;
	}
	return plan_make(plan, steps, count, initial, part->has_filler);
}

/* Whether the part still cannot be ordered. If that cannot be told, it is not taken. */
static bool is_stuck(const struct part *part) {
	struct plan plan;
	uint32_t stuck = 0;

	if (!make_plan(part, &plan))
		return false;
	enum search_answer answer = search_run(&plan, part->limits, &stuck);
	plan_free(&plan);
	return answer == SEARCH_STUCK;
}

/* The least end and then the greatest start for which it cannot be ordered. */
static void narrow(struct part *part) {
	uint64_t least = part->least;
	uint64_t most = part->most;

	while (least < most) {
		part->most = least + (most - least) / 2;
		if (is_stuck(part))
			most = part->most;
		else
			least = part->most + 1;
	}
	part->most = most;
	least = part->least;
	while (least < most) {
		part->least = most - (most - least) / 2;
		if (is_stuck(part))
			least = part->least;
		else
			most = part->least - 1;
	}
	part->least = least;
}

static bool tells_no_version(const struct event_op *step) {
	return step->kind != STEP_OPEN && !step_tells_version(step);
}

/*
 * Leaves out what tells no version, if the rest still cannot be ordered. Returns whether all that
 * is kept tells its version. Only then may the range become narrower: the others may stand
 * anywhere, and a refusal that is right outside of the range would seem wrong within it.
 */
static bool drop_unversioned(struct part *part) {
	bool is_needed = false;

	for (size_t i = 0; i < part->count; i++)
		if (tells_no_version(&part->steps[i])) {
			/* A write is needed for what is built on it. */
			is_needed = is_needed || part->steps[i].kind != STEP_READ;
			part->is_kept[i] = false;
		}
	if (!is_needed && is_stuck(part))
		return true;
	is_needed = false;
	for (size_t i = 0; i < part->count; i++)
		if (tells_no_version(&part->steps[i])) {
			is_needed = true;
			part->is_kept[i] = true;
		}
	return !is_needed;
}

/* What was called after the search was stuck has little to do with it. */
static void drop_later(struct part *part, uint64_t time_ns) {
	bool *is_kept = part->is_kept;
	bool *earlier = malloc((part->count + 1) * sizeof(*earlier));

	if (earlier == NULL)
		return;
	for (size_t i = 0; i < part->count; i++)
		earlier[i] = part->steps[i].call_ns <= time_ns;
	part->is_kept = earlier;
	if (is_stuck(part))
		memcpy(is_kept, earlier, part->count * sizeof(*is_kept));
	part->is_kept = is_kept;
	free(earlier);
}

/* An answer that tells no version may stand for any, and is kept if it is a write. */
static bool can_go(const struct part *part, size_t index) {
	const struct event_op *step = &part->steps[index];

	return part->is_kept[index] && step->kind != STEP_OPEN && is_within(part, step) &&
	       (step->kind == STEP_READ || step->version != 0);
}

/* Leaves out the listed calls if the rest still cannot be ordered. */
static void try_without(struct part *part, const size_t *list, size_t count) {
	for (size_t i = 0; i < count; i++)
		part->is_kept[list[i]] = false;
	if (count == 0 || is_stuck(part))
		return;
	for (size_t i = 0; i < count; i++)
		part->is_kept[list[i]] = true;
}

/*
 * Leaves out calls in shorter and shorter runs. One that cannot go now never can: with less of the
 * others left, all the more can be explained. So one round of each length is enough.
 */
static bool leave_out(struct part *part) {
	size_t *list = malloc((part->count + 1) * sizeof(*list));
	size_t count = 0;

	if (list == NULL)
		return false;
	for (size_t i = 0; i < part->count; i++) {
		if (can_go(part, i))
			list[count++] = i;
	}
	for (size_t run = (count + 1) / 2; count > 0; run = (run + 1) / 2) {
		size_t left = 0;
		for (size_t i = 0; i < count; i += run)
			try_without(part, list + i, run < count - i ? run : count - i);
		for (size_t i = 0; i < count; i++) {
			if (part->is_kept[list[i]])
				list[left++] = list[i];
		}
		count = left;
		if (run == 1)
			break;
	}
	free(list);
	return true;
}

static int by_call(const void *a, const void *b) {
	const struct event_op *first = a;
	const struct event_op *second = b;

	if (first->call_ns != second->call_ns)
		return first->call_ns < second->call_ns ? -1 : 1;
	return first->index < second->index ? -1 : first->index > second->index;
}

static bool tell(const struct part *part, struct checker_report *report) {
	struct plan plan;

	if (!make_plan(part, &plan))
		return false;
	explain(&plan, report->reason);
	report->calls = malloc((plan.count + 1) * sizeof(*report->calls));
	if (report->calls != NULL) {
		qsort(plan.steps, plan.count, sizeof(*plan.steps), by_call);
		for (size_t i = 0; i < plan.count; i++) {
			if (plan.steps[i].kind != STEP_PLACEHOLDER)
				report->calls[report->call_count++] = plan.steps[i].index;
		}
	}
	plan_free(&plan);
	return report->calls != NULL;
}

bool shrink(const struct event_op *steps, size_t count, struct initial_state initial,
	    struct search_limits *limits, struct checker_report *report) {
	struct part part = {
	    .steps = steps,
	    .count = count,
	    .least = initial.version,
	    .most = initial.version,
	    .initial = initial,
	    .limits = limits,
	};
	struct plan plan;
	uint32_t stuck = 0;
	bool is_done = false;
	bool is_versioned;

	part.is_kept = malloc((count + 1) * sizeof(*part.is_kept));
	if (part.is_kept == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		part.is_kept[i] = true;
		if (steps[i].kind == STEP_OPEN)
			continue;
		if (steps[i].version > part.most)
			part.most = steps[i].version;
	}
	if (!make_plan(&part, &plan))
		goto done;
	if (search_run(&plan, limits, &stuck) == SEARCH_STUCK) {
		uint64_t time_ns = plan.steps[stuck].return_ns;
		plan_free(&plan);
		drop_later(&part, time_ns);
		/* Where keys end, one that is missing may be so between any versions. */
		is_versioned = drop_unversioned(&part) && !initial.has_ends;
		if (is_versioned)
			narrow(&part);
		/* Fillers make versions for ever unless it is known where the versions end. */
		part.has_filler = is_versioned && part.most - part.least <= 4 * count;
		part.has_filler = part.has_filler && is_stuck(&part);
		is_done = leave_out(&part);
	} else {
		plan_free(&plan);
	}
	is_done = tell(&part, report) && is_done;
	report->start_version = part.least;
	report->is_shortest = is_done && limits->steps_left > 0;
done:
	free(part.is_kept);
	return is_done;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "event_sort.h"

enum {
	GAP_WORK_MAX = 20 * 1000 * 1000,   /* gaps times open calls that are compared */
	SEEK_WORK_MAX = 100 * 1000 * 1000, /* bytes that are looked through */
};

bool step_from(struct step *step, const struct history_call *call, size_t index) {
	enum history_outcome meaning = history_outcome(call);
	bool is_write = call->op != HISTORY_GET;

	if (meaning == HISTORY_NO_EFFECT)
		return false;
	*step = (struct step){
	    .index = (uint32_t)index,
	    .op = call->op,
	    .kind = STEP_READ,
	    .status = call->status,
	    .call_ns = call->call_ns,
	    .return_ns = call->return_ns < call->call_ns ? call->call_ns : call->return_ns,
	    .expected = call->expected,
	};
	if (is_write) {
		step->value = call->value;
		step->value_digest = rolling_hash(call->value);
	}
	if (meaning == HISTORY_INDETERMINATE) {
		step->kind = STEP_OPEN;
		step->return_ns = HISTORY_OPEN;
		return true;
	}
	if (is_write && call->status == KV_OK)
		step->kind = STEP_WRITE;
	if (call->status != KV_NOKEY)
		step->version = call->version;
	if (call->status == KV_OK && call->has_got && call->op != HISTORY_PUT) {
		step->has_got = true;
		step->got = call->got;
		step->got_digest = rolling_hash(call->got);
	}
	/* A conditional write makes the version after the one that it expects. */
	if (step->kind == STEP_WRITE && step->version == 0 && step->expected != HISTORY_ANY)
		step->version = step->expected + 1;
	return true;
}

bool step_tells_version(const struct step *step) {
	return step->version != 0 || step->status == KV_NOKEY;
}

const struct fact *plan_fact(const struct plan *plan, uint64_t version) {
	uint64_t at = version - plan->beginning.version;

	return version >= plan->beginning.version && at < plan->fact_count ? &plan->facts[at]
									   : NULL;
}

static struct fact *fact_at(struct plan *plan, uint64_t version) {
	return (struct fact *)plan_fact(plan, version);
}

static bool is_claim(const struct step *step) {
	return (step->kind == STEP_WRITE || step->kind == STEP_PLACEHOLDER) && step->version != 0;
}

static void saw(struct plan *plan, uint64_t version, struct kv_bytes value, struct digest digest) {
	struct fact *fact = fact_at(plan, version);

	/* If two saw different values, the search finds that one of them is wrong. */
	if (fact == NULL || fact->is_seen)
		return;
	fact->is_seen = true;
	fact->value = value;
	fact->digest = digest;
}

/* How many versions can be made, and so how far the facts go. */
static size_t versions_within_reach(const struct plan *plan) {
	uint64_t span = plan->version_most > plan->beginning.version
			    ? plan->version_most - plan->beginning.version
			    : 0;
	size_t writes = 0;

	for (size_t i = 0; i < plan->count; i++)
		writes += plan->steps[i].kind != STEP_READ;
	return !plan->has_filler && (!plan->is_complete || span > writes) ? writes : (size_t)span;
}

static void look_at_answers(struct plan *plan) {
	for (size_t i = 0; i < plan->count; i++) {
		const struct step *step = &plan->steps[i];
		struct fact *fact = fact_at(plan, step->version);

		/* A call that is there comes before one that was left out. */
		if (fact != NULL && is_claim(step) &&
		    (fact->claimer == PLAN_NONE || plan->steps[fact->claimer].kind == STEP_PLACEHOLDER))
			fact->claimer = (uint32_t)i;
		if (!step->has_got || step->version == 0)
			continue;
		if (step->op == HISTORY_GET)
			saw(plan, step->version, step->got, step->got_digest);
		else if (step->version > 1)
			saw(plan, step->version - 1, step->got, step->got_digest);
	}
}

static bool ends_with(struct kv_bytes value, struct kv_bytes end) {
	return value.size >= end.size &&
	       (end.size == 0 || memcmp((const uint8_t *)value.data + value.size - end.size,
					end.data, end.size) == 0);
}

/* What was seen after an Append tells what stood there before it. */
static void look_back(struct plan *plan) {
	for (size_t i = plan->fact_count; i-- > 1;) {
		const struct fact *fact = &plan->facts[i];
		const struct step *step;

		if (!fact->is_seen || fact->claimer == PLAN_NONE || plan->facts[i - 1].is_seen)
			continue;
		step = &plan->steps[fact->claimer];
		if (step->kind != STEP_WRITE || step->op != HISTORY_APPEND ||
		    !ends_with(fact->value, step->value))
			continue;
		struct kv_bytes before = {fact->value.data, fact->value.size - step->value.size};
		saw(plan, plan->beginning.version + i - 1, before,
		    rolling_hash_strip(fact->digest, step->value_digest));
	}
}

/*
 * Nothing can be seen of the value in a gap if nothing was, and the next version does not stand on
 * it, or is one of which nothing can be seen either.
 */
static void find_irrelevant(struct plan *plan) {
	bool is_hidden = true; /* of the version above the one that is looked at */

	if (!plan->is_complete)
		return;
	for (size_t i = plan->fact_count; i-- > 0;) {
		struct fact *fact = &plan->facts[i];

		if (i + 1 < plan->fact_count) {
			const struct fact *next = &plan->facts[i + 1];
			const struct step *step =
			    next->claimer != PLAN_NONE ? &plan->steps[next->claimer] : NULL;
			bool stands_on_it = step == NULL || (step->kind == STEP_WRITE &&
							     step->op == HISTORY_APPEND);
			is_hidden = !stands_on_it || (is_hidden && !next->is_seen);
		}
		fact->is_irrelevant = is_hidden && !fact->is_seen && fact->claimer == PLAN_NONE;
	}
}

static bool may_fill(const struct plan *plan, const struct step *step, size_t gap) {
	const struct fact *fact = &plan->facts[gap];

	if (step->expected != HISTORY_ANY && plan->beginning.version + gap != step->expected + 1)
		return false;
	if (!fact->is_seen)
		return true;
	return step->op == HISTORY_PUT ? digest_equal(step->value_digest, fact->digest)
				       : ends_with(fact->value, step->value);
}

/* The gaps, as places in the facts, in memory of the caller's; NULL: no memory, or too many. */
static size_t *list_gaps(const struct plan *plan, size_t opens, size_t *count) {
	size_t gaps = 0;
	size_t *list;

	for (size_t i = 1; i < plan->fact_count; i++)
		gaps += plan->facts[i].claimer == PLAN_NONE;
	*count = 0;
	if (gaps > GAP_WORK_MAX / opens)
		return NULL;
	list = malloc((gaps + 1) * sizeof(*list));
	for (size_t i = 1; list != NULL && i < plan->fact_count; i++) {
		if (plan->facts[i].claimer == PLAN_NONE)
			list[(*count)++] = i;
	}
	return list;
}

/* Removes the steps marked. Steps move up, and the facts follow. */
static void remove_steps(struct plan *plan, const bool *is_removed) {
	size_t kept = 0;

	for (size_t i = 0; i < plan->count; i++) {
		struct fact *fact = fact_at(plan, plan->steps[i].version);
		if (is_removed[i])
			continue;
		if (is_claim(&plan->steps[i]) && fact != NULL && fact->claimer == i)
			fact->claimer = (uint32_t)kept;
		plan->steps[kept++] = plan->steps[i];
	}
	plan->count = kept;
}

/*
 * Whether it matters that it is this call that fills a gap that it fits. If nothing was seen there
 * but in a version above, by way of Appends, its bytes must be part of that; if they are not, it
 * can only have been overwritten by an open Put, as anything else would have been.
 */
static bool is_useful(const struct plan *plan, const struct step *step, size_t gap,
		      size_t *work_left) {
	const struct fact *fact = &plan->facts[gap];
	size_t work;

	if (fact->is_irrelevant)
		return false;
	while (!fact->is_seen && fact + 1 < plan->facts + plan->fact_count)
		fact++;
	work = (size_t)(fact - &plan->facts[gap]) + fact->value.size + 1;
	if (fact == &plan->facts[gap] || !fact->is_seen || work > *work_left)
		return true;
	*work_left -= work;
	return memmem(fact->value.data, fact->value.size, step->value.data, step->value.size) !=
	       NULL;
}

/*
 * Leaves out the open calls that fit no gap: they took no effect, or one that nobody can see. And
 * finds where the others matter. The fewer choices are left, the fewer orders there are to try.
 */
static void sort_out_opens(struct plan *plan) {
	size_t opens = 0;
	size_t gap_count = 0;
	size_t work_left = SEEK_WORK_MAX;

	for (size_t i = 0; i < plan->count; i++) {
		opens += plan->steps[i].kind == STEP_OPEN;
		plan->steps[i].useful_until = UINT64_MAX;
	}
	if (!plan->is_complete || opens == 0)
		return;
	size_t *gaps = list_gaps(plan, opens, &gap_count);
	bool *is_useless = calloc(plan->count, sizeof(*is_useless));
	for (size_t i = 0; gaps != NULL && is_useless != NULL && i < plan->count; i++) {
		struct step *step = &plan->steps[i];
		if (step->kind != STEP_OPEN)
			continue;
		is_useless[i] = true;
		step->useful_until = 0;
		for (size_t j = gap_count; j-- > 0 && step->useful_until == 0;) {
			if (!may_fill(plan, step, gaps[j]))
				continue;
			is_useless[i] = false;
			if (is_useful(plan, step, gaps[j], &work_left))
				step->useful_until = plan->beginning.version + gaps[j];
		}
	}
	if (gaps != NULL && is_useless != NULL)
		remove_steps(plan, is_useless);
	free(is_useless);
	free(gaps);
}

static bool make_events(struct plan *plan) {
	size_t count = 0;
	size_t pending = 0;

	plan->events = malloc((2 * plan->count + 1) * sizeof(*plan->events));
	if (plan->events == NULL)
		return false;
	for (size_t i = 0; i < plan->count; i++) {
		const struct step *step = &plan->steps[i];
		if (step->kind != STEP_PLACEHOLDER)
			plan->events[count++] = (struct event){step->call_ns, (uint32_t)i, false};
	}
	for (size_t i = 0; i < plan->count; i++) {
		const struct step *step = &plan->steps[i];
		if (step->kind == STEP_READ || step->kind == STEP_WRITE)
			plan->events[count++] = (struct event){step->return_ns, (uint32_t)i, true};
	}
	/* The order is stable, and all calls stand before the returns. */
	if (!event_sort(plan->events, count))
		return false;
	plan->event_count = count;
	for (size_t i = 0; i < count; i++) {
		pending = plan->events[i].is_return ? pending - 1 : pending + 1;
		if (pending > plan->pending_most)
			plan->pending_most = pending;
	}
	return true;
}

bool plan_make(struct plan *plan, struct step *steps, size_t count, struct beginning beginning,
	       bool has_filler) {
	*plan = (struct plan){
	    .beginning = beginning,
	    .has_filler = has_filler,
	    .is_complete = true,
	    .version_most = beginning.version,
	    .steps = steps,
	    .count = count,
	};
	for (size_t i = 0; i < count; i++) {
		if (steps[i].kind == STEP_OPEN)
			continue;
		plan->is_complete = plan->is_complete && step_tells_version(&steps[i]);
		if (steps[i].version > plan->version_most)
			plan->version_most = steps[i].version;
	}
	plan->fact_count = versions_within_reach(plan) + 1;
	plan->facts = calloc(plan->fact_count, sizeof(*plan->facts));
	if (plan->facts == NULL) {
		plan_free(plan);
		return false;
	}
	for (size_t i = 0; i < plan->fact_count; i++)
		plan->facts[i].claimer = PLAN_NONE;
	look_at_answers(plan);
	look_back(plan);
	find_irrelevant(plan);
	sort_out_opens(plan);
	if (!make_events(plan)) {
		plan_free(plan);
		return false;
	}
	return true;
}

void plan_free(struct plan *plan) {
	free(plan->steps);
	free(plan->facts);
	free(plan->events);
	*plan = (struct plan){0};
}

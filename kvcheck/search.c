/* SPDX-License-Identifier: BSD-3-Clause */
#include "search.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "state_set.h"

enum {
	NO_SLOT = UINT32_MAX,
	PROGRESS_EACH = 4096, /* events */
};

/* Steps under way, in no order. */
struct list {
	uint32_t *steps;
	size_t count;
};

/*
 * `now` is where the search may be after the last event; `next` is made from it at a return, and
 * `seen` is every state on the way. A step has a slot, its bit in each state, from its
 * call to its return; slots of open steps are never given back.
 */
struct search {
	const struct plan *plan;
	struct search_limits *limits;
	struct state_set now;
	struct state_set next;
	struct state_set seen;
	struct search_state *scratch;
	size_t words;
	uint32_t *slots; /* of each step */
	uint32_t *free_slots;
	size_t free_count;
	struct list reads;   /* under way */
	struct list writers; /* under way, and perhaps in a gap: open, or without a version */
	struct list tried;   /* in the gap at hand */
	uint64_t now_ns;     /* the time of the event at hand */
	enum search_answer answer;
};

static void stop(struct search *search, enum search_answer answer) {
	if (search->answer == SEARCH_ORDERED)
		search->answer = answer;
}

static bool count_step(struct search *search) {
	if (search->limits->steps_left == 0) {
		stop(search, SEARCH_TOO_LONG);
		return false;
	}
	search->limits->steps_left--;
	return true;
}

static void list_remove(struct list *list, uint32_t step) {
	for (size_t i = 0; i < list->count; i++) {
		if (list->steps[i] == step) {
			list->steps[i] = list->steps[--list->count];
			return;
		}
	}
}

static struct search_state *copy_of(struct search *search, const struct search_state *state) {
	memcpy(search->scratch, state, sizeof(*state) + search->words * sizeof(uint64_t));
	return search->scratch;
}

static void apply_read(const struct search *search, uint32_t index, struct search_state *state) {
	const struct event_op *step = &search->plan->steps[index];

	if (search_state_has(state, search->slots[index]) || !model_matches_read(step, state))
		return;
	model_apply_read(step, state);
	search_state_set(state, search->slots[index]);
}

static void apply_reads(const struct search *search, struct search_state *state) {
	for (size_t i = 0; i < search->reads.count; i++)
		apply_read(search, search->reads.steps[i], state);
}

static void set_unknown(struct search_state *state) {
	state->is_known = false;
	state->value = (struct digest){0};
}

/* Whether the value in this state may be the one that was seen. */
static bool may_be(const struct search_state *state, const struct version_info *info) {
	size_t size = state->value.size;

	if (state->is_known)
		return digest_equal(state->value, info->digest);
	if (size > info->value.size)
		return false;
	struct kv_bytes end = {(const uint8_t *)info->value.data + (info->value.size - size), size};
	return size == 0 || digest_equal(state->value, rolling_hash(end));
}

/* Adds the state that was just written to, if what is known of its version allows it. */
static void add_state(struct search *search, struct search_state *state,
		      const struct version_info *info) {
	if (!count_step(search))
		return;
	/* Of a key that floats or is missing no value was seen. */
	if (state->is_floating || state->is_missing)
		info = NULL;
	if (info != NULL && info->is_irrelevant)
		set_unknown(state);
	if (info != NULL && info->is_seen) {
		if (!may_be(state, info))
			return;
		state->is_known = true;
		state->value = info->digest;
	}
	apply_reads(search, state);
	if (!state_set_add(&search->seen, state))
		stop(search, SEARCH_TOO_BIG);
}

/* An open call that matters in no version above this one. */
static bool is_spare(const struct event_op *step, uint64_t version) {
	return step->useful_until <= version && step->expected == HISTORY_ANY;
}

/*
 * Of the open calls that do not matter any more it is all the same which took effect: let it be the
 * first. So states that differ in nothing else are one.
 */
static void normalize(const struct search *search, struct search_state *state) {
	const struct event_op *steps = search->plan->steps;
	size_t taken = 0;

	if (!search->plan->is_complete)
		return;
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		if (is_spare(&steps[index], state->version))
			taken += search_state_has(state, search->slots[index]);
	}
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		if (!is_spare(&steps[index], state->version))
			continue;
		if (taken > 0) {
			search_state_set(state, search->slots[index]);
			taken--;
		} else {
			search_state_unset(state, search->slots[index]);
		}
	}
}

/* Where a write goes. */
struct target {
	uint64_t version; /* or above, if it floats */
	bool is_floating;
	const struct version_info *info; /* of the version; NULL: nothing is known of it */
};

static void write_at(struct search *search, const struct search_state *from, uint32_t index,
		     const struct target *target) {
	struct search_state *state = copy_of(search, from);

	model_apply(&search->plan->steps[index], target->version, target->is_floating, state);
	search_state_set(state, search->slots[index]);
	if (search->plan->steps[index].kind == STEP_OPEN)
		normalize(search, state);
	add_state(search, state, target->info);
}

/* A call that was left out wrote there; what it wrote is not known. */
static void write_anything(struct search *search, const struct search_state *from, bool is_end,
			   const struct target *target) {
	struct search_state *state = copy_of(search, from);

	if (is_end) {
		model_end(target->version, state);
	} else {
		state->version = target->version;
		state->is_missing = false;
		state->is_floating = false;
		state->end_ns = search->plan->initial.has_ttl ? 0 : END_NEVER;
		set_unknown(state);
	}
	add_state(search, state, target->info);
}

static bool is_same(const struct event_op *a, const struct event_op *b) {
	return a->kind == STEP_OPEN && b->kind == STEP_OPEN && a->op == b->op &&
	       a->expected == b->expected && a->ttl_ms == b->ttl_ms &&
	       digest_equal(a->value_digest, b->value_digest);
}

/*
 * Two open calls that do the same stand for each other, and so do two that do not matter here or
 * above: one of them is tried.
 */
static bool was_tried(const struct search *search, uint32_t index, uint64_t version) {
	const struct event_op *steps = search->plan->steps;
	const struct event_op *step = &steps[index];
	bool does_not_matter = step->useful_until < version && step->expected == HISTORY_ANY;

	for (size_t i = 0; i < search->tried.count; i++) {
		const struct event_op *other = &steps[search->tried.steps[i]];
		if (is_same(other, step))
			return true;
		if (does_not_matter && other->useful_until < version &&
		    other->expected == HISTORY_ANY)
			return true;
	}
	return false;
}

/*
 * Whether a write that fits is as good in this gap as any other, so that no other need be tried. If
 * it makes no difference what is written here, a conditional write costs nothing, for it is of use
 * in no other gap; next comes a spare one, which matters in no gap above: there another serves as
 * well.
 */
enum merit { MERIT_NONE, MERIT_SPARE, MERIT_ONLY_HERE };

static enum merit merit_of(const struct plan *plan, const struct event_op *step, uint64_t version,
			   const struct version_info *info) {
	/* Of an answered write without a version one cannot do without. */
	if (info == NULL || !plan->is_complete || plan->initial.has_ends ||
	    (!info->is_seen && !info->is_irrelevant))
		return MERIT_NONE;
	if (step->expected != HISTORY_ANY)
		return MERIT_ONLY_HERE;
	return is_spare(step, version) ? MERIT_SPARE : MERIT_NONE;
}

static bool fits(const struct search *search, const struct search_state *from, uint32_t index,
		 const struct target *target) {
	const struct plan *plan = search->plan;
	const struct event_op *step = &plan->steps[index];
	const struct version_info *info = target->info;
	struct search_state after = *from;

	if (search_state_has(from, search->slots[index]) || !model_can_apply(plan, step, from))
		return false;
	/* Versions that are not known may be the one that it expects. */
	if (from->is_floating && step->expected != HISTORY_ANY &&
	    (target->is_floating || target->version != step->expected + 1))
		return false;
	if (info == NULL || target->is_floating)
		return true;
	if (step->op == HISTORY_DELETE)
		return !info->is_told && !info->is_seen;
	if (!info->is_seen)
		return true;
	model_apply(step, target->version, false, &after);
	return may_be(&after, info);
}

/* No answer claims the version above this state: all writes that may have made it are tried. */
static void fill_gap(struct search *search, const struct search_state *from,
		     const struct target *target) {
	enum merit best = MERIT_NONE;

	search->tried.count = 0;
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		enum merit merit = merit_of(search->plan, &search->plan->steps[index],
					    target->version, target->info);
		if ((best != MERIT_NONE && merit <= best) || !fits(search, from, index, target) ||
		    was_tried(search, index, target->version))
			continue;
		if (merit > best) {
			best = merit;
			search->tried.count = 0;
		}
		search->tried.steps[search->tried.count++] = index;
	}
	for (size_t i = 0; i < search->tried.count && search->answer == SEARCH_ORDERED; i++)
		write_at(search, from, search->tried.steps[i], target);
}

/* Whether an answer tells of the version, so that no unseen write made it. */
static bool is_told(const struct version_info *info) {
	return info != NULL && (info->is_told || info->is_seen || info->writer != PLAN_NONE);
}

/* The write that claims a version. */
static void write_claimed(struct search *search, const struct search_state *from,
			  const struct target *target) {
	const struct plan *plan = search->plan;
	uint32_t index = target->info->writer;
	const struct event_op *step = &plan->steps[index];
	uint32_t slot = search->slots[index];

	if (step->kind == STEP_PLACEHOLDER) {
		if (step->op != HISTORY_DELETE || !from->is_missing)
			write_anything(search, from, step->op == HISTORY_DELETE, target);
	} else if (slot != NO_SLOT && !search_state_has(from, slot) &&
		   model_can_apply(plan, step, from)) {
		write_at(search, from, index, target);
	}
}

/* The ttl of the key may be over, or was given to it by an open call, and is over. */
static void end_ttl(struct search *search, const struct search_state *from, uint64_t version) {
	uint64_t end_ns = from->end_ns;
	struct search_state *state;

	if (end_ns == END_NEVER)
		end_ns = search->plan->initial.open_touch_ns;
	if (from->is_missing || end_ns > search->now_ns)
		return;
	state = copy_of(search, from);
	model_end(version, state);
	add_state(search, state, NULL);
}

/* Whether the write of that version makes the key as well as any write before it might have. */
static bool needs_no_other(const struct plan *plan, const struct search_state *from,
			   const struct version_info *info) {
	const struct event_op *step = info->writer == PLAN_NONE ? NULL : &plan->steps[info->writer];

	return step != NULL && from->is_missing && step->op == HISTORY_PUT &&
	       (step->expected == HISTORY_ANY || step->expected == 0);
}

/* Conditional calls tell which version it was. */
static void write_where_expected(struct search *search, const struct search_state *from,
				 uint64_t next) {
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		const struct event_op *step = &search->plan->steps[index];
		struct target target = {.version = step->expected + 1};
		if (step->expected == HISTORY_ANY || (next != 0 && target.version >= next))
			continue;
		if (fits(search, from, index, &target))
			write_at(search, from, index, &target);
	}
}

/*
 * The version that the next write makes is not known: of a key that is missing, or that was made at
 * a version of which no answer tells. All that is known is which version comes next of those that
 * are told of, and if all answers tell their version, that is all that matters. If some do not,
 * each version is tried.
 */
static void extend_floating(struct search *search, const struct search_state *from) {
	const struct plan *plan = search->plan;
	uint64_t next = plan_next_told(plan, from->version);
	struct target at_next = {.version = next, .info = plan_version(plan, next)};
	struct target target = {.version = from->version + 1, .is_floating = plan->is_complete};
	uint64_t last = next != 0 ? next - 1 : plan->number_max + 1;

	if (next != 0 && at_next.info->writer != PLAN_NONE)
		write_claimed(search, from, &at_next);
	else if (next != 0)
		fill_gap(search, from, &at_next);
	if (plan->is_complete) {
		/* What is told of no more is seen no more. */
		if (next == 0 || next <= target.version || needs_no_other(plan, from, at_next.info))
			return;
		fill_gap(search, from, &target);
		if (from->is_floating)
			write_where_expected(search, from, next);
		return;
	}
	do {
		fill_gap(search, from, &target);
	} while (++target.version <= last);
}

/* Adds to `seen` what one more write can make of a state. */
static void extend(struct search *search, const struct search_state *from) {
	const struct plan *plan = search->plan;
	struct target target = {.version = from->version + 1,
				.info = plan_version(plan, from->version + 1)};

	if (from->is_floating || (from->is_missing && plan->initial.has_ends)) {
		extend_floating(search, from);
		return;
	}
	if (target.info != NULL && target.info->writer != PLAN_NONE) {
		write_claimed(search, from, &target);
		return;
	}
	/* Above what is told of, it can only be seen that the key is missing. */
	if (plan->is_complete && from->version >= plan->version_max && !plan->initial.has_ends)
		return;
	if (plan->has_filler && from->version < plan->version_max)
		write_anything(search, from, false, &target);
	fill_gap(search, from, &target);
	if (!is_told(target.info))
		end_ttl(search, from, target.version);
}

/* A call begins. */
static void begin(struct search *search, uint32_t index) {
	const struct event_op *step = &search->plan->steps[index];

	search->slots[index] = search->free_slots[--search->free_count];
	switch (step->kind) {
	case STEP_READ:
		search->reads.steps[search->reads.count++] = index;
		for (size_t i = 0; i < search->now.count && count_step(search); i++)
			apply_read(search, index, state_set_at(&search->now, i));
		break;
	case STEP_WRITE:
		if (step->version != 0)
			break;
		search->writers.steps[search->writers.count++] = index;
		break;
	case STEP_OPEN:
		search->writers.steps[search->writers.count++] = index;
		break;
	case STEP_PLACEHOLDER:
		break;
	}
}

/* Fills `next` with the states where the call of that slot has taken effect. */
static void complete_call(struct search *search, uint32_t slot) {
	state_set_clear(&search->seen);
	state_set_clear(&search->next);
	for (size_t i = 0; i < search->now.count && search->answer == SEARCH_ORDERED; i++) {
		if (!count_step(search))
			return;
		if (!state_set_add(&search->seen, state_set_at(&search->now, i)))
			stop(search, SEARCH_TOO_BIG);
	}
	for (size_t i = 0; i < search->seen.count && search->answer == SEARCH_ORDERED; i++) {
		/* The set moves when it grows. */
		const struct search_state *state = state_set_at(&search->seen, i);
		if (search_state_has(state, slot)) {
			struct search_state *done = copy_of(search, state);
			search_state_unset(done, slot);
			if (!state_set_add(&search->next, done))
				stop(search, SEARCH_TOO_BIG);
			continue;
		}
		size_t stride = state_set_stride(&search->seen);
		struct search_state *from =
		    (struct search_state *)((uint8_t *)search->scratch + stride);
		memcpy(from, state, stride);
		extend(search, from);
	}
}

/* A call returns, so it has taken effect. */
static void end(struct search *search, uint32_t index) {
	uint32_t slot = search->slots[index];
	struct state_set now = search->now;

	if (now.count == 1 && search_state_has(state_set_at(&now, 0), slot)) {
		search_state_unset(state_set_at(&now, 0), slot);
	} else {
		complete_call(search, slot);
		search->now = search->next;
		search->next = now;
	}
	if (search->plan->steps[index].kind == STEP_READ)
		list_remove(&search->reads, index);
	else if (search->plan->steps[index].version == 0)
		list_remove(&search->writers, index);
	search->slots[index] = NO_SLOT;
	search->free_slots[search->free_count++] = slot;
}

static bool start(struct search *search) {
	const struct plan *plan = search->plan;
	const struct version_info *info = plan_version(plan, plan->initial.version);
	size_t memory_max = search->limits->memory_max / 3;
	size_t under_way = plan->pending_max + 1;

	search->words = (plan->pending_max + 63) / 64;
	state_set_init(&search->now, search->words, memory_max);
	state_set_init(&search->next, search->words, memory_max);
	state_set_init(&search->seen, search->words, memory_max);
	/* One to be written to, and one to be written from. */
	search->scratch = calloc(2, state_set_stride(&search->now));
	search->slots = malloc((plan->count + 1) * sizeof(*search->slots));
	search->free_slots = malloc(under_way * sizeof(uint32_t));
	search->reads.steps = malloc(under_way * sizeof(uint32_t));
	search->writers.steps = malloc(under_way * sizeof(uint32_t));
	search->tried.steps = malloc(under_way * sizeof(uint32_t));
	if (search->scratch == NULL || search->slots == NULL || search->free_slots == NULL ||
	    search->reads.steps == NULL || search->writers.steps == NULL ||
	    search->tried.steps == NULL)
		return false;
	for (size_t i = 0; i < plan->count; i++)
		search->slots[i] = NO_SLOT;
	for (size_t i = plan->pending_max; i-- > 0;)
		search->free_slots[search->free_count++] = (uint32_t)i;

	search->scratch->version = plan->initial.version;
	search->scratch->is_known = plan->initial.is_known;
	search->scratch->is_missing = plan->initial.version == 0;
	search->scratch->end_ns = plan->initial.end_ns;
	if (info != NULL && info->is_seen && !plan->initial.is_known) {
		search->scratch->is_known = true;
		search->scratch->value = info->digest;
	}
	return state_set_add(&search->now, search->scratch);
}

static void finish(struct search *search) {
	state_set_destroy(&search->now);
	state_set_destroy(&search->next);
	state_set_destroy(&search->seen);
	free(search->scratch);
	free(search->slots);
	free(search->free_slots);
	free(search->reads.steps);
	free(search->writers.steps);
	free(search->tried.steps);
}

enum search_answer search_run(const struct plan *plan, struct search_limits *limits,
			      uint32_t *stuck) {
	struct search search = {.plan = plan, .limits = limits, .answer = SEARCH_ORDERED};
	size_t returns = 0;

	if (!start(&search))
		stop(&search, SEARCH_TOO_BIG);
	for (size_t i = 0; i < plan->event_count && search.answer == SEARCH_ORDERED; i++) {
		const struct event *event = &plan->events[i];
		search.now_ns = event->time_ns;
		if (!event->is_return) {
			begin(&search, event->step);
			continue;
		}
		end(&search, event->step);
		if (search.answer == SEARCH_ORDERED && search.now.count == 0) {
			*stuck = event->step;
			stop(&search, SEARCH_STUCK);
		}
		if (++returns % PROGRESS_EACH == 0 && limits->progress != NULL)
			limits->progress(limits->context, returns);
	}
	finish(&search);
	return search.answer;
}

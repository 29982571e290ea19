/* SPDX-License-Identifier: BSD-3-Clause */
#include "search.h"

#include <stdlib.h>
#include <string.h>

#include "state_set.h"
#include "model.h"

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
 * `seen` is all that was come by on the way. A step has a slot, its bit in each place, from its
 * call to its return; slots of open steps are never given back.
 */
struct search {
	const struct plan *plan;
	struct search_limits *limits;
	struct places now;
	struct places next;
	struct places seen;
	struct place *scratch;
	size_t words;
	uint32_t *slots; /* of each step */
	uint32_t *free_slots;
	size_t free_count;
	struct list sights;  /* under way */
	struct list writers; /* under way, and perhaps in a gap: open, or without a version */
	struct list tried;   /* in the gap at hand */
	enum search_answer answer;
};

static void give_up(struct search *search, enum search_answer answer) {
	if (search->answer == SEARCH_ORDERED)
		search->answer = answer;
}

static bool count_step(struct search *search) {
	if (search->limits->steps_left == 0) {
		give_up(search, SEARCH_TOO_LONG);
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

static struct place *copy_of(struct search *search, const struct place *place) {
	memcpy(search->scratch, place, sizeof(*place) + search->words * sizeof(uint64_t));
	return search->scratch;
}

static void take_sights(const struct search *search, struct place *place) {
	for (size_t i = 0; i < search->sights.count; i++) {
		uint32_t step = search->sights.steps[i];
		if (model_matches_read(&search->plan->steps[step], place))
			place_set(place, search->slots[step]);
	}
}

static void forget_value(struct place *place) {
	place->is_known = false;
	place->value = (struct digest){0};
}

/* Whether the value in this place may be the one that was seen. */
static bool may_be(const struct place *place, const struct fact *fact) {
	size_t size = place->value.size;

	if (place->is_known)
		return digest_equal(place->value, fact->digest);
	if (size > fact->value.size)
		return false;
	struct kv_bytes end = {(const uint8_t *)fact->value.data + (fact->value.size - size), size};
	return size == 0 || digest_equal(place->value, rolling_hash(end));
}

/* Adds the place that was just written to, if what is known of its version allows it. */
static void arrive(struct search *search, struct place *place, const struct fact *fact) {
	if (!count_step(search))
		return;
	if (fact != NULL && fact->is_irrelevant)
		forget_value(place);
	if (fact != NULL && fact->is_seen) {
		if (!may_be(place, fact))
			return;
		place->is_known = true;
		place->value = fact->digest;
	}
	take_sights(search, place);
	if (!state_set_add(&search->seen, place))
		give_up(search, SEARCH_TOO_BIG);
}

/* An open call that matters in no version above this one. */
static bool is_spare(const struct step *step, uint64_t version) {
	return step->useful_until <= version && step->expected == HISTORY_ANY;
}

/*
 * Of the open calls that do not matter any more it is all the same which took effect: let it be the
 * first. So places that differ in nothing else are one.
 */
static void level(const struct search *search, struct place *place) {
	const struct step *steps = search->plan->steps;
	size_t taken = 0;

	if (!search->plan->is_complete)
		return;
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		if (is_spare(&steps[index], place->version))
			taken += place_has(place, search->slots[index]);
	}
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		if (!is_spare(&steps[index], place->version))
			continue;
		if (taken > 0) {
			place_set(place, search->slots[index]);
			taken--;
		} else {
			place_unset(place, search->slots[index]);
		}
	}
}

static void write_at(struct search *search, const struct place *from, uint32_t index,
		     const struct fact *fact) {
	struct place *place = copy_of(search, from);

	model_apply(&search->plan->steps[index], place);
	place_set(place, search->slots[index]);
	if (search->plan->steps[index].kind == STEP_OPEN)
		level(search, place);
	arrive(search, place, fact);
}

/* Somebody who was left out wrote there, we know not what. */
static void write_anything(struct search *search, const struct place *from,
			   const struct fact *fact) {
	struct place *place = copy_of(search, from);

	place->version++;
	forget_value(place);
	arrive(search, place, fact);
}

static bool is_same(const struct step *a, const struct step *b) {
	return a->kind == STEP_OPEN && b->kind == STEP_OPEN && a->op == b->op &&
	       a->expected == b->expected && digest_equal(a->value_digest, b->value_digest);
}

/*
 * Two open calls that do the same stand for each other, and so do two that do not matter here or
 * above: one of them is tried.
 */
static bool was_tried(const struct search *search, uint32_t index, uint64_t version) {
	const struct step *steps = search->plan->steps;
	const struct step *step = &steps[index];
	bool does_not_matter = step->useful_until < version && step->expected == HISTORY_ANY;

	for (size_t i = 0; i < search->tried.count; i++) {
		const struct step *other = &steps[search->tried.steps[i]];
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

static enum merit merit_of(const struct plan *plan, const struct step *step, uint64_t version,
			   const struct fact *fact) {
	/* Of an answered write without a version one cannot do without. */
	if (fact == NULL || !plan->is_complete || (!fact->is_seen && !fact->is_irrelevant))
		return MERIT_NONE;
	if (step->expected != HISTORY_ANY)
		return MERIT_ONLY_HERE;
	return is_spare(step, version) ? MERIT_SPARE : MERIT_NONE;
}

static bool fits(const struct search *search, const struct place *from, uint32_t index,
		 const struct fact *fact) {
	const struct step *step = &search->plan->steps[index];
	struct place after = {
	    .version = from->version, .value = from->value, .is_known = from->is_known};

	if (place_has(from, search->slots[index]) || !model_can_apply(step, from))
		return false;
	if (fact == NULL || !fact->is_seen)
		return true;
	model_apply(step, &after);
	return may_be(&after, fact);
}

/* No answer claims the version above this place: all writes that may have made it are tried. */
static void fill_gap(struct search *search, const struct place *from, const struct fact *fact) {
	enum merit best = MERIT_NONE;

	search->tried.count = 0;
	for (size_t i = 0; i < search->writers.count; i++) {
		uint32_t index = search->writers.steps[i];
		enum merit merit =
		    merit_of(search->plan, &search->plan->steps[index], from->version + 1, fact);
		if ((best != MERIT_NONE && merit <= best) || !fits(search, from, index, fact) ||
		    was_tried(search, index, from->version + 1))
			continue;
		if (merit > best) {
			best = merit;
			search->tried.count = 0;
		}
		search->tried.steps[search->tried.count++] = index;
	}
	for (size_t i = 0; i < search->tried.count && search->answer == SEARCH_ORDERED; i++)
		write_at(search, from, search->tried.steps[i], fact);
}

/* Adds to `seen` what one more write can make of a place. */
static void go_on(struct search *search, const struct place *from) {
	const struct plan *plan = search->plan;
	const struct fact *fact = plan_fact(plan, from->version + 1);

	if (fact != NULL && fact->claimer != PLAN_NONE) {
		const struct step *step = &plan->steps[fact->claimer];
		uint32_t slot = search->slots[fact->claimer];
		if (step->kind == STEP_PLACEHOLDER)
			write_anything(search, from, fact);
		else if (slot != NO_SLOT && !place_has(from, slot) && model_can_apply(step, from))
			write_at(search, from, fact->claimer, fact);
		return;
	}
	if (plan->is_complete && from->version >= plan->version_most)
		return;
	if (plan->has_filler && from->version < plan->version_most)
		write_anything(search, from, fact);
	fill_gap(search, from, fact);
}

/* A call begins. */
static void begin(struct search *search, uint32_t index) {
	const struct step *step = &search->plan->steps[index];

	search->slots[index] = search->free_slots[--search->free_count];
	switch (step->kind) {
	case STEP_READ:
		search->sights.steps[search->sights.count++] = index;
		for (size_t i = 0; i < search->now.count && count_step(search); i++) {
			struct place *place = state_set_at(&search->now, i);
			if (model_matches_read(step, place))
				place_set(place, search->slots[index]);
		}
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

/* Fills `next` with the places where the call of that slot has taken effect. */
static void settle(struct search *search, uint32_t slot) {
	state_set_clear(&search->seen);
	state_set_clear(&search->next);
	for (size_t i = 0; i < search->now.count && search->answer == SEARCH_ORDERED; i++) {
		if (!count_step(search))
			return;
		if (!state_set_add(&search->seen, state_set_at(&search->now, i)))
			give_up(search, SEARCH_TOO_BIG);
	}
	for (size_t i = 0; i < search->seen.count && search->answer == SEARCH_ORDERED; i++) {
		/* The set moves when it grows. */
		const struct place *place = state_set_at(&search->seen, i);
		if (place_has(place, slot)) {
			struct place *done = copy_of(search, place);
			place_unset(done, slot);
			if (!state_set_add(&search->next, done))
				give_up(search, SEARCH_TOO_BIG);
			continue;
		}
		size_t stride = places_stride(&search->seen);
		struct place *from = (struct place *)((uint8_t *)search->scratch + stride);
		memcpy(from, place, stride);
		go_on(search, from);
	}
}

/* A call returns, so it has taken effect. */
static void end(struct search *search, uint32_t index) {
	uint32_t slot = search->slots[index];
	struct places now = search->now;

	if (now.count == 1 && place_has(state_set_at(&now, 0), slot)) {
		place_unset(state_set_at(&now, 0), slot);
	} else {
		settle(search, slot);
		search->now = search->next;
		search->next = now;
	}
	if (search->plan->steps[index].kind == STEP_READ)
		list_remove(&search->sights, index);
	else if (search->plan->steps[index].version == 0)
		list_remove(&search->writers, index);
	search->slots[index] = NO_SLOT;
	search->free_slots[search->free_count++] = slot;
}

static bool start(struct search *search) {
	const struct plan *plan = search->plan;
	const struct fact *fact = plan_fact(plan, plan->beginning.version);
	size_t memory_max = search->limits->memory_max / 3;
	size_t under_way = plan->pending_most + 1;

	search->words = (plan->pending_most + 63) / 64;
	state_set_init(&search->now, search->words, memory_max);
	state_set_init(&search->next, search->words, memory_max);
	state_set_init(&search->seen, search->words, memory_max);
	/* One to be written to, and one to be written from. */
	search->scratch = calloc(2, places_stride(&search->now));
	search->slots = malloc((plan->count + 1) * sizeof(*search->slots));
	search->free_slots = malloc(under_way * sizeof(uint32_t));
	search->sights.steps = malloc(under_way * sizeof(uint32_t));
	search->writers.steps = malloc(under_way * sizeof(uint32_t));
	search->tried.steps = malloc(under_way * sizeof(uint32_t));
	if (search->scratch == NULL || search->slots == NULL || search->free_slots == NULL ||
	    search->sights.steps == NULL || search->writers.steps == NULL ||
	    search->tried.steps == NULL)
		return false;
	for (size_t i = 0; i < plan->count; i++)
		search->slots[i] = NO_SLOT;
	for (size_t i = plan->pending_most; i-- > 0;)
		search->free_slots[search->free_count++] = (uint32_t)i;

	search->scratch->version = plan->beginning.version;
	search->scratch->is_known = plan->beginning.is_known;
	if (fact != NULL && fact->is_seen && !plan->beginning.is_known) {
		search->scratch->is_known = true;
		search->scratch->value = fact->digest;
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
	free(search->sights.steps);
	free(search->writers.steps);
	free(search->tried.steps);
}

enum search_answer search_run(const struct plan *plan, struct search_limits *limits,
			      uint32_t *stuck) {
	struct search search = {.plan = plan, .limits = limits, .answer = SEARCH_ORDERED};
	size_t returns = 0;

	if (!start(&search))
		give_up(&search, SEARCH_TOO_BIG);
	for (size_t i = 0; i < plan->event_count && search.answer == SEARCH_ORDERED; i++) {
		const struct event *event = &plan->events[i];
		if (!event->is_return) {
			begin(&search, event->step);
			continue;
		}
		end(&search, event->step);
		if (search.answer == SEARCH_ORDERED && search.now.count == 0) {
			*stuck = event->step;
			give_up(&search, SEARCH_STUCK);
		}
		if (++returns % PROGRESS_EACH == 0 && limits->progress != NULL)
			limits->progress(limits->context, returns);
	}
	finish(&search);
	return search.answer;
}

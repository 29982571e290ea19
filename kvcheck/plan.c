/* SPDX-License-Identifier: BSD-3-Clause */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "event_sort.h"

enum {
	NUMBERS_EACH = 6,		   /* of a step */
	GAP_WORK_MAX = 20 * 1000 * 1000,   /* gaps times open calls that are compared */
	SEEK_WORK_MAX = 100 * 1000 * 1000, /* bytes that are looked through */
	SPAN_MAX = 4 * 1000 * 1000,	   /* versions of a key that may end */
	MARGIN = 8, /* of a ttl, one part of so many, for clocks that differ */
};

uint64_t end_of_ttl(uint64_t call_ns, uint64_t ttl_ms) {
	uint64_t least_ms = ttl_ms - ttl_ms / MARGIN;

	return least_ms >= (END_NEVER - call_ns) / 1000000 ? END_NEVER - 1
							   : call_ns + least_ms * 1000000;
}

/* What a condition tells is what a Get would, but for one that may hold of a missing key, too. */
static void step_from_check(struct event_op *step, const struct history_call *call) {
	if (call->status != KV_OK)
		return;
	if (call->test == HISTORY_FREE) {
		step->free_at = step->version;
		step->version = 0;
		return;
	}
	step->op = HISTORY_GET;
	if (call->test == HISTORY_AT) {
		step->version = call->expected;
		if (call->expected == 0)
			step->status = KV_NOKEY;
	} else if (call->test == HISTORY_HOLDS) {
		step->has_got = true;
		step->got = call->value;
		step->got_digest = step->value_digest;
	}
}

bool step_from(struct event_op *step, const struct history_call *call, size_t index) {
	enum history_outcome meaning = history_outcome(call);
	bool is_write = history_is_write(call->op);

	if (meaning == HISTORY_NO_EFFECT ||
	    (call->op == HISTORY_TOUCH && meaning == HISTORY_INDETERMINATE))
		return false;
	*step = (struct event_op){
	    .index = (uint32_t)index,
	    .op = call->op,
	    .kind = STEP_READ,
	    .status = call->status,
	    .call_ns = call->call_ns,
	    .return_ns = call->return_ns < call->call_ns ? call->call_ns : call->return_ns,
	    .expected = call->expected,
	    .test = call->test,
	    .ttl_ms = call->ttl_ms,
	};
	if (history_has_value(call)) {
		step->value = call->value;
		step->value_digest = rolling_hash(call->value);
	}
	if (meaning == HISTORY_INDETERMINATE) {
		step->kind = STEP_OPEN;
		step->return_ns = HISTORY_OPEN;
		return true;
	}
	if (is_write && call->status == KV_OK && call->op != HISTORY_TOUCH)
		step->kind = STEP_WRITE;
	if (call->status != KV_NOKEY)
		step->version = call->version;
	if (call->op == HISTORY_CHECK)
		step_from_check(step, call);
	if (call->status == KV_OK && call->has_got &&
	    (call->op == HISTORY_GET || call->op == HISTORY_APPEND)) {
		step->has_got = true;
		step->got = call->got;
		step->got_digest = rolling_hash(call->got);
	}
	/* A conditional write makes the version after the one that it expects. */
	if (step->kind == STEP_WRITE && step->version == 0 && step->expected != HISTORY_ANY &&
	    step->expected != 0)
		step->version = step->expected + 1;
	return true;
}

bool step_tells_version(const struct event_op *step) {
	return step->version != 0 || step->free_at != 0 || step->status == KV_NOKEY;
}

const struct version_info *plan_version(const struct plan *plan, uint64_t version) {
	uint64_t at = version - plan->initial.version;

	return version >= plan->initial.version && at < plan->version_count ? &plan->versions[at]
									    : NULL;
}

uint64_t plan_next_told(const struct plan *plan, uint64_t version) {
	uint64_t first = version < plan->initial.version ? 0 : version - plan->initial.version + 1;

	for (uint64_t i = first; i < plan->version_count; i++)
		if (plan->versions[i].is_told || plan->versions[i].writer != PLAN_NONE)
			return plan->initial.version + i;
	return 0;
}

static struct version_info *version_at(struct plan *plan, uint64_t version) {
	return (struct version_info *)plan_version(plan, version);
}

static bool is_writer(const struct event_op *step) {
	return (step->kind == STEP_WRITE || step->kind == STEP_PLACEHOLDER) && step->version != 0;
}

static void saw(struct plan *plan, uint64_t version, struct kv_bytes value, struct digest digest) {
	struct version_info *info = version_at(plan, version);

	/* If two saw different values, the search finds that one of them is wrong. */
	if (info == NULL || info->is_seen)
		return;
	info->is_seen = true;
	info->value = value;
	info->digest = digest;
}

/* How many versions can be made, and so how many are kept. */
static size_t versions_within_reach(const struct plan *plan) {
	uint64_t span = plan->version_max > plan->initial.version
			    ? plan->version_max - plan->initial.version
			    : 0;
	size_t writes = 0;

	for (size_t i = 0; i < plan->count; i++)
		writes += plan->steps[i].kind != STEP_READ;
	if (plan->initial.has_ends)
		return (size_t)span;
	return !plan->has_filler && (!plan->is_complete || span > writes) ? writes : (size_t)span;
}

static void note_replies(struct plan *plan) {
	for (size_t i = 0; i < plan->count; i++) {
		const struct event_op *step = &plan->steps[i];
		struct version_info *info = version_at(plan, step->version);

		if (info != NULL && step->kind == STEP_READ && step->version != 0)
			info->is_told = true;
		/* A call that is there comes before one that was left out. */
		if (info != NULL && is_writer(step) &&
		    (info->writer == PLAN_NONE ||
		     plan->steps[info->writer].kind == STEP_PLACEHOLDER))
			info->writer = (uint32_t)i;
		if (!step->has_got || step->version == 0)
			continue;
		if (step->op == HISTORY_GET)
			saw(plan, step->version, step->got, step->got_digest);
		else if (step->version > 1 && (step->got.size > 0 || !plan->initial.has_ends))
			saw(plan, step->version - 1, step->got, step->got_digest);
	}
}

static bool ends_with(struct kv_bytes value, struct kv_bytes end) {
	return value.size >= end.size &&
	       (end.size == 0 || memcmp((const uint8_t *)value.data + value.size - end.size,
					end.data, end.size) == 0);
}

/* What was seen after an Append tells what stood there before it. */
static void infer_backwards(struct plan *plan) {
	for (size_t i = plan->version_count; i-- > 1;) {
		const struct version_info *info = &plan->versions[i];
		const struct event_op *step;

		if (!info->is_seen || info->writer == PLAN_NONE || plan->versions[i - 1].is_seen)
			continue;
		step = &plan->steps[info->writer];
		if (step->kind != STEP_WRITE || step->op != HISTORY_APPEND ||
		    !ends_with(info->value, step->value))
			continue;
		struct kv_bytes before = {info->value.data, info->value.size - step->value.size};
		/* Or it made the key. */
		if (before.size == 0 && plan->initial.has_ends)
			continue;
		saw(plan, plan->initial.version + i - 1, before,
		    rolling_hash_strip(info->digest, step->value_digest));
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
	for (size_t i = plan->version_count; i-- > 0;) {
		struct version_info *info = &plan->versions[i];

		if (i + 1 < plan->version_count) {
			const struct version_info *next = &plan->versions[i + 1];
			const struct event_op *step =
			    next->writer != PLAN_NONE ? &plan->steps[next->writer] : NULL;
			bool stands_on_it = step == NULL || (step->kind == STEP_WRITE &&
							     step->op == HISTORY_APPEND);
			/* An append shows what it found, too, if that may have been no key. */
			is_hidden = !stands_on_it || (is_hidden && !next->is_seen &&
						      (step == NULL || !step->has_got));
		}
		info->is_irrelevant = is_hidden && !info->is_seen && info->writer == PLAN_NONE;
	}
}

static bool may_fill(const struct plan *plan, const struct event_op *step, size_t gap) {
	const struct version_info *info = &plan->versions[gap];
	bool may_create = step->expected == 0 && plan->initial.has_ends;

	if (step->expected != HISTORY_ANY && plan->initial.version + gap != step->expected + 1 &&
	    !may_create)
		return false;
	if (!info->is_seen)
		return true;
	if (step->op == HISTORY_DELETE)
		return false;
	return step->op == HISTORY_PUT ? digest_equal(step->value_digest, info->digest)
				       : ends_with(info->value, step->value);
}

/* The gaps, as indexes of the versions, in memory of the caller's; NULL: no memory, or too many. */
static size_t *list_gaps(const struct plan *plan, size_t opens, size_t *count) {
	size_t gaps = 0;
	size_t *list;

	for (size_t i = 1; i < plan->version_count; i++)
		gaps += plan->versions[i].writer == PLAN_NONE;
	*count = 0;
	if (gaps > GAP_WORK_MAX / opens)
		return NULL;
	list = malloc((gaps + 1) * sizeof(*list));
	for (size_t i = 1; list != NULL && i < plan->version_count; i++) {
		if (plan->versions[i].writer == PLAN_NONE)
			list[(*count)++] = i;
	}
	return list;
}

/* Removes the steps marked. Steps move up, and the versions follow. */
static void remove_steps(struct plan *plan, const bool *is_removed) {
	size_t kept = 0;

	for (size_t i = 0; i < plan->count; i++) {
		struct version_info *info = version_at(plan, plan->steps[i].version);
		if (is_removed[i])
			continue;
		if (is_writer(&plan->steps[i]) && info != NULL && info->writer == i)
			info->writer = (uint32_t)kept;
		plan->steps[kept++] = plan->steps[i];
	}
	plan->count = kept;
}

/*
 * Whether it matters that it is this call that fills a gap that it fits. If nothing was seen there
 * but in a version above, by way of Appends, its bytes must be part of that; if they are not, it
 * can only have been overwritten by an open Put, as anything else would have been.
 */
static bool is_useful(const struct plan *plan, const struct event_op *step, size_t gap,
		      size_t *work_left) {
	const struct version_info *info = &plan->versions[gap];
	size_t work;

	if (info->is_irrelevant)
		return false;
	while (!info->is_seen && info + 1 < plan->versions + plan->version_count)
		info++;
	work = (size_t)(info - &plan->versions[gap]) + info->value.size + 1;
	if (info == &plan->versions[gap] || !info->is_seen || work > *work_left)
		return true;
	*work_left -= work;
	return memmem(info->value.data, info->value.size, step->value.data, step->value.size) !=
	       NULL;
}

/*
 * The highest version at which an open delete may have ended the key; 0: none names one. What made
 * that version took effect, though no reply shows it.
 */
static uint64_t last_deleted(const struct plan *plan) {
	uint64_t last = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct event_op *step = &plan->steps[i];
		if (step->kind == STEP_OPEN && step->op == HISTORY_DELETE &&
		    step->expected != HISTORY_ANY && step->expected > last)
			last = step->expected;
	}
	return last > plan->version_max ? last : 0;
}

/*
 * Leaves out the open calls that fit no gap: they took no effect, or one that no reply shows. And
 * finds where the others matter. The fewer choices are left, the fewer orders there are to try.
 */
static void classify_opens(struct plan *plan) {
	size_t opens = 0;
	size_t gap_count = 0;
	size_t work_left = SEEK_WORK_MAX;
	uint64_t deleted = last_deleted(plan);

	for (size_t i = 0; i < plan->count; i++) {
		opens += plan->steps[i].kind == STEP_OPEN;
		plan->steps[i].useful_until = UINT64_MAX;
	}
	if (!plan->is_complete || opens == 0)
		return;
	size_t *gaps = list_gaps(plan, opens, &gap_count);
	bool *is_useless = calloc(plan->count, sizeof(*is_useless));
	for (size_t i = 0; gaps != NULL && is_useless != NULL && i < plan->count; i++) {
		struct event_op *step = &plan->steps[i];
		/* That a key is missing is seen at no version; and a ttl may matter at any. */
		if (step->kind != STEP_OPEN || step->op == HISTORY_DELETE || plan->initial.has_ttl)
			continue;
		if (deleted > 0 && (step->expected == HISTORY_ANY || step->expected < deleted))
			continue;
		is_useless[i] = true;
		step->useful_until = 0;
		for (size_t j = gap_count; j-- > 0 && step->useful_until == 0;) {
			if (!may_fill(plan, step, gaps[j]))
				continue;
			is_useless[i] = false;
			if (is_useful(plan, step, gaps[j], &work_left))
				step->useful_until = plan->initial.version + gaps[j];
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
		const struct event_op *step = &plan->steps[i];
		if (step->kind != STEP_PLACEHOLDER)
			plan->events[count++] = (struct event){step->call_ns, (uint32_t)i, false};
	}
	for (size_t i = 0; i < plan->count; i++) {
		const struct event_op *step = &plan->steps[i];
		if (step->kind == STEP_READ || step->kind == STEP_WRITE)
			plan->events[count++] = (struct event){step->return_ns, (uint32_t)i, true};
	}
	/* The order is stable, and all calls stand before the returns. */
	if (!event_sort(plan->events, count))
		return false;
	plan->event_count = count;
	for (size_t i = 0; i < count; i++) {
		pending = plan->events[i].is_return ? pending - 1 : pending + 1;
		if (pending > plan->pending_max)
			plan->pending_max = pending;
	}
	return true;
}

/* --- Numbers ------------------------------------------------------------------------------------
 */

/* The numbers that matter in order, and what each becomes. */
struct numbers {
	uint64_t *from;
	uint64_t *to;
	size_t count;
};

static int by_number(const void *a, const void *b) {
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return first < second ? -1 : first > second;
}

static void list_numbers(const struct plan *plan, struct numbers *numbers) {
	size_t count = 0;
	size_t kept = 1;

	numbers->from[count++] = plan->initial.version;
	for (size_t i = 0; i < plan->count; i++) {
		const struct event_op *step = &plan->steps[i];
		bool is_known = step->version != 0;
		bool is_expected = step->expected != HISTORY_ANY;

		numbers->from[count++] = is_known ? step->version : 0;
		numbers->from[count++] = is_known ? step->version - 1 : 0;
		numbers->from[count++] = is_expected ? step->expected : 0;
		numbers->from[count++] = is_expected ? step->expected + 1 : 0;
		numbers->from[count++] = step->free_at;
		numbers->from[count++] = step->free_at + 1;
	}
	qsort(numbers->from, count, sizeof(*numbers->from), by_number);
	for (size_t i = 1; i < count; i++)
		if (numbers->from[i] != numbers->from[kept - 1])
			numbers->from[kept++] = numbers->from[i];
	numbers->count = kept;
}

static uint64_t renumber(const struct numbers *numbers, uint64_t number) {
	const uint64_t *found =
	    bsearch(&number, numbers->from, numbers->count, sizeof(*numbers->from), by_number);

	return found == NULL ? number : numbers->to[found - numbers->from];
}

/*
 * Between two numbers that are told of, no more versions are left than the calls without a version
 * can make, and two. False: no memory, or too many are left.
 */
static bool number_anew(struct plan *plan) {
	struct numbers numbers = {
	    .from = malloc((NUMBERS_EACH * plan->count + 1) * sizeof(uint64_t)),
	    .to = malloc((NUMBERS_EACH * plan->count + 1) * sizeof(uint64_t))};
	uint64_t room = 3;
	bool is_done = numbers.from != NULL && numbers.to != NULL;

	if (is_done)
		list_numbers(plan, &numbers);
	for (size_t i = 0; i < plan->count; i++)
		room += plan->steps[i].kind != STEP_READ && plan->steps[i].version == 0;
	for (size_t i = 0; i < numbers.count; i++) {
		uint64_t before = i == 0 ? 0 : numbers.from[i - 1];
		uint64_t step = numbers.from[i] - before;
		numbers.to[i] = (i == 0 ? 0 : numbers.to[i - 1]) + (step < room ? step : room);
	}
	is_done = is_done && numbers.to[numbers.count - 1] <= SPAN_MAX;
	for (size_t i = 0; is_done && i < plan->count; i++) {
		struct event_op *step = &plan->steps[i];
		if (step->version != 0)
			step->version = renumber(&numbers, step->version);
		if (step->expected != HISTORY_ANY)
			step->expected = renumber(&numbers, step->expected);
		if (step->free_at != 0)
			step->free_at = renumber(&numbers, step->free_at);
	}
	if (is_done)
		plan->number_max = numbers.to[numbers.count - 1];
	if (is_done)
		plan->initial.version = renumber(&numbers, plan->initial.version);
	free(numbers.from);
	free(numbers.to);
	return is_done;
}

bool plan_make(struct plan *plan, struct event_op *steps, size_t count,
	       struct initial_state initial, bool has_filler) {
	*plan = (struct plan){
	    .initial = initial,
	    .has_filler = has_filler,
	    .is_complete = true,
	    .version_max = initial.version,
	    .steps = steps,
	    .count = count,
	};
	for (size_t i = 0; i < count; i++) {
		steps[i].told = steps[i].version;
		steps[i].told_expected = steps[i].expected;
	}
	if (initial.has_ends && !number_anew(plan)) {
		plan_free(plan);
		return false;
	}
	plan->version_max = plan->initial.version;
	for (size_t i = 0; i < count; i++) {
		if (steps[i].kind == STEP_OPEN)
			continue;
		plan->is_complete = plan->is_complete && step_tells_version(&steps[i]);
		if (steps[i].version > plan->version_max)
			plan->version_max = steps[i].version;
	}
	plan->version_count = versions_within_reach(plan) + 1;
	plan->versions = calloc(plan->version_count, sizeof(*plan->versions));
	if (plan->versions == NULL) {
		plan_free(plan);
		return false;
	}
	for (size_t i = 0; i < plan->version_count; i++)
		plan->versions[i].writer = PLAN_NONE;
	note_replies(plan);
	infer_backwards(plan);
	find_irrelevant(plan);
	classify_opens(plan);
	if (!make_events(plan)) {
		plan_free(plan);
		return false;
	}
	return true;
}

void plan_free(struct plan *plan) {
	free(plan->steps);
	free(plan->versions);
	free(plan->events);
	*plan = (struct plan){0};
}

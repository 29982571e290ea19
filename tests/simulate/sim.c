/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coroutine.h"

enum { TASKS_MAX = 256 };

struct plan {
	uint64_t at_ms;
	uint64_t order;
	sim_event *event;
	void *context;
	uint64_t number;
};

struct task {
	struct coroutine *coroutine;
	task_body *body;
	void *context;
	uint64_t note;
	uint64_t sleep; /* counts them: an alarm is for one */
	bool is_asleep;
	bool was_woken;
};

/* The plans are a heap: none is due before its parent, (i - 1) / 2. */
struct everything {
	struct sim world;
	struct plan *plans;
	size_t plan_count;
	size_t plan_room;
	uint64_t planned;
	struct task *tasks[TASKS_MAX];
	size_t task_count;
	struct task *running;
};

/* The one world: see the header. */
static struct everything *all;

void *or_die(void *memory) {
	if (memory != NULL)
		return memory;
	(void)fputs("simulate: no memory\n", stderr);
	exit(EXIT_FAILURE);
}

void sim_begin(uint64_t seed, bool is_told) {
	assert(all == NULL);
	all = or_die(calloc(1, sizeof(*all)));
	all->world = (struct sim){.seed = seed,
				  .is_told = is_told,
				  .prng = {.state = seed * 2862933555777941757U + 1},
				  .hash = 14695981039346656037U};
}

void sim_end(void) {
	for (size_t i = 0; i < all->task_count; i++) {
		coroutine_free(all->tasks[i]->coroutine);
		free(all->tasks[i]);
	}
	free(all->plans);
	free(all);
	all = NULL;
}

struct sim *sim(void) {
	return &all->world;
}

/* --- What is due -------------------------------------------------------------------------------
 */

static bool is_before(const struct plan *one, const struct plan *other) {
	return one->at_ms != other->at_ms ? one->at_ms < other->at_ms : one->order < other->order;
}

static void swap(struct plan *one, struct plan *other) {
	struct plan kept = *one;

	*one = *other;
	*other = kept;
}

void sim_schedule(uint64_t at_ms, sim_event *event, void *context, uint64_t number) {
	size_t i = all->plan_count++;

	if (all->plan_count > all->plan_room) {
		all->plan_room = 2 * all->plan_room + 64;
		all->plans = or_die(realloc(all->plans, all->plan_room * sizeof(*all->plans)));
	}
	all->plans[i] = (struct plan){
	    .at_ms = at_ms > all->world.now_ms ? at_ms : all->world.now_ms,
	    .order = all->planned++,
	    .event = event,
	    .context = context,
	    .number = number,
	};
	for (; i > 0 && is_before(&all->plans[i], &all->plans[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&all->plans[i], &all->plans[(i - 1) / 2]);
}

static struct plan next_plan(void) {
	struct plan *plans = all->plans;
	struct plan first = plans[0];
	size_t i = 0;

	plans[0] = plans[--all->plan_count];
	for (;;) {
		size_t least = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < all->plan_count && is_before(&plans[child], &plans[least]))
				least = child;
		if (least == i)
			return first;
		swap(&plans[i], &plans[least]);
		i = least;
	}
}

bool sim_step(uint64_t until_ms) {
	struct plan plan;

	if (sim_has_failed())
		return false;
	if (all->plan_count == 0 || all->plans[0].at_ms > until_ms) {
		if (until_ms != SIM_FOREVER && until_ms > all->world.now_ms)
			all->world.now_ms = until_ms;
		return false;
	}
	plan = next_plan();
	all->world.now_ms = plan.at_ms;
	plan.event(plan.context, plan.number);
	return true;
}

/* --- What is said ------------------------------------------------------------------------------
 */

/* FNV-1a: it tells two logs apart, and no more is asked. */
static void hash_in(const char *text) {
	for (; *text != '\0'; text++)
		all->world.hash = (all->world.hash ^ (unsigned char)*text) * 1099511628211U;
}

void sim_log(const char *format, ...) {
	char line[600];
	va_list arguments;
	int size = snprintf(line, sizeof(line), "%8" PRIu64 ".%03u ", all->world.now_ms / 1000,
			    (unsigned)(all->world.now_ms % 1000));

	va_start(arguments, format);
	(void)vsnprintf(line + size, sizeof(line) - (size_t)size, format, arguments);
	va_end(arguments);
	hash_in(line);
	if (all->world.is_told)
		(void)printf("%s\n", line);
}

void sim_fail(const char *format, ...) {
	char what[sizeof(all->world.failure)];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	sim_log("BROKEN: %s", what);
	if (all->world.failure[0] == '\0')
		memcpy(all->world.failure, what, sizeof(what));
}

bool sim_has_failed(void) {
	return all->world.failure[0] != '\0';
}

/* --- Tasks -------------------------------------------------------------------------------------
 */

static void run(struct task *task) {
	struct task *before = all->running;

	assert(before == NULL);
	all->running = task;
	coroutine_resume(task->coroutine);
	all->running = NULL;
}

static void begin(void *context) {
	struct task *task = context;

	task->body(task->context);
}

static void run_first(void *context, uint64_t number) {
	(void)number;
	run(context);
}

static void ring(void *context, uint64_t number) {
	struct task *task = context;

	if (task->is_asleep && task->sleep == number) {
		task->is_asleep = false;
		run(task);
	}
}

struct task *task_new(task_body *body, void *context) {
	struct task *task = or_die(calloc(1, sizeof(*task)));

	assert(all->task_count < TASKS_MAX);
	task->body = body;
	task->context = context;
	task->coroutine = coroutine_new(begin, task);
	all->tasks[all->task_count++] = task;
	sim_schedule(0, run_first, task, 0);
	return task;
}

bool task_has_ended(const struct task *task) {
	return coroutine_has_ended(task->coroutine);
}

struct task *task_self(void) {
	return all->running;
}

void *task_context(const struct task *task) {
	return task->context;
}

uint64_t *task_note(struct task *task) {
	return &task->note;
}

bool task_sleep(uint64_t until_ms) {
	struct task *task = all->running;

	assert(task != NULL);
	task->sleep++;
	task->is_asleep = true;
	task->was_woken = false;
	if (until_ms != SIM_FOREVER)
		sim_schedule(until_ms, ring, task, task->sleep);
	coroutine_yield(task->coroutine);
	return task->was_woken;
}

/* It goes on as something due now, so that the task that wakes it is done with what it does. */
void task_wake(struct task *task) {
	if (!task->is_asleep || task->was_woken)
		return;
	task->was_woken = true;
	sim_schedule(0, ring, task, task->sleep);
}

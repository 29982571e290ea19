/* SPDX-License-Identifier: BSD-3-Clause */
/* link_stubs.c - time, random numbers, waiting and the log of the product: see link_stubs.h. */

#include "link_stubs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "cond_wait.h"
#include "lock_platform.h"
#include "log.h"
#include "op_log.h"
#include "random.h"
#include "sim.h"

/* Of the one world: the functions below have no argument for it. */
static struct link_stubs *all;

void link_stubs_set(struct link_stubs *stubs) {
	all = stubs;
}

struct link_stubs *link_stubs(void) {
	return all;
}

/* --- base/ -------------------------------------------------------------------------------------
 */

uint64_t clock_ns(void) {
	return clock_ms() * 1000000;
}

uint64_t clock_ms(void) {
	return all->clock_ms + sim()->now_ms;
}

void random_bytes(void *data, size_t size) {
	uint8_t *next = data;

	for (size_t i = 0; i < size; i++)
		next[i] = (uint8_t)prng_next(&sim()->prng);
}

uint64_t random_id(void) {
	uint64_t id = prng_next(&sim()->prng);

	return id != 0 ? id : 1;
}

static void __attribute__((format(printf, 1, 0)))
put_line(const char *format, va_list arguments, char text[sizeof(all->error)]) {
	(void)vsnprintf(text, sizeof(all->error), format, arguments);
	sim_log("kvd: %s", text);
}

#define PUT_LINE(text)                                                                             \
	va_list arguments;                                                                         \
	va_start(arguments, format);                                                               \
	put_line(format, arguments, text);                                                         \
	va_end(arguments)

void log_error(const char *format, ...) {
	PUT_LINE(all->error);
}

void log_warn(const char *format, ...) {
	char text[sizeof(all->error)];

	PUT_LINE(text);
}

void log_info(const char *format, ...) {
	char text[sizeof(all->error)];

	PUT_LINE(text);
}

void log_verbose(const char *format, ...) {
	char text[sizeof(all->error)];

	PUT_LINE(text);
}

/* A simulated world has no -vv. */
void log_debug(const char *format, ...) {
	(void)format;
}

bool log_has_debug(void) {
	return false;
}

void log_write(const char *text, size_t size) {
	(void)text;
	(void)size;
}

/* --- lock/ -------------------------------------------------------------------------------------
 */

/* CLOCK_MONOTONIC does not advance while a machine sleeps. Called by tasks of clients only. */
uint64_t lock_platform_now_ms(void) {
	const struct actor *actor = task_context(task_self());

	return clock_ms() - actor->host->asleep_ms;
}

uint64_t lock_platform_boot_ms(void) {
	return clock_ms();
}

uint64_t lock_platform_calendar_ms(void) {
	return clock_ms();
}

size_t lock_platform_describe(const char *program, char *text, size_t size) {
	(void)program;
	return (size_t)snprintf(text, size, "a task");
}

void lock_platform_sleep_ms(uint64_t pause_ms) {
	(void)task_sleep(sim()->now_ms + pause_ms);
}

bool lock_platform_random(void *data, size_t size) {
	random_bytes(data, size);
	return true;
}

/* --- client/cond_wait.h -------------------------------------------------------------------------
 */

/*
 * A task that waits for another of its process; on its stack. The mutexes are real and never
 * waited for, since no task sleeps with one held. Signals come in through the linker
 * (--wrap=pthread_cond_signal and --wrap=pthread_cond_broadcast).
 */
struct waiting {
	struct waiting *next;
	struct task *task;
	pthread_cond_t *condition;
	bool is_signalled;
};

static struct waiting *waiting;

int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);

void cond_wait_init(pthread_cond_t *condition) {
	(void)pthread_cond_init(condition, NULL);
}

bool cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
		     const struct backoff *backoff) {
	struct waiting me = {.next = waiting, .task = task_self(), .condition = condition};
	struct waiting **at = &waiting;

	if (backoff_expired(backoff))
		return false;
	waiting = &me;
	(void)pthread_mutex_unlock(mutex);
	(void)task_sleep(backoff_deadline(backoff));
	(void)pthread_mutex_lock(mutex);
	while (*at != &me)
		at = &(*at)->next;
	*at = me.next;
	return me.is_signalled || !backoff_expired(backoff);
}

static void wake(struct waiting *one) {
	one->is_signalled = true;
	task_wake(one->task);
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition) {
	for (struct waiting *one = waiting; one != NULL; one = one->next)
		if (one->condition == condition)
			wake(one);
	return 0;
}

/* Any of those who wait. */
int __wrap_pthread_cond_signal(pthread_cond_t *condition) {
	struct waiting *chosen = NULL;
	unsigned count = 0;

	for (struct waiting *one = waiting; one != NULL; one = one->next)
		if (one->condition == condition && !one->is_signalled &&
		    prng_below(&sim()->prng, ++count) == 0)
			chosen = one;
	if (chosen != NULL)
		wake(chosen);
	return 0;
}

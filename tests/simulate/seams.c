/* SPDX-License-Identifier: BSD-3-Clause */
/* seams.c - time, chance, waiting and the log, as the product asks for them: see seams.h. */

#include "seams.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lock_platform.h"
#include "random.h"
#include "clock.h"
#include "log.h"
#include "cond_wait.h"
#include "world.h"

/* Of the one world: the functions below have no argument for it. */
static struct seams *all;

void seams_set(struct seams *seams) {
	all = seams;
}

struct seams *seams(void) {
	return all;
}

/* --- base/ -------------------------------------------------------------------------------------
 */

uint64_t clock_ns(void) {
	return clock_ms() * 1000000;
}

uint64_t clock_ms(void) {
	return all->clock_ms + world()->now_ms;
}

void random_bytes(void *data, size_t size) {
	uint8_t *next = data;

	for (size_t i = 0; i < size; i++)
		next[i] = (uint8_t)dice_bits(&world()->dice);
}

uint64_t random_id(void) {
	uint64_t id = dice_bits(&world()->dice);

	return id != 0 ? id : 1;
}

static void __attribute__((format(printf, 1, 0)))
put_line(const char *format, va_list arguments, char text[sizeof(all->error)]) {
	(void)vsnprintf(text, sizeof(all->error), format, arguments);
	world_say("kvd: %s", text);
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

/* --- lock/ -------------------------------------------------------------------------------------
 */

uint64_t lock_platform_now_ms(void) {
	return clock_ms();
}

void lock_platform_sleep_ms(uint64_t pause_ms) {
	(void)task_sleep(world()->now_ms + pause_ms);
}

bool lock_platform_random(void *data, size_t size) {
	random_bytes(data, size);
	return true;
}

/* --- client/wait.h -----------------------------------------------------------------------------
 */

/*
 * A task that waits for another of its process; on its stack. The mutexes are real and never
 * waited for, since nobody sleeps with one held. Who signals is heard through the linker
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

bool cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct backoff *backoff) {
	struct waiting me = {.next = waiting, .task = task_self(), .condition = condition};
	struct waiting **at = &waiting;

	if (backoff->deadline_ms != NO_DEADLINE && backoff_expired(backoff))
		return false;
	waiting = &me;
	(void)pthread_mutex_unlock(mutex);
	(void)task_sleep(backoff->deadline_ms);
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
		    dice_below(&world()->dice, ++count) == 0)
			chosen = one;
	if (chosen != NULL)
		wake(chosen);
	return 0;
}

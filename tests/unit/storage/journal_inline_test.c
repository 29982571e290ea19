/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: pthread_cond_wait pthread_cond_timedwait */
/* The turn writes itself, in place of the journal's thread and beside it: journal_write_inline().
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include "journal_process.h"
#include "test.h"

/* The journal's thread waits; or was woken, and does not run before it is let. */
static struct {
	atomic_bool is_watched;
	pthread_t turn;
	atomic_bool is_waiting;
	atomic_uint waits; /* how often it began to */
	atomic_bool is_held;
} thread;

int __real_pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *mutex);

int __real_pthread_cond_timedwait(pthread_cond_t *changed, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *changed, pthread_mutex_t *mutex,
				  const struct timespec *until);

/* `until` NULL: without end. */
static int wait_until(pthread_cond_t *changed, pthread_mutex_t *mutex,
		      const struct timespec *until) {
	return until == NULL ? __real_pthread_cond_wait(changed, mutex)
			     : __real_pthread_cond_timedwait(changed, mutex, until);
}

static int watched_wait(pthread_cond_t *changed, pthread_mutex_t *mutex,
			const struct timespec *until) {
	int error;

	if (!atomic_load(&thread.is_watched) || pthread_equal(pthread_self(), thread.turn))
		return wait_until(changed, mutex, until);
	atomic_store(&thread.is_waiting, true);
	(void)atomic_fetch_add(&thread.waits, 1);
	error = wait_until(changed, mutex, until);
	atomic_store(&thread.is_waiting, false);
	(void)pthread_mutex_unlock(mutex);
	while (atomic_load(&thread.is_held))
		(void)sched_yield();
	(void)pthread_mutex_lock(mutex);
	return error;
}

int __wrap_pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *mutex) {
	return watched_wait(changed, mutex, NULL);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *changed, pthread_mutex_t *mutex,
				  const struct timespec *until) {
	return watched_wait(changed, mutex, until);
}

CASE(journal_inline, .setup = start, .teardown = stop);

TEST(what_the_turn_writes_is_durable_at_once) {
	await_spare();
	ck_assert(!journal_write_inline(journal));
	ck_assert(put(10));
	ck_assert(put(20));
	ck_assert(journal_has_pending(journal));
	ck_assert(journal_write_inline(journal));
	ck_assert(!journal_has_pending(journal));
	ck_assert_uint_eq(journal_durable(journal), 2);
	ck_assert(journal_stop(journal));
	assert_found(2, true);
}

TEST(the_turn_writes_nothing_while_the_thread_does) {
	await_spare();
	gate_set(true);
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert(put(20));
	ck_assert(!journal_write_inline(journal));
	ck_assert_uint_eq(journal_durable(journal), 0);
	gate_set(false);
	turn_until(2);
}

TEST(a_large_batch_is_left_to_the_thread) {
	const unsigned segment = 1 << 20;

	stop();
	begin(segment);
	ck_assert(journal_start(journal, world.file, world.found.last));
	world.file = NULL;
	await_spare();
	ck_assert(put(segment / 8));
	ck_assert(!journal_write_inline(journal));
	ck_assert_uint_eq(journal_durable(journal), 0);
	journal_submit(journal);
	turn_until(1);
}

/* It takes the file from the thread and gives it back while spares are made and segments end. */
TEST(turn_and_thread_write_by_turns_over_many_segments) {
	unsigned here = 0;

	for (unsigned i = 0; i < 3000; i++) {
		while (!put(9000))
			turn();
		if (i % 3 != 0 && journal_write_inline(journal)) {
			here++;
			ck_assert_uint_eq(journal_durable(journal), world.tape.count);
			continue;
		}
		journal_submit(journal);
		if (i % 2 == 0)
			turn_until(world.tape.count);
	}
	ck_assert_uint_gt(here, 0);
	turn_until(3000);
	ck_assert(journal_stop(journal));
	assert_found(3000, true);
}

/* Gives the thread something to do while the turn syncs, until it awaits the file. */
static void forget_meanwhile(void *context, struct fake_disk *disk, uint64_t change) {
	unsigned before = atomic_load(&thread.waits);

	(void)context;
	(void)disk;
	(void)change;
	if (atomic_load(&thread.is_held))
		return;
	journal_truncate(journal, 1);
	while (atomic_load(&thread.waits) == before)
		(void)sched_yield();
	atomic_store(&thread.is_held, true);
}

TEST(a_thread_that_awaits_the_file_gets_it_before_the_turn_has_it_again) {
	const struct fake_plan meanwhile = {.before = forget_meanwhile};
	const struct fake_plan nothing = {.before = NULL};

	thread.turn = pthread_self();
	atomic_store(&thread.is_watched, true);
	await_spare();
	ck_assert(put(10));
	turn_until(1);
	while (!atomic_load(&thread.is_waiting))
		(void)sched_yield();
	fake_disk_plan(world.disk, &meanwhile);
	ck_assert(put(10));
	ck_assert(journal_write_inline(journal));
	ck_assert(atomic_load(&thread.is_held));
	fake_disk_plan(world.disk, &nothing);
	ck_assert(put(10));
	ck_assert(!journal_write_inline(journal));
	atomic_store(&thread.is_held, false);
	turn_until(3);
}

TEST(a_failure_is_told_to_a_turn_that_writes) {
	struct fake_plan plan = {.before = pass, .fail_change = 2, .error = -EIO};

	await_spare();
	fake_disk_plan(world.disk, &plan);
	ck_assert(put(10));
	ck_assert(journal_write_inline(journal));
	ck_assert_ptr_nonnull(journal_error(journal));
	ck_assert_uint_eq(journal_durable(journal), 0);
	ck_assert(put(10));
	ck_assert(!journal_write_inline(journal));
	ck_assert(!journal_stop(journal));
}

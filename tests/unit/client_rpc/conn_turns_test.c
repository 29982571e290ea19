/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: sendmsg sendmmsg sem_clockwait sem_wait sem_post pthread_mutex_lock pthread_mutex_unlock */
/* Many calls on a connection: which thread sends, which reads, which is woken. The test holds up
 * sendmsg(). */

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "conn_peer.h"
#include "test.h"

enum {
	SIZE = 40,
	MANY = 20,
	A_WHILE_MS = 20, /* for a thread to do what it should not */
};

/* --- System calls and locks of the link under test; the linker sends them here -------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned passes;	 /* so many sendmsg() may begin */
static bool is_refusing; /* there is no room */
static unsigned sends;	 /* so many came to the gate; and ... */
static unsigned sleeps;	 /* ... to sleep until there is news ... */
static unsigned waits;	 /* ... and to wait for news that is on its way */
static unsigned wakes;
static unsigned wakes_with_mutex;
static _Thread_local unsigned mutexes;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_sendmmsg(int fd, struct mmsghdr *messages, unsigned number, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned number, int flags);
int __real_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
int __real_sem_wait(sem_t *semaphore);
int __wrap_sem_wait(sem_t *semaphore);
int __real_sem_post(sem_t *semaphore);
int __wrap_sem_post(sem_t *semaphore);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static void lock_gate(void) {
	ck_assert_int_eq(__real_pthread_mutex_lock(&gate), 0);
}

static void unlock_gate(void) {
	ck_assert_int_eq(pthread_cond_broadcast(&changed), 0);
	ck_assert_int_eq(__real_pthread_mutex_unlock(&gate), 0);
}

static void count(unsigned *events) {
	lock_gate();
	++*events;
	unlock_gate();
}

/* False: there is no room behind it. */
static bool pass_gate(void) {
	bool refuses;

	count(&sends);
	lock_gate();
	while (passes == 0)
		(void)pthread_cond_wait(&changed, &gate);
	passes -= passes != UINT_MAX;
	refuses = is_refusing;
	unlock_gate();
	errno = EAGAIN;
	return !refuses;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
	return pass_gate() ? __real_sendmsg(fd, message, flags) : -1;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned number, int flags) {
	return pass_gate() ? __real_sendmmsg(fd, messages, number, flags) : -1;
}

int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
	count(&sleeps);
	return __real_sem_clockwait(semaphore, clock, until);
}

int __wrap_sem_wait(sem_t *semaphore) {
	count(&waits);
	return __real_sem_wait(semaphore);
}

int __wrap_sem_post(sem_t *semaphore) {
	count(&wakes);
	if (mutexes > 0)
		count(&wakes_with_mutex);
	return __real_sem_post(semaphore);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex) {
	mutexes++;
	return __real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex) {
	mutexes--;
	return __real_pthread_mutex_unlock(mutex);
}

/* --- The gate ------------------------------------------------------------------------------ */

static void open_gate(void) {
	lock_gate();
	passes = UINT_MAX;
	unlock_gate();
}

static void close_gate(void) {
	lock_gate();
	passes = 0;
	unlock_gate();
}

static void let_one_pass(void) {
	lock_gate();
	passes = 1;
	unlock_gate();
}

static void set_refusing(bool refuses) {
	lock_gate();
	is_refusing = refuses;
	unlock_gate();
}

static unsigned number_of(const unsigned *events) {
	unsigned number;

	lock_gate();
	number = *events;
	unlock_gate();
	return number;
}

static void await(const unsigned *events, unsigned number) {
	lock_gate();
	while (*events < number)
		(void)pthread_cond_wait(&changed, &gate);
	unlock_gate();
}

static void forget_all(void) {
	sends = sleeps = waits = wakes = wakes_with_mutex = 0;
	is_refusing = false;
	open_gate();
}

static void open_stream_and_gate(void) {
	open_tcp();
	forget_all();
}

static void open_datagram_and_gate(void) {
	open_datagram();
	forget_all();
}

/* Starts it, and waits until it is at the gate: the only sender. */
static void start_at_gate(struct call *call) {
	const unsigned before = number_of(&sends);

	call_start(call);
	await(&sends, before + 1);
}

/* Starts it, and waits until it sleeps: it is sent, or queued behind a sender. */
static void start_asleep(struct call *call) {
	const unsigned before = number_of(&sleeps);

	call_start(call);
	await(&sleeps, before + 1);
}

static void pass_time_until(uint64_t ms) {
	while (clock_ms() <= ms)
		ck_assert_int_eq(usleep(1000), 0);
}

static void answer(struct call *call, const char *text) {
	write_answer(call->xid, text);
	call_finish(call);
	call_check_answered(call, text);
}

/* --- Sending ------------------------------------------------------------------------------- */

CASE(turns, .setup = open_stream_and_gate, .teardown = close_all);

TEST(calls_that_come_while_one_is_sent_go_together) {
	struct call calls[4];

	close_gate();
	for (uint32_t i = 0; i < 4; i++) {
		calls[i] = call_new(i, SIZE + i, LONG_MS);
		if (i == 0)
			start_at_gate(&calls[i]);
		else
			start_asleep(&calls[i]);
	}
	open_gate();
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_uint_eq(read_call(), i);
	for (uint32_t i = 0; i < 4; i++)
		answer(&calls[i], "yes");
	ck_assert_uint_eq(sends, 2);
}

TEST(more_calls_than_go_together_go_in_order) {
	struct call calls[MANY];

	close_gate();
	for (uint32_t i = 0; i < MANY; i++) {
		calls[i] = call_new(i, SIZE, LONG_MS);
		if (i == 0)
			start_at_gate(&calls[i]);
		else
			start_asleep(&calls[i]);
	}
	open_gate();
	for (uint32_t i = 0; i < MANY; i++)
		ck_assert_uint_eq(read_call(), i);
	for (uint32_t i = 0; i < MANY; i++)
		answer(&calls[i], "yes");
}

CASE(datagram, .setup = open_datagram_and_gate, .teardown = close_all);

/* Each is a datagram of its own, and they may be of any size. */
TEST(datagrams_that_come_while_one_is_sent_go_together) {
	struct call calls[4];
	uint8_t bytes[SIZE + 4];

	close_gate();
	for (uint32_t i = 0; i < 4; i++) {
		calls[i] = call_new(i, SIZE + i, LONG_MS);
		if (i == 0)
			start_at_gate(&calls[i]);
		else
			start_asleep(&calls[i]);
	}
	open_gate();
	for (uint32_t i = 0; i < 4; i++) {
		ck_assert_int_eq(recv(peer, bytes, sizeof(bytes), 0), SIZE + i);
		ck_assert_uint_eq(bytes[3], i);
		ck_assert_int_eq(send(peer, bytes, 4, 0), 4);
		call_finish(&calls[i]);
		call_check_answered(&calls[i], "");
	}
	ck_assert_uint_eq(sends, 2);
}

CASE(turns);

TEST(when_a_sender_gives_up_the_next_one_sends) {
	struct call first = call_new(1, SIZE, SOON_MS);
	struct call second = call_new(2, SIZE, LONG_MS);

	set_refusing(true);
	start_at_gate(&first);
	start_asleep(&second);
	call_finish(&first);
	ck_assert_int_eq(first.outcome, ATTEMPT_UNSENT);
	set_refusing(false);
	ck_assert_uint_eq(read_call(), 2);
	answer(&second, "yes");
	ck_assert(conn_is_usable(conn_under_test));
}

TEST(one_whose_time_is_up_in_the_queue_is_unsent_and_the_others_go) {
	struct call calls[3] = {call_new(0, SIZE, LONG_MS), call_new(1, SIZE, SOON_MS),
				call_new(2, SIZE, LONG_MS)};

	close_gate();
	start_at_gate(&calls[0]);
	start_asleep(&calls[1]);
	start_asleep(&calls[2]);
	call_finish(&calls[1]);
	ck_assert_int_eq(calls[1].outcome, ATTEMPT_UNSENT);
	open_gate();
	ck_assert_uint_eq(read_call(), 0);
	ck_assert_uint_eq(read_call(), 2);
	answer(&calls[2], "two");
	answer(&calls[0], "zero");
}

/* The message of the third is in the hand of the second, at the gate. */
static void give_second_the_third(struct call calls[3]) {
	close_gate();
	start_at_gate(&calls[0]);
	start_asleep(&calls[1]);
	start_asleep(&calls[2]);
	let_one_pass();
	await(&sends, 2);
	ck_assert_uint_eq(read_call(), 0);
}

TEST(one_whose_time_is_up_while_another_sends_it_was_sent) {
	struct call calls[3] = {call_new(0, SIZE, LONG_MS), call_new(1, SIZE, LONG_MS),
				call_new(2, SIZE, SOON_MS)};

	give_second_the_third(calls);
	await(&waits, 1); /* it has to stay */
	ck_assert_uint_ge(clock_ms(), calls[2].time.deadline_ms);
	open_gate();
	call_finish(&calls[2]);
	ck_assert_int_eq(calls[2].outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_eq(read_call(), 1);
	ck_assert_uint_eq(read_call(), 2);
	ck_assert(conn_is_usable(conn_under_test));
	answer(&calls[0], "zero");
	answer(&calls[1], "one");
}

/* As a late answer to an earlier copy does. */
TEST(an_answer_that_comes_while_another_sends_the_call_is_kept) {
	struct call calls[3] = {call_new(0, SIZE, LONG_MS), call_new(1, SIZE, LONG_MS),
				call_new(2, SIZE, LONG_MS)};

	give_second_the_third(calls);
	write_answer(2, "early");
	answer(&calls[0], "zero"); /* then it has read the other one, too */
	open_gate();
	call_finish(&calls[2]);
	call_check_answered(&calls[2], "early");
	ck_assert_uint_eq(read_call(), 1);
	ck_assert_uint_eq(read_call(), 2);
	answer(&calls[1], "one");
}

TEST(a_hang_up_reaches_the_queue) {
	struct call calls[3] = {call_new(0, SIZE, LONG_MS), call_new(1, SIZE, LONG_MS),
				call_new(2, SIZE, LONG_MS)};

	give_second_the_third(calls);
	hang_up();
	call_finish(&calls[0]);
	ck_assert_int_eq(calls[0].outcome, ATTEMPT_UNANSWERED);
	open_gate();
	for (int i = 1; i < 3; i++) {
		call_finish(&calls[i]);
		ck_assert_int_eq(calls[i].outcome, ATTEMPT_UNSENT);
	}
	ck_assert(!conn_is_usable(conn_under_test));
}

/* --- Reading ------------------------------------------------------------------------------- */

TEST(a_reader_that_leaves_while_another_sends_is_replaced) {
	struct call first = call_new(1, SIZE, LONG_MS);
	struct call second = call_new(2, SIZE, LONG_MS);

	call_start(&first);
	ck_assert_uint_eq(read_call(), 1);
	close_gate();
	start_at_gate(&second);
	answer(&first, "one");
	open_gate();
	ck_assert_uint_eq(read_call(), 2);
	answer(&second, "two");
}

/* It would wait in recv(), here for ever, when its turn to send comes. */
TEST(one_that_is_still_to_send_does_not_become_the_reader) {
	const struct timeval for_ever = {0};
	struct call calls[3] = {call_new(0, SIZE, LONG_MS), call_new(1, SIZE, LONG_MS),
				call_new(2, SIZE, LONG_MS)};

	ck_assert_int_eq(setsockopt(link_fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever)),
			 0);
	call_start(&calls[0]);
	ck_assert_uint_eq(read_call(), 0);
	close_gate();
	start_at_gate(&calls[1]);
	start_asleep(&calls[2]);
	answer(&calls[0], "zero");
	pass_time_until(clock_ms() + A_WHILE_MS);
	open_gate();
	ck_assert_uint_eq(read_call(), 1);
	ck_assert_uint_eq(read_call(), 2);
	answer(&calls[2], "two");
	answer(&calls[1], "one");
}

/* When it comes from sending there is no reader, and no time to become one. */
TEST(a_sender_whose_time_is_up_leaves_a_reader_behind) {
	struct call calls[3] = {call_new(0, SIZE, LONG_MS), call_new(1, SIZE, SOON_MS),
				call_new(2, SIZE, LONG_MS)};

	give_second_the_third(calls);
	answer(&calls[0], "zero");
	pass_time_until(calls[1].time.deadline_ms);
	open_gate();
	call_finish(&calls[1]);
	ck_assert_int_eq(calls[1].outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_eq(read_call(), 1);
	ck_assert_uint_eq(read_call(), 2);
	answer(&calls[2], "two");
}

TEST(no_reply_waits_for_another_call) {
	struct call calls[MANY];

	for (uint32_t i = 0; i < MANY; i++) {
		calls[i] = call_new(i, SIZE, LONG_MS);
		call_start(&calls[i]);
		ck_assert_uint_eq(read_call(), i);
	}
	/* The reader gets its reply, or others do, or both; then all is quiet. */
	for (uint32_t i = 0; i < MANY; i += 2) {
		write_answer(calls[i + 1].xid, "yes");
		answer(&calls[i], "yes");
		call_finish(&calls[i + 1]);
		call_check_answered(&calls[i + 1], "yes");
	}
}

/* --- Waking -------------------------------------------------------------------------------- */

TEST(no_thread_is_woken_only_to_wait_for_the_mutex) {
	struct call calls[MANY];

	for (uint32_t i = 0; i < MANY; i++) {
		calls[i] = call_new(i, SIZE, LONG_MS);
		if (i == 0)
			call_start(&calls[i]);
		else
			start_asleep(&calls[i]);
		ck_assert_uint_eq(read_call(), i);
	}
	for (uint32_t i = 0; i < MANY; i++)
		write_answer(i, "yes");
	for (uint32_t i = 0; i < MANY; i++) {
		call_finish(&calls[i]);
		call_check_answered(&calls[i], "yes");
	}
	ck_assert_uint_gt(wakes, 0);
	ck_assert_uint_eq(wakes_with_mutex, 0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: getaddrinfo */
/* wrap: getpid */
/* Looking up names with a resolver that hangs as long as the test wants. */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "rpc/lookup.h"
#include "test.h"

static sem_t may_return;
static atomic_uint calls;
static atomic_int result;
static sigset_t mask_of_thread;

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **found) {
	if ((hints->ai_flags & AI_NUMERICHOST) != 0)
		return __real_getaddrinfo(host, service, hints, found);
	atomic_fetch_add(&calls, 1);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &mask_of_thread);
	while (sem_wait(&may_return) < 0)
		continue;
	if (result != 0) {
		errno = ENETDOWN;
		return result;
	}
	return __real_getaddrinfo("192.0.2.1", service, hints, found);
}

static void start_resolver(void) {
	ck_assert_int_eq(sem_init(&may_return, 0, 0), 0);
}

CASE(lookup, .setup = start_resolver);

static struct lookup *pending;
static struct addrinfo *found;

static int look_up(const char *host, uint64_t time_ms) {
	return lookup_host(&pending, host, SOCK_STREAM, clock_ms() + time_ms, &found);
}

TEST(a_lookup_ends_at_its_deadline_and_the_next_call_waits_for_the_same_one) {
	uint64_t began_ms = clock_ms();

	ck_assert_int_eq(look_up("kv.example.org", 50), LOOKUP_PENDING);
	ck_assert_uint_ge(clock_ms() - began_ms, 50);
	ck_assert_ptr_nonnull(pending);
	ck_assert_int_eq(look_up("kv.example.org", 1), LOOKUP_PENDING);
	(void)sem_post(&may_return);
	ck_assert_int_eq(look_up("kv.example.org", 60000), 0);
	ck_assert_uint_eq(calls, 1);
	ck_assert_ptr_null(pending);
	ck_assert_ptr_nonnull(found);
	ck_assert_int_eq(found->ai_family, AF_INET);
	freeaddrinfo(found);
}

TEST(an_address_in_numbers_needs_no_resolver) {
	ck_assert_int_eq(look_up("127.0.0.1", 0), 0);
	freeaddrinfo(found);
	ck_assert_int_eq(look_up("::1", 0), 0);
	freeaddrinfo(found);
	ck_assert_uint_eq(calls, 0);
}

TEST(an_error_of_the_resolver_is_returned_with_its_errno) {
	result = EAI_NONAME;
	(void)sem_post(&may_return);
	ck_assert_int_eq(look_up("kv.example.org", 60000), EAI_NONAME);
	ck_assert_ptr_null(found);
	result = EAI_SYSTEM;
	(void)sem_post(&may_return);
	errno = 0;
	ck_assert_int_eq(look_up("kv.example.org", 60000), EAI_SYSTEM);
	ck_assert_int_eq(errno, ENETDOWN);
	ck_assert_ptr_null(pending);
}

TEST(no_signal_of_the_program_is_handled_in_the_helper_thread) {
	(void)sem_post(&may_return);
	ck_assert_int_eq(look_up("kv.example.org", 60000), 0);
	freeaddrinfo(found);
	ck_assert_int_eq(sigismember(&mask_of_thread, SIGINT), 1);
	ck_assert_int_eq(sigismember(&mask_of_thread, SIGCHLD), 1);
	ck_assert_int_eq(sigismember(&mask_of_thread, SIGUSR1), 1);
}

TEST(lookups_after_their_deadline_are_limited_and_end_by_themselves) {
	for (unsigned i = 0; i < LOOKUP_THREADS_MAX; i++) {
		pending = NULL;
		ck_assert_int_eq(look_up("kv.example.org", 0), LOOKUP_PENDING);
		lookup_abandon(pending);
	}
	pending = NULL;
	ck_assert_int_eq(look_up("kv.example.org", 60000), EAI_SYSTEM);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_ptr_null(pending);
	for (unsigned i = 0; i < LOOKUP_THREADS_MAX + 1; i++)
		(void)sem_post(&may_return);
	/* A thread counts until it ends. */
	for (uint64_t until_ms = clock_ms() + 60000;;) {
		int outcome = look_up("kv.example.org", 60000);

		if (outcome == 0)
			break;
		ck_assert_int_eq(outcome, EAI_SYSTEM);
		ck_assert_uint_lt(clock_ms(), until_ms);
	}
	freeaddrinfo(found);
}

static unsigned calls_to_other; /* of getpid(), before another thread begins a lookup; 0: never */

pid_t __real_getpid(void);
pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void) {
	struct lookup *other = NULL;
	struct addrinfo *nothing;

	if (calls_to_other > 0 && --calls_to_other == 0) {
		ck_assert_int_eq(lookup_host(&other, "other.example.org", SOCK_STREAM, 0, &nothing),
				 LOOKUP_PENDING);
		lookup_abandon(other);
	}
	return __real_getpid();
}

static void begin_two_at_once(unsigned at_call) {
	const uint64_t until_ms = clock_ms() + 100000;

	calls_to_other = at_call;
	ck_assert_int_eq(look_up("kv.example.org", 0), LOOKUP_PENDING);
	/* It does not ask for its process so often. */
	if (calls_to_other > 0)
		return;
	(void)sem_post(&may_return);
	(void)sem_post(&may_return);
	ck_assert_int_eq(look_up("kv.example.org", 60000), 0);
	freeaddrinfo(found);
	/* Once both have ended, none is counted: so many can begin. */
	for (unsigned i = 0; i < LOOKUP_THREADS_MAX; i++) {
		pending = NULL;
		while (look_up("kv.example.org", 0) != LOOKUP_PENDING)
			ck_assert_uint_lt(clock_ms(), until_ms);
		lookup_abandon(pending);
	}
	for (unsigned i = 0; i < LOOKUP_THREADS_MAX; i++)
		(void)sem_post(&may_return);
}

TEST(of_the_first_two_lookups_one_begins_before_the_other_is_counted) {
	begin_two_at_once(1);
}

TEST(or_while_the_other_is_being_counted) {
	begin_two_at_once(2);
}

TEST(nothing_to_abandon_is_fine) {
	lookup_abandon(NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The lock on a real kvd: hand-over, leases, and what becomes of it when processes end or stop. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kv/lock.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

enum {
	CALL_MS = 60000,
	TTL_MS = 800,
	WAITERS = 5,
	THREADS = 64, /* as many as a session has slots */
	SHORT_MS = 300,
};

/* For so long the machine slept: CLOCK_BOOTTIME alone knows of it. */
static atomic_int asleep_s;

/* By so much the machine's clock was set; CLOCK_REALTIME alone knows of it. */
static atomic_int set_s;

/* In place of that of the C library, for libkv too. */
int clock_gettime(clockid_t clock, struct timespec *now) {
	const int status = (int)syscall(SYS_clock_gettime, clock, now);

	if (clock == CLOCK_REALTIME)
		now->tv_sec += atomic_load(&set_s);
	if (clock == CLOCK_BOOTTIME)
		now->tv_sec += atomic_load(&asleep_s);
	return status;
}

static struct kv_client *open_client(unsigned timeout_ms) {
	char address[128];
	struct kv_options options = {.server = address, .timeout_ms = timeout_ms};
	struct kv_client *client = NULL;

	server_address(&fx.server, VIA_TCP, address);
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

static struct kv_lock *open_lock(struct kv_client *client, unsigned ttl_ms) {
	struct kv_lock *lock = NULL;

	ck_assert_int_eq(kv_lock_open(client, bytes("lock"), &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_ttl(lock, ttl_ms), KV_OK);
	return lock;
}

/* Until so many wait on the server. */
static void await_waiting(struct kv_client *client, unsigned count) {
	struct kv_lock_info info = {0};

	do {
		ck_assert_int_eq(kv_lock_inspect(client, bytes("lock"), &info), KV_OK);
		if (info.waiting != count)
			suite_pause_ms(5);
	} while (info.waiting != count);
}

struct contender {
	pthread_t thread;
	struct kv_client *client;
	struct kv_lock *lock;
	unsigned timeout_ms;
	enum kv_status status;
	uint64_t token;
	unsigned place; /* the how manieth it was */
};

static atomic_uint places;

static void *acquire(void *context) {
	struct contender *one = context;

	one->status = kv_lock_acquire(one->lock, one->timeout_ms);
	one->place = atomic_fetch_add(&places, 1);
	one->token = kv_lock_token(one->lock);
	if (one->status == KV_OK)
		ck_assert_int_eq(kv_lock_release(one->lock), KV_OK);
	return NULL;
}

/* Begins to wait, with a client of its own. */
static void contender_start_as(struct contender *one, enum kv_lock_mode mode, unsigned ttl_ms,
			       unsigned timeout_ms) {
	*one = (struct contender){.client = open_client(CALL_MS), .timeout_ms = timeout_ms};
	one->lock = open_lock(one->client, ttl_ms);
	ck_assert_int_eq(kv_lock_set_mode(one->lock, mode), KV_OK);
	ck_assert_int_eq(pthread_create(&one->thread, NULL, acquire, one), 0);
}

static void contender_start(struct contender *one, unsigned ttl_ms, unsigned timeout_ms) {
	contender_start_as(one, KV_LOCK_SIMPLE, ttl_ms, timeout_ms);
}

static void contender_end(struct contender *one) {
	ck_assert_int_eq(pthread_join(one->thread, NULL), 0);
	kv_lock_close(one->lock);
	kv_close(one->client);
}

static struct kv_client *client;
static struct kv_lock *lock;

/* This process holds the lock, without a ttl. */
static void set_up_holder(void) {
	atomic_store(&places, 0);
	client = open_client(CALL_MS);
	lock = open_lock(client, 0);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
}

static void set_up(void) {
	fixture_plain();
	set_up_holder();
}

static void set_up_durable(void) {
	fixture_durable();
	set_up_holder();
}

static void tear_down(void) {
	kv_lock_close(lock);
	kv_close(client);
	fixture_end();
}

/* --- Hand-over ------------------------------------------------------------------------------- */

CASE(lock, .setup = set_up, .teardown = tear_down, .seconds = 60);

TEST(rule_7_7_the_lock_is_handed_over_in_the_order_of_coming) {
	struct contender contenders[WAITERS];

	for (unsigned i = 0; i < WAITERS; i++) {
		contender_start(&contenders[i], 0, i % 2 == 0 ? 0 : CALL_MS);
		await_waiting(client, i + 1);
	}
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	for (unsigned i = 0; i < WAITERS; i++) {
		contender_end(&contenders[i]);
		ck_assert_int_eq(contenders[i].status, KV_OK);
		ck_assert_uint_eq(contenders[i].place, i);
		ck_assert_uint_eq(contenders[i].token, 3 + 2 * i);
	}
}

/* Two readers that come one after the other go together, and a writer waits for both. */
TEST(readers_and_writers_are_served_in_the_order_of_coming) {
	static const enum kv_lock_mode modes[WAITERS] = {
	    KV_LOCK_SHARED, KV_LOCK_EXCLUSIVE, KV_LOCK_SHARED, KV_LOCK_SHARED, KV_LOCK_EXCLUSIVE};
	struct contender contenders[WAITERS];

	for (unsigned i = 0; i < WAITERS; i++) {
		contender_start_as(&contenders[i], modes[i], i * TTL_MS * 10, 0);
		await_waiting(client, i + 1);
	}
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	for (unsigned i = 0; i < WAITERS; i++) {
		contender_end(&contenders[i]);
		ck_assert_int_eq(contenders[i].status, KV_OK);
	}
	ck_assert_uint_eq(contenders[0].place, 0);
	ck_assert_uint_eq(contenders[1].place, 1);
	ck_assert_uint_eq(contenders[2].place + contenders[3].place, 2 + 3);
	ck_assert_uint_eq(contenders[4].place, 4);
}

TEST(a_writer_finds_a_share_behind_many_keys_that_are_none) {
	struct kv_lock *reader = open_lock(client, 0);

	for (unsigned i = 0; i < 250; i++) {
		char key[64];

		(void)snprintf(key, sizeof(key), "lock/__share/!%u", i);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("none"), 0, NULL), KV_OK);
	}
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_mode(lock, KV_LOCK_EXCLUSIVE), KV_OK);
	ck_assert_int_eq(kv_lock_set_mode(reader, KV_LOCK_SHARED), KV_OK);
	ck_assert_int_eq(kv_lock_try(reader), KV_OK);
	ck_assert_int_eq(kv_lock_try(lock), KV_BUSY);
	ck_assert_int_eq(kv_lock_release(reader), KV_OK);
	ck_assert_int_eq(kv_lock_try(lock), KV_OK);
	kv_lock_close(reader);
}

TEST(rule_7_7_a_break_hands_over) {
	struct contender contender;

	contender_start(&contender, 0, 0);
	await_waiting(client, 1);
	ck_assert_int_eq(kv_lock_break(client, bytes("lock")), KV_OK);
	contender_end(&contender);
	ck_assert_int_eq(contender.status, KV_OK);
	ck_assert_int_eq(kv_lock_release(lock), KV_NOTHELD);
}

TEST(an_interrupted_acquire_returns_and_leaves_its_place) {
	struct contender first, second;

	contender_start(&first, 0, 0);
	await_waiting(client, 1);
	contender_start(&second, 0, 0);
	await_waiting(client, 2);
	kv_lock_interrupt(first.lock);
	contender_end(&first);
	ck_assert_int_eq(first.status, KV_TIMEOUT);
	await_waiting(client, 1);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	contender_end(&second);
	ck_assert_int_eq(second.status, KV_OK);
}

TEST(a_time_out_leaves_its_place) {
	struct contender contender;

	contender_start(&contender, 0, SHORT_MS);
	contender_end(&contender);
	ck_assert_int_eq(contender.status, KV_TIMEOUT);
	await_waiting(client, 0);
}

TEST(waits_of_a_week_and_of_49_days_end_with_the_release) {
	const unsigned waits_ms[] = {7U * 24 * 3600 * 1000, UINT_MAX};
	struct contender contenders[2];

	for (unsigned i = 0; i < 2; i++) {
		contender_start(&contenders[i], 0, waits_ms[i]);
		await_waiting(client, i + 1);
	}
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	for (unsigned i = 0; i < 2; i++) {
		contender_end(&contenders[i]);
		ck_assert_int_eq(contenders[i].status, KV_OK);
	}
}

/* Its lease may be over before the reply comes, again and again: that ends in time. */
TEST(a_ttl_shorter_than_a_round_trip_holds_up_no_other) {
	struct contender other;

	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_ttl(lock, 1), KV_OK);
	const enum kv_status status = kv_lock_acquire(lock, SHORT_MS);
	ck_assert_msg(status == KV_OK || status == KV_TIMEOUT, "%s", kv_status_name(status));
	contender_start(&other, 0, 0);
	contender_end(&other);
	ck_assert_int_eq(other.status, KV_OK);
	ck_assert_uint_eq(kv_lock_left_ms(lock), 0);
}

/* 9.3: threads that wait take not all slots of the session. */
TEST(rule_9_3_of_65_threads_on_one_client_one_can_still_release) {
	static struct contender contenders[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		contenders[i] = (struct contender){.lock = open_lock(client, 0)};
		ck_assert_int_eq(
		    pthread_create(&contenders[i].thread, NULL, acquire, &contenders[i]), 0);
	}
	await_waiting(client, THREADS - 8);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	for (unsigned i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(contenders[i].thread, NULL), 0);
		ck_assert_int_eq(contenders[i].status, KV_OK);
		kv_lock_close(contenders[i].lock);
	}
	ck_assert_uint_eq(atomic_load(&places), THREADS);
}

/* --- Processes that end, or stop -------------------------------------------------------------- */

/* A child that runs `work` with a client of its own and the lock, and exits with what it returns.
 */
static pid_t in_a_child(int (*work)(struct kv_client *, struct kv_lock *), unsigned ttl_ms) {
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct kv_client *own = open_client(CALL_MS);

		_exit(work(own, open_lock(own, ttl_ms)));
	}
	return child;
}

static int await_child(pid_t child) {
	int how = 0;

	ck_assert_int_eq(waitpid(child, &how, 0), child);
	return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static int wait_and_keep(struct kv_client *own, struct kv_lock *mine) {
	(void)own;
	(void)kv_lock_acquire(mine, 0);
	(void)pause();
	return 0;
}

static void await_holder(void) {
	struct kv_lock_info info = {0};

	while (kv_lock_inspect(client, bytes("lock"), &info) != KV_OK || !info.is_held)
		suite_pause_ms(5);
}

TEST(rule_7_8_a_waiter_that_was_killed_is_passed_over) {
	pid_t child = in_a_child(wait_and_keep, 0);
	struct contender contender;

	await_waiting(client, 1);
	contender_start(&contender, 0, 0);
	await_waiting(client, 2);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	(void)await_child(child);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	contender_end(&contender);
	ck_assert_int_eq(contender.status, KV_OK);
	ck_assert_uint_eq(contender.token, 3);
}

TEST(the_lease_of_a_holder_that_was_killed_ends) {
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	pid_t child = in_a_child(wait_and_keep, TTL_MS);

	await_holder();
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	(void)await_child(child);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_uint_ge(kv_lock_token(lock), 5);
}

static enum kv_status write_fenced(struct kv_client *own, const struct kv_lock *mine) {
	const struct kv_condition fence = kv_lock_fence(mine);
	struct kv_change change = {
	    .kind = KV_CHANGE_PUT, .key = bytes("data"), .value = bytes(kv_lock_id(mine))};
	struct kv_txn txn = {
	    .conditions = &fence, .condition_count = 1, .changes = &change, .change_count = 1};

	return kv_txn(own, &txn);
}

/* Is stopped in the middle, for longer than its lease. */
static int hold_and_stop(struct kv_client *own, struct kv_lock *mine) {
	if (kv_lock_acquire(mine, 0) != KV_OK || write_fenced(own, mine) != KV_OK)
		return 1;
	(void)raise(SIGSTOP);
	if (write_fenced(own, mine) != KV_UNMET)
		return 2;
	if (kv_lock_left_ms(mine) != 0 || kv_lock_renew(mine) != KV_NOTHELD)
		return 3;
	return kv_lock_release(mine) == KV_NOTHELD ? 0 : 4;
}

TEST(rule_7_6_a_holder_that_was_stopped_beyond_its_lease_can_write_no_more) {
	struct kv_value value;

	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	pid_t child = in_a_child(hold_and_stop, TTL_MS);
	int how = 0;

	ck_assert_int_eq(waitpid(child, &how, WUNTRACED), child);
	ck_assert(WIFSTOPPED(how));
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_int_eq(write_fenced(client, lock), KV_OK);
	ck_assert_int_eq(kill(child, SIGCONT), 0);
	ck_assert_int_eq(await_child(child), 0);
	ck_assert_int_eq(kv_get(client, bytes("data"), &value), KV_OK);
	ck_assert_mem_eq(value.data, kv_lock_id(lock), value.size);
	kv_value_free(&value);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
}

TEST(renewals_keep_the_lock_for_longer_than_its_ttl) {
	struct contender contender;

	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_ttl(lock, TTL_MS), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	contender_start(&contender, TTL_MS, 0);
	await_waiting(client, 1);
	/* On a busy machine a renewal may come too late: then that is said, and no other held it.
	 */
	for (unsigned i = 0; i < 8; i++) {
		enum kv_status status = kv_lock_renew(lock);

		if (status == KV_NOTHELD)
			break;
		ck_assert_int_eq(status, KV_OK);
		ck_assert_uint_eq(atomic_load(&places), 0);
		suite_pause_ms(TTL_MS / 4);
	}
	(void)kv_lock_release(lock);
	contender_end(&contender);
	ck_assert_int_eq(contender.status, KV_OK);
	/* It waited for longer than its ttl, and was renewed before it was said to hold the lock.
	 */
	ck_assert_uint_ge(contender.token, 5);
}

TEST(rule_7_1_a_lease_is_that_of_before_when_the_clock_is_set) {
	static const int steps_s[] = {-3600, 3600, 0};

	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_ttl(lock, CALL_MS), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	const uint64_t token = kv_lock_token(lock);
	for (unsigned i = 0; i < 3; i++) {
		atomic_store(&set_s, steps_s[i]);
		ck_assert_uint_gt(kv_lock_left_ms(lock), CALL_MS / 4);
		ck_assert_uint_le(kv_lock_left_ms(lock), CALL_MS);
		ck_assert_int_eq(kv_lock_renew(lock), KV_OK);
		ck_assert_uint_eq(kv_lock_token(lock), token);
	}
}

TEST(rule_7_1_a_lease_goes_on_while_the_machine_sleeps) {
	atomic_store(&asleep_s, 0);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_ttl(lock, CALL_MS), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_uint_gt(kv_lock_left_ms(lock), CALL_MS / 2);
	atomic_store(&asleep_s, CALL_MS / 2 / 1000);
	ck_assert_uint_lt(kv_lock_left_ms(lock), CALL_MS / 2);
	ck_assert_uint_gt(kv_lock_left_ms(lock), 0);
	atomic_store(&asleep_s, CALL_MS / 1000);
	ck_assert_uint_eq(kv_lock_left_ms(lock), 0);
	/* The server, which was awake, has it still. */
	ck_assert_int_eq(kv_lock_renew(lock), KV_OK);
	ck_assert_uint_gt(kv_lock_left_ms(lock), CALL_MS / 2);
}

/* --- The note -------------------------------------------------------------------------------- */

TEST(a_note_of_the_holder_is_shown_while_it_holds_the_lock) {
	char text[KV_LOCK_NOTE_MAX];
	struct kv_lock_info info;
	struct kv_value value;

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_note(lock, (struct kv_bytes){text, sizeof(text)}), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_int_eq(kv_lock_inspect(client, bytes("lock"), &info), KV_OK);
	ck_assert_uint_eq(info.note_size, KV_LOCK_NOTE_MAX);
	ck_assert_mem_eq(info.note, text, sizeof(text));
	ck_assert_str_eq(info.id, kv_lock_id(lock));
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(kv_get(client, bytes("lock/__note"), &value), KV_NOKEY);
	ck_assert_int_eq(kv_lock_set_note(lock, (struct kv_bytes){NULL, 0}), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_int_eq(kv_lock_inspect(client, bytes("lock"), &info), KV_OK);
	(void)snprintf(text, sizeof(text), " pid %ld user ", (long)getpid());
	ck_assert_ptr_nonnull(strstr(info.note, text));
}

/* --- Restarts, and what is unknown ------------------------------------------------------------ */

CASE(durable, .setup = set_up_durable, .teardown = tear_down, .seconds = 60);

TEST(a_waiter_goes_on_waiting_over_a_restart_of_the_server) {
	struct contender contender;

	contender_start(&contender, 0, 0);
	await_waiting(client, 1);
	server_restart(&fx.server);
	await_waiting(client, 1);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	contender_end(&contender);
	ck_assert_int_eq(contender.status, KV_OK);
	ck_assert_uint_eq(contender.token, 3);
}

TEST(rule_7_3_a_time_out_at_a_stopped_server_is_settled_once_it_goes_on) {
	struct kv_client *other = open_client(SHORT_MS);
	struct kv_lock *late = open_lock(other, 0);
	struct kv_lock_info info;

	ck_assert_int_eq(kv_lock_try(late), KV_BUSY);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	process_signal(&fx.server.process, SIGSTOP);
	ck_assert_int_eq(kv_lock_acquire(late, SHORT_MS), KV_MAYBE);
	process_signal(&fx.server.process, SIGCONT);
	kv_set_timeout(other, CALL_MS);
	ck_assert_int_eq(kv_lock_release(late), KV_OK);
	ck_assert_int_eq(kv_lock_release(late), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_inspect(client, bytes("lock"), &info), KV_OK);
	ck_assert(!info.is_held);
	kv_lock_close(late);
	kv_close(other);
}

TEST(kv_settle_ends_a_write_that_came_back_maybe) {
	struct kv_client *other = open_client(SHORT_MS);
	struct kv_value value;
	enum kv_status status;

	ck_assert_int_eq(kv_put(other, bytes("k"), bytes("1"), KV_ANY, NULL), KV_OK);
	process_signal(&fx.server.process, SIGSTOP);
	ck_assert_int_eq(kv_put(other, bytes("k"), bytes("2"), KV_ANY, NULL), KV_MAYBE);
	ck_assert_int_ne(kv_settle(other), KV_OK);
	process_signal(&fx.server.process, SIGCONT);
	do
		status = kv_settle(other);
	while (status == KV_MAYBE || status == KV_TIMEOUT);
	ck_assert_int_eq(status, KV_OK);
	ck_assert_int_eq(kv_get(client, bytes("k"), &value), KV_OK);
	ck_assert(value.version == 1 || value.version == 2);
	uint64_t version = value.version;
	kv_value_free(&value);
	ck_assert_int_eq(kv_put(other, bytes("other"), bytes("3"), KV_ANY, NULL), KV_OK);
	ck_assert_int_eq(kv_get(client, bytes("k"), &value), KV_OK);
	ck_assert_uint_eq(value.version, version);
	kv_value_free(&value);
	kv_close(other);
}

struct sleeper {
	pthread_t thread;
	struct kv_client *view;
	enum kv_status status;
};

static void *wait_for_key(void *context) {
	struct sleeper *sleeper = context;
	struct kv_value value;

	sleeper->status = kv_wait(sleeper->view, bytes("lock"), 1, CALL_MS, &value);
	kv_value_free(&value);
	return NULL;
}

/* Several of one handle, so that one of them reads from the connection and the others sleep. */
TEST(kv_interrupt_ends_calls_that_wait_and_no_others) {
	struct sleeper sleepers[3], other;
	struct kv_client *view;

	ck_assert_int_eq(kv_with_timeout(client, 0, &view), KV_OK);
	for (unsigned i = 0; i < 3; i++) {
		sleepers[i] = (struct sleeper){.view = view};
		ck_assert_int_eq(
		    pthread_create(&sleepers[i].thread, NULL, wait_for_key, &sleepers[i]), 0);
	}
	other = (struct sleeper){.view = client};
	ck_assert_int_eq(pthread_create(&other.thread, NULL, wait_for_key, &other), 0);
	await_waiting(client, 4);
	kv_interrupt(view);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(pthread_join(sleepers[i].thread, NULL), 0);
		ck_assert_int_eq(sleepers[i].status, KV_TIMEOUT);
	}
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_int_eq(pthread_join(other.thread, NULL), 0);
	ck_assert_int_eq(other.status, KV_OK);
	kv_close(view);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The lock through kvfault: it excludes, all that wait get it, its tokens grow, and two names are
   two locks. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/lock.h>

#include "fault_workload.h"
#include "test.h"

enum {
	MANY = 10,
	LOCK_MS = 2000,
	LOCK_SHORT_MS = 1000,
	WAIT_MAX_MS = 100000, /* until everyone had a turn */
	/* A wait is asked for again every third of it: so long a lost reply keeps the others. */
	ACQUIRE_MS = 3000,
	/* A handle that acquires the lock again at once seldom leaves it to one that waits with
	   pauses. */
	REST_GOOD_MS = 20,
	REST_BAD_MS = 500,
};

/* What a lock guards, here in memory: no thread must ever see it taken. */
struct guarded {
	atomic_bool is_taken;
	uint64_t last_token; /* only with the lock held */
	atomic_uint turns;
};

static struct guarded outer, inner;
static atomic_uint users_without_a_turn, rivals;
static atomic_uint seen_apart; /* turns of the inner lock while another user held the outer one */

static void begin(struct guarded *guarded) {
	atomic_store(&guarded->is_taken, false);
	guarded->last_token = 0;
	atomic_store(&guarded->turns, 0);
}

static struct kv_lock *open_lock(struct client_thread *user, const char *name) {
	struct kv_lock *lock = NULL;

	check_status(kv_lock_open(user->client, (struct kv_bytes){name, strlen(name)}, &lock),
		     KV_OK);
	return lock;
}

/* Takes the lock, and what it guards. */
static void take(struct kv_lock *lock, struct guarded *guarded) {
	enum kv_status status;

	do
		status = kv_lock_acquire(lock, ACQUIRE_MS);
	while (status == KV_TIMEOUT || status == KV_MAYBE);
	check_status(status, KV_OK);
	ck_assert_msg(!atomic_exchange(&guarded->is_taken, true), "two hold the lock");
	ck_assert_uint_gt(kv_lock_token(lock), guarded->last_token);
	guarded->last_token = kv_lock_token(lock);
	atomic_fetch_add(&guarded->turns, 1);
}

static void give(struct kv_lock *lock, struct guarded *guarded) {
	ck_assert_msg(atomic_exchange(&guarded->is_taken, false), "another gave what this one has");
	check_status(kv_lock_release(lock), KV_OK);
}

/*
 * Over udp a handle polls, and where others wait on the server it sees the lock free only once none
 * does (PROTOCOL.md, 7.9). So it is not awaited.
 */
static bool is_awaited(unsigned user) {
	return fault_workload_way(user) != VIA_UDP;
}

static unsigned awaited_of(unsigned count) {
	unsigned awaited = 0;

	for (unsigned i = 0; i < count; i++)
		awaited += is_awaited(i);
	return awaited;
}

/* Until the time is up and each user that is awaited had a turn. */
static bool goes_on(struct client_thread *user) {
	ck_assert_msg(suite_now_ms() < user->workload->end_ms + WAIT_MAX_MS,
		      "%u users never got the lock", atomic_load(&users_without_a_turn));
	return fault_workload_goes_on(user->workload) || atomic_load(&users_without_a_turn) > 0;
}

static void count_turn(struct client_thread *user) {
	unsigned chance = (unsigned)user->workload->fault.seed + 100 * user->number + user->done;

	if (user->done++ == 0 && is_awaited(user->number))
		atomic_fetch_sub(&users_without_a_turn, 1);
	if (atomic_load(&rivals) > 1)
		suite_pause_ms((unsigned)rand_r(&chance) %
			       (user->workload->is_bad ? REST_BAD_MS : REST_GOOD_MS));
}

/* A number in the store, read and written apart: the lock makes it one step. */
static void add_one(struct client_thread *user, const char *key) {
	struct kv_value value;
	char text[24] = "0";
	enum kv_status status = user_get(user, key, &value);

	ck_assert(status == KV_OK || status == KV_NOKEY);
	ck_assert_uint_lt(value.size, sizeof text);
	if (value.size > 0)
		memcpy(text, value.data, value.size);
	text[value.size > 0 ? value.size : 1] = '\0';
	(void)snprintf(text, sizeof text, "%ld", strtol(text, NULL, 10) + 1);
	check_status(user_put(user, key, text, value.version, NULL), KV_OK);
	kv_value_free(&value);
}

static void check_count(struct fault_workload *workload, const char *key, unsigned count) {
	struct client_thread reader;
	char text[24];

	(void)snprintf(text, sizeof text, "%u", count);
	user_open(&reader, workload, 0);
	user_check(&reader, key, text);
	user_close(&reader);
}

/* --- One name ----------------------------------------------------------------------------------
 */

static void take_turns(struct client_thread *user) {
	struct kv_lock *lock = open_lock(user, "lock");

	while (goes_on(user)) {
		take(lock, &outer);
		add_one(user, "count");
		give(lock, &outer);
		count_turn(user);
	}
	kv_lock_close(lock);
}

static void try_lock(enum network network, unsigned count, const char *name) {
	struct fault_workload workload;
	struct client_thread users[MANY];
	char what[96];

	fault_workload_begin(&workload, network, NULL);
	begin(&outer);
	atomic_store(&users_without_a_turn, awaited_of(count));
	atomic_store(&rivals, count);
	workload.end_ms = suite_now_ms() + fault_workload_ms(LOCK_MS, LOCK_SHORT_MS);
	fault_workload_run(&workload, users, count, take_turns);
	check_count(&workload, "count", atomic_load(&outer.turns));
	(void)snprintf(what, sizeof what, "%u turns of the lock by %u, %s network",
		       atomic_load(&outer.turns), count, name);
	fault_workload_end(&workload, what);
}

CASE(one_name);

TEST(one_client_takes_and_gives_the_lock_on_a_good_network) {
	try_lock(NETWORK_GOOD, 1, "good");
}

TEST(one_client_takes_and_gives_the_lock_on_a_bad_network) {
	try_lock(NETWORK_BAD, 1, "bad");
}

TEST(many_clients_never_hold_the_lock_together_on_a_good_network) {
	try_lock(NETWORK_GOOD, MANY, "good");
}

TEST(many_clients_never_hold_the_lock_together_on_a_bad_network) {
	try_lock(NETWORK_BAD, MANY, "bad");
}

/* --- Two names ---------------------------------------------------------------------------------
 */

/* Some take the second lock within the first, the others the second alone. */
static void take_nested_turns(struct client_thread *user) {
	struct kv_lock *first = open_lock(user, "first");
	struct kv_lock *second = open_lock(user, "second");
	bool is_nested = user->number % 2 == 0;

	while (goes_on(user)) {
		if (is_nested)
			take(first, &outer);
		take(second, &inner);
		if (!is_nested && atomic_load(&outer.is_taken))
			atomic_fetch_add(&seen_apart, 1);
		add_one(user, "count");
		give(second, &inner);
		if (is_nested)
			give(first, &outer);
		count_turn(user);
	}
	kv_lock_close(second);
	kv_lock_close(first);
}

/* A holder of one name keeps no handle from the other. */
static void check_independent(struct fault_workload *workload) {
	struct client_thread one, other;
	struct kv_lock *a, *b;

	user_open(&one, workload, 0);
	user_open(&other, workload, 2);
	a = open_lock(&one, "name a");
	b = open_lock(&other, "name b");
	check_status(kv_lock_acquire(a, 0), KV_OK);
	check_status(kv_lock_acquire(b, 0), KV_OK);
	ck_assert_uint_gt(kv_lock_token(a), 0);
	ck_assert_uint_gt(kv_lock_token(b), 0);
	check_status(kv_lock_release(a), KV_OK);
	ck_assert_uint_gt(kv_lock_token(b), 0);
	check_status(kv_lock_release(b), KV_OK);
	kv_lock_close(a);
	kv_lock_close(b);
	user_close(&one);
	user_close(&other);
}

static void try_two_names(enum network network, const char *name) {
	struct fault_workload workload;
	struct client_thread users[MANY];
	char what[128];

	fault_workload_begin(&workload, network, NULL);
	begin(&outer);
	begin(&inner);
	check_independent(&workload);
	atomic_store(&users_without_a_turn, awaited_of(MANY));
	atomic_store(&rivals, MANY);
	atomic_store(&seen_apart, 0);
	workload.end_ms = suite_now_ms() + fault_workload_ms(LOCK_MS, LOCK_SHORT_MS);
	fault_workload_run(&workload, users, MANY, take_nested_turns);
	check_count(&workload, "count", atomic_load(&inner.turns));
	(void)snprintf(what, sizeof what, "two names, %s network: %u turns, %u held apart", name,
		       atomic_load(&inner.turns), atomic_load(&seen_apart));
	fault_workload_end(&workload, what);
}

CASE(two_names);

TEST(two_names_are_two_locks_and_nest_on_a_good_network) {
	try_two_names(NETWORK_GOOD, "good");
}

TEST(two_names_are_two_locks_and_nest_on_a_bad_network) {
	try_two_names(NETWORK_BAD, "bad");
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The lock through kvfault: it excludes, everyone gets it, its tokens grow, and two names are two
   locks. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/lock.h>

#include "trial.h"

enum {
	MANY = 10,
	LOCK_MS = 2000,
	LOCK_SHORT_MS = 1000,
	PATIENCE_MS = 100000, /* until everyone had a turn */
	/* Whoever takes the lock again at once seldom leaves it to one who waits with pauses. */
	REST_GOOD_MS = 20,
	REST_BAD_MS = 500,
};

/* What a lock guards, here in memory: nobody must ever see it taken. */
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

static struct kv_lock *open_lock(struct user *user, const char *name) {
	struct kv_lock *lock = NULL;

	check_status(kv_lock_open(user->client, (struct kv_bytes){name, strlen(name)}, &lock),
		     KV_OK);
	return lock;
}

/* Takes the lock, and what it guards. */
static void take(struct kv_lock *lock, struct guarded *guarded) {
	check_status(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_msg(!atomic_exchange(&guarded->is_taken, true), "two hold the lock");
	ck_assert_uint_gt(kv_lock_token(lock), guarded->last_token);
	guarded->last_token = kv_lock_token(lock);
	atomic_fetch_add(&guarded->turns, 1);
}

static void give(struct kv_lock *lock, struct guarded *guarded) {
	ck_assert_msg(atomic_exchange(&guarded->is_taken, false), "another gave what this one has");
	check_status(kv_lock_release(lock), KV_OK);
}

/* Until the time is up and each of all users had a turn. */
static bool goes_on(struct user *user) {
	ck_assert_msg(suite_now_ms() < user->trial->end_ms + PATIENCE_MS,
		      "%u users never got the lock", atomic_load(&users_without_a_turn));
	return trial_goes_on(user->trial) || atomic_load(&users_without_a_turn) > 0;
}

static void count_turn(struct user *user) {
	unsigned chance = (unsigned)user->trial->fault.seed + 100 * user->number + user->done;

	if (user->done++ == 0)
		atomic_fetch_sub(&users_without_a_turn, 1);
	if (atomic_load(&rivals) > 1)
		suite_pause_ms((unsigned)rand_r(&chance) %
			       (user->trial->is_bad ? REST_BAD_MS : REST_GOOD_MS));
}

/* A number in the store, read and written apart: the lock makes it one step. */
static void add_one(struct user *user, const char *key) {
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

static void check_count(struct trial *trial, const char *key, unsigned count) {
	struct user reader;
	char text[24];

	(void)snprintf(text, sizeof text, "%u", count);
	user_open(&reader, trial, 0);
	user_check(&reader, key, text);
	user_close(&reader);
}

/* --- One name ----------------------------------------------------------------------------------
 */

static void take_turns(struct user *user) {
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
	struct trial trial;
	struct user users[MANY];
	char what[96];

	trial_begin(&trial, network, NULL);
	begin(&outer);
	atomic_store(&users_without_a_turn, count);
	atomic_store(&rivals, count);
	trial.end_ms = suite_now_ms() + trial_ms(LOCK_MS, LOCK_SHORT_MS);
	trial_run(&trial, users, count, take_turns);
	check_count(&trial, "count", atomic_load(&outer.turns));
	(void)snprintf(what, sizeof what, "%u turns of the lock by %u, %s network",
		       atomic_load(&outer.turns), count, name);
	trial_end(&trial, what);
}

START_TEST(one_client_takes_and_gives_the_lock_on_a_good_network) {
	try_lock(NETWORK_GOOD, 1, "good");
}
END_TEST

START_TEST(one_client_takes_and_gives_the_lock_on_a_bad_network) {
	try_lock(NETWORK_BAD, 1, "bad");
}
END_TEST

START_TEST(many_clients_never_hold_the_lock_together_on_a_good_network) {
	try_lock(NETWORK_GOOD, MANY, "good");
}
END_TEST

START_TEST(many_clients_never_hold_the_lock_together_on_a_bad_network) {
	try_lock(NETWORK_BAD, MANY, "bad");
}
END_TEST

/* --- Two names ---------------------------------------------------------------------------------
 */

/* Some take the second lock within the first, the others the second alone. */
static void take_nested_turns(struct user *user) {
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

/* Who holds one name keeps nobody from the other. */
static void check_independent(struct trial *trial) {
	struct user one, other;
	struct kv_lock *a, *b;

	user_open(&one, trial, 0);
	user_open(&other, trial, 2);
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
	struct trial trial;
	struct user users[MANY];
	char what[128];

	trial_begin(&trial, network, NULL);
	begin(&outer);
	begin(&inner);
	check_independent(&trial);
	atomic_store(&users_without_a_turn, MANY);
	atomic_store(&rivals, MANY);
	atomic_store(&seen_apart, 0);
	trial.end_ms = suite_now_ms() + trial_ms(LOCK_MS, LOCK_SHORT_MS);
	trial_run(&trial, users, MANY, take_nested_turns);
	check_count(&trial, "count", atomic_load(&inner.turns));
	(void)snprintf(what, sizeof what, "two names, %s network: %u turns, %u held apart", name,
		       atomic_load(&inner.turns), atomic_load(&seen_apart));
	trial_end(&trial, what);
}

START_TEST(two_names_are_two_locks_and_nest_on_a_good_network) {
	try_two_names(NETWORK_GOOD, "good");
}
END_TEST

START_TEST(two_names_are_two_locks_and_nest_on_a_bad_network) {
	try_two_names(NETWORK_BAD, "bad");
}
END_TEST

int main(void) {
	Suite *suite = suite_create("fault lock");
	TCase *locks = suite_case(suite, "one name");
	TCase *names = suite_case(suite, "two names");

	tcase_add_test(locks, one_client_takes_and_gives_the_lock_on_a_good_network);
	tcase_add_test(locks, one_client_takes_and_gives_the_lock_on_a_bad_network);
	tcase_add_test(locks, many_clients_never_hold_the_lock_together_on_a_good_network);
	tcase_add_test(locks, many_clients_never_hold_the_lock_together_on_a_bad_network);
	tcase_add_test(names, two_names_are_two_locks_and_nest_on_a_good_network);
	tcase_add_test(names, two_names_are_two_locks_and_nest_on_a_bad_network);
	return suite_run(suite);
}

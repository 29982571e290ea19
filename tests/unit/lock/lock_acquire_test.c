/* SPDX-License-Identifier: BSD-3-Clause */
/* Acquiring the lock when every Put has a reply: which handle gets it, how it waits, its cost. */
#include <kv/lock.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "two_handles.h"

static const char another[] = "0123456789abcdef0123456789abcdef";
static struct kv_lock *open_lock(struct kv_bytes key) {
	struct kv_lock *lock;

	ck_assert_int_eq(kv_lock_open(client, key, &lock), KV_OK);
	return lock;
}

static unsigned calls(void) {
	return fake_gets() + fake_puts();
}

/* --- Which handle gets it ------------------------------------------------------------------ */

CASE(take, .setup = set_up_polling, .teardown = tear_down);

TEST(a_free_lock_is_taken_with_a_look_and_a_write) {
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert_uint_eq(kv_lock_token(a), 2);
	ck_assert_uint_eq(calls(), 2);
}

static struct fake_call first_put;

static void note_first_put(const struct fake_call *call, struct fake_answer *answer) {
	if (call->is_put && !first_put.is_put)
		first_put = *call;
	answer->status = call->is_put ? KV_DENIED : KV_NOKEY;
}

TEST(a_missing_lock_is_made_as_a_free_one_and_then_taken) {
	struct kv_lock *lock = open_lock((struct kv_bytes){"new", 3});

	fake_serve(note_first_put);
	ck_assert_int_eq(kv_lock_try(lock), KV_DENIED);
	ck_assert_str_eq(first_put.text, "__unlocked");
	ck_assert_uint_eq(first_put.expected, 0);
	fake_serve(NULL);
	take(lock);
	ck_assert(fake_holds("new", kv_lock_id(lock), 2));
	ck_assert_uint_eq(kv_lock_token(lock), 2);
	kv_lock_close(lock);
}

TEST(a_missing_lock_whose_making_is_in_doubt_is_looked_at_and_leaves_no_doubt) {
	struct kv_lock *lock = open_lock((struct kv_bytes){"new", 3});

	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LATE);
	fake_plan_status(KV_DENIED);
	ck_assert_int_eq(kv_lock_try(lock), KV_DENIED);
	ck_assert_int_eq(kv_lock_release(lock), KV_NOTHELD);
	ck_assert_uint_eq(fake_land(), 1);
	ck_assert(fake_holds("new", "__unlocked", 1));
	fake_plan(FATE_ANSWERED);
	take(lock);
	ck_assert_uint_eq(kv_lock_token(lock), 2);
	kv_lock_close(lock);
}

TEST(a_missing_lock_that_another_makes_first_is_taken_all_the_same) {
	struct kv_bytes key = {"new", 3};
	struct kv_lock *first = open_lock(key), *second = open_lock(key);

	ck_assert_int_eq(kv_lock_try(first), KV_OK);
	ck_assert_int_eq(kv_lock_try(second), KV_BUSY);
	give(first);
	ck_assert_int_eq(kv_lock_try(second), KV_OK);
	kv_lock_close(first);
	kv_lock_close(second);
}

TEST(an_unlocked_key_is_taken_and_the_new_version_is_the_token) {
	fake_write("lock", "__unlocked");
	fake_write("lock", "__unlocked");
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

TEST(the_holder_takes_it_again_at_once_and_without_traffic) {
	unsigned before;

	take(a);
	before = calls();
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(a, 1), KV_OK);
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(calls(), before);
	ck_assert_uint_eq(kv_lock_token(a), 2);
}

TEST(a_lock_that_another_holds_is_not_taken) {
	take(a);
	ck_assert_int_eq(kv_lock_acquire(b, 500), KV_TIMEOUT);
	ck_assert_int_eq(kv_lock_try(b), KV_BUSY);
	ck_assert_uint_eq(kv_lock_token(b), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

static void a_gives_it_back(void) {
	give(a);
}

TEST(a_waiter_takes_it_once_the_holder_has_given_it_back) {
	take(a);
	fake_at(3000, a_gives_it_back);
	ck_assert_int_eq(kv_lock_acquire(b, 0), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
	ck_assert_uint_ge(fake_now_ms(), 3000);
	ck_assert_uint_le(fake_now_ms(), 4000);
}

static void b_takes_it(void) {
	take(b);
}

static void b_takes_it_and_gives_it_back(void) {
	take(b);
	give(b);
}

TEST(a_handle_that_loses_the_race_between_get_and_put_does_not_hold_it) {
	fake_plan(FATE_ANSWERED);
	fake_plan_act(b_takes_it);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 2));
}

TEST(a_handle_that_loses_the_race_acquires_it_if_it_is_free_again) {
	fake_plan(FATE_ANSWERED);
	fake_plan_act(b_takes_it_and_gives_it_back);
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
}

TEST(the_token_grows_with_every_acquisition_of_any_handle) {
	uint64_t last = 0;

	for (unsigned i = 0; i < 10; i++) {
		struct kv_lock *lock = i % 3 == 0 ? b : a;

		take(lock);
		ck_assert_uint_gt(kv_lock_token(lock), last);
		last = kv_lock_token(lock);
		give(lock);
		ck_assert_uint_eq(kv_lock_token(lock), 0);
	}
}

TEST(a_key_that_was_deleted_is_initialised_again_above_its_versions) {
	take(a);
	give(a);
	fake_delete("lock");
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 5));
}

TEST(a_key_that_holds_what_no_lock_writes_is_never_written_over) {
	static const char *const texts[] = {
	    "",
	    "unlocked",
	    "__unlocked ",
	    "__UNLOCKED",
	    "0123456789abcdef0123456789abcde",
	    "0123456789abcdef0123456789abcdef0",
	    "0123456789ABCDEF0123456789ABCDEF",
	    "0123456789abcdef 123456789abcdef",
	};

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fake_write("lock", texts[i]);
		ck_assert_int_eq(kv_lock_acquire(a, 0), KV_INVALID);
		ck_assert_int_eq(kv_lock_try(a), KV_INVALID);
		ck_assert(fake_holds("lock", texts[i], i + 2));
	}
	ck_assert_uint_eq(fake_puts(), 0);
}

TEST(an_id_of_its_own_that_the_handle_did_not_write_counts_as_anothers) {
	fake_write("lock", kv_lock_id(a));
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

/* --- Handles ------------------------------------------------------------------------------- */

TEST(every_handle_has_an_id_of_32_hexadecimal_digits_of_its_own) {
	enum { IDS = 100 };
	char ids[IDS][33];

	for (unsigned i = 0; i < IDS; i++) {
		struct kv_lock *lock = open_lock(name);

		ck_assert_uint_eq(strlen(kv_lock_id(lock)), 32);
		ck_assert_uint_eq(strspn(kv_lock_id(lock), "0123456789abcdef"), 32);
		strcpy(ids[i], kv_lock_id(lock));
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(ids[j], ids[i]);
		kv_lock_close(lock);
	}
}

TEST(without_random_bits_there_is_no_handle) {
	struct kv_lock *lock = a;

	fake_chance(FAKE_NO_CHANCE);
	ck_assert_int_eq(kv_lock_open(client, name, &lock), KV_NOMEM);
	ck_assert_ptr_null(lock);
}

TEST(a_name_has_1_to_1024_bytes) {
	static const char bytes[KV_KEY_MAX + 1];
	struct kv_lock *lock = a;

	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){NULL, 0}, &lock), KV_INVALID);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){NULL, 1}, &lock), KV_INVALID);
	ck_assert_ptr_null(lock);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){bytes, KV_KEY_MAX + 1}, &lock),
			 KV_INVALID);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){bytes, KV_KEY_MAX}, &lock), KV_OK);
	kv_lock_close(lock);
}

TEST(the_name_is_copied_and_opening_sends_nothing) {
	char bytes[] = "mine";
	struct kv_lock *lock = open_lock((struct kv_bytes){bytes, 4});

	ck_assert_uint_eq(calls(), 0);
	memcpy(bytes, "XXXX", 4);
	take(lock);
	ck_assert(fake_holds("mine", kv_lock_id(lock), 2));
	kv_lock_close(lock);
}

TEST(locks_of_different_names_are_independent_and_one_client_holds_several) {
	struct kv_lock *other = open_lock((struct kv_bytes){"other", 5});

	take(a);
	take(other);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert(fake_holds("other", kv_lock_id(other), 2));
	give(a);
	ck_assert(fake_holds("other", kv_lock_id(other), 2));
	ck_assert_uint_eq(kv_lock_token(other), 2);
	kv_lock_close(other);
}

TEST(closing_a_handle_does_not_release_the_lock) {
	struct kv_lock *lock = open_lock(name);
	char id[33];

	take(lock);
	strcpy(id, kv_lock_id(lock));
	kv_lock_close(lock);
	ck_assert(fake_holds("lock", id, 2));
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
}

TEST(in_a_forked_child_a_handle_holds_nothing_and_answers_invalid) {
	int how;
	pid_t child;

	take(a);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(!(kv_lock_acquire(a, 0) == KV_INVALID && kv_lock_try(a) == KV_INVALID &&
			kv_lock_release(a) == KV_INVALID && kv_lock_token(a) == 0));
	ck_assert_int_eq(waitpid(child, &how, 0), child);
	ck_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
	ck_assert_uint_eq(kv_lock_token(a), 2);
}

TEST(a_handle_has_a_view_of_its_own_until_it_is_closed) {
	unsigned before = fake_open_views();
	struct kv_lock *lock = open_lock(name);

	ck_assert_uint_eq(fake_open_views(), before + 1);
	take(lock);
	give(lock);
	ck_assert_uint_eq(fake_open_views(), before + 1);
	kv_lock_close(lock);
	ck_assert_uint_eq(fake_open_views(), before);
}

TEST(without_a_view_there_is_no_handle) {
	static const enum kv_status why[] = {KV_NOMEM, KV_INVALID};
	struct kv_lock *lock = a;

	for (unsigned i = 0; i < sizeof(why) / sizeof(why[0]); i++) {
		fake_refuse_views(why[i]);
		ck_assert_int_eq(kv_lock_open(client, name, &lock), why[i]);
		ck_assert_ptr_null(lock);
	}
}

/* --- What it costs ------------------------------------------------------------------------- */

TEST(taking_and_giving_again_costs_two_round_trips) {
	unsigned before;

	take(a);
	give(a);
	before = calls();
	take(a);
	give(a);
	ck_assert_uint_eq(calls(), before + 2);
	ck_assert(fake_holds("lock", "__unlocked", 5));
}

TEST(a_remembered_version_that_is_old_costs_a_look_and_takes_nothing) {
	take(a);
	give(a);
	take(b);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
	give(b);
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 6));
}

/* --- How it waits -------------------------------------------------------------------------- */

TEST(acquire_ends_at_its_time_limit_whichever_handle_holds_the_lock) {
	fake_write("lock", another);
	fake_round_trip(3);
	ck_assert_int_eq(kv_lock_acquire(a, 2500), KV_TIMEOUT);
	ck_assert_uint_ge(fake_now_ms(), 2500);
	ck_assert_uint_le(fake_now_ms(), 2503);
	ck_assert(fake_holds("lock", another, 2));
	ck_assert_uint_eq(fake_puts(), 0);
}

TEST(pauses_double_from_10_ms_to_1_s) {
	static const uint64_t pauses_ms[] = {10, 20, 40, 80, 160, 320, 640, 1000, 1000, 730};

	fake_chance(0);
	fake_write("lock", another);
	ck_assert_int_eq(kv_lock_acquire(a, 4000), KV_TIMEOUT);
	for (unsigned i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++)
		ck_assert_uint_eq(fake_pause_ms(i), pauses_ms[i]);
	ck_assert_uint_eq(fake_now_ms(), 4000);
}

TEST(jitter_lies_in_the_upper_half_of_each_pause) {
	unsigned lower_quarter = 0, upper_quarter = 0;

	fake_write("lock", another);
	ck_assert_int_eq(kv_lock_acquire(a, 400 * 1000), KV_TIMEOUT);
	ck_assert_uint_ge(fake_pause_ms(0), 5);
	ck_assert_uint_le(fake_pause_ms(0), 10);
	for (unsigned i = 7; i < 400; i++) {
		ck_assert_uint_ge(fake_pause_ms(i), 500);
		ck_assert_uint_le(fake_pause_ms(i), 1000);
		lower_quarter += fake_pause_ms(i) < 625;
		upper_quarter += fake_pause_ms(i) > 875;
	}
	ck_assert_uint_ge(lower_quarter, 50);
	ck_assert_uint_ge(upper_quarter, 50);
}

TEST(without_random_bits_it_waits_without_jitter) {
	fake_write("lock", another);
	fake_chance(FAKE_NO_CHANCE);
	ck_assert_int_eq(kv_lock_acquire(a, 25), KV_TIMEOUT);
	ck_assert_uint_eq(fake_pause_ms(0), 10);
	ck_assert_uint_eq(fake_pause_ms(1), 15);
}

TEST(try_never_pauses) {
	fake_write("lock", another);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_uint_eq(fake_pause_ms(0), 0);
	ck_assert_uint_eq(fake_now_ms(), 0);
	ck_assert_uint_eq(calls(), 1);
}

TEST(a_frozen_server_holds_no_acquire_beyond_the_limit_if_nothing_was_put) {
	fake_freeze(true);
	ck_assert_int_eq(kv_lock_acquire(a, 300), KV_TIMEOUT);
	ck_assert_uint_eq(fake_now_ms(), 300);
	ck_assert_uint_eq(fake_puts(), 0);
}

static unsigned limits_ms[4];

static void note_limit(const struct fake_call *call, struct fake_answer *answer) {
	limits_ms[fake_gets() + fake_puts() - 1] = call->timeout_ms;
	fake_pass(100);
	answer->status = call->is_put ? KV_OK : KV_NOKEY;
	answer->version = 1;
}

TEST(each_call_may_take_what_is_left_of_the_limit) {
	fake_serve(note_limit);
	ck_assert_int_eq(kv_lock_acquire(a, 300), KV_OK);
	ck_assert_uint_eq(limits_ms[0], 300);
	ck_assert_uint_eq(limits_ms[1], 200);
}

TEST(without_a_limit_each_call_has_the_clients_own) {
	struct kv_lock *lock;

	ck_assert_int_eq(kv_lock_open(fake_client(70), name, &lock), KV_OK);
	fake_serve(note_limit);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_uint_eq(limits_ms[0], 70);
	ck_assert_uint_eq(limits_ms[1], 70);
	ck_assert_uint_eq(limits_ms[2], 70);
	kv_lock_close(lock);
}

TEST(the_clients_limit_is_that_from_when_the_handle_was_opened) {
	struct kv_lock *lock;
	struct kv_client *mine;

	ck_assert_int_eq(kv_with_timeout(client, 70, &mine), KV_OK);
	ck_assert_int_eq(kv_lock_open(mine, name, &lock), KV_OK);
	kv_set_timeout(mine, 900);
	fake_serve(note_limit);
	/* A limit of one use is not that of the next. */
	ck_assert_int_eq(kv_lock_acquire(lock, 300), KV_OK);
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_uint_eq(limits_ms[3], 70);
	ck_assert_uint_eq(kv_timeout(mine), 900);
	kv_lock_close(lock);
	kv_close(mine);
}

TEST(without_a_limit_acquire_outlasts_calls_that_time_out) {
	fake_plan_status(KV_TIMEOUT);
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_UNSENT);
	fake_plan_status(KV_TIMEOUT);
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

/* --- Other answers ------------------------------------------------------------------------- */

TEST(in_another_store_acquire_starts_afresh) {
	fake_write("lock", "__unlocked");
	take(a);
	give(a);
	fake_exchange();
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert_uint_eq(kv_lock_token(a), 2);
}

TEST(the_version_at_which_it_was_free_in_another_store_takes_nothing_from_another) {
	take(a);
	give(a);
	fake_exchange();
	/* The version at which a knows the key to be free is that of b's lock here. */
	fake_write("lock", "__unlocked");
	fake_write("lock", "__unlocked");
	take(b);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert(fake_holds("lock", kv_lock_id(b), 3));
}

TEST(a_store_that_changes_all_the_time_is_asked_with_pauses) {
	for (unsigned i = 0; i < 16; i++)
		fake_plan_status(KV_BADSESSION);
	take(a);
	ck_assert_uint_gt(fake_pause_ms(0), 0);
	ck_assert_uint_gt(fake_pause_ms(1), 0);
	for (unsigned i = 0; i < 16; i++)
		fake_plan_status(KV_BADSESSION);
	ck_assert_int_eq(kv_lock_try(b), KV_BADSESSION);
}

TEST(a_refusal_is_passed_on_and_the_lock_is_not_held) {
	static const enum kv_status refusals[] = {
	    KV_FULL, KV_DENIED, KV_TOOBIG, KV_INVALID, KV_UNAVAILABLE, KV_PROTOCOL, KV_NOMEM};

	for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct kv_lock *lock = open_lock(name);

		fake_plan_status(refusals[i]);
		ck_assert_int_eq(kv_lock_acquire(lock, 0), refusals[i]);
		fake_plan(FATE_ANSWERED);
		fake_plan_status(refusals[i]);
		ck_assert_int_eq(kv_lock_try(lock), refusals[i]);
		ck_assert_uint_eq(kv_lock_token(lock), 0);
		ck_assert_int_eq(kv_lock_release(lock), KV_NOTHELD);
		kv_lock_close(lock);
	}
	ck_assert(fake_holds("lock", "__unlocked", 1));
}

static void another_client_writes_it(void) {
	fake_write("lock", "__unlocked");
}

TEST(try_gives_up_when_others_are_quicker_each_time) {
	for (unsigned i = 0; i < 16; i++) {
		fake_plan(FATE_ANSWERED);
		fake_plan_act(another_client_writes_it);
	}
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_uint_le(fake_puts(), 16);
}

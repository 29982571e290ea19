/* SPDX-License-Identifier: BSD-3-Clause */
/* Giving the lock back, and breaking one, when every Put is answered. */
#include <kv/lock.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_kv.h"

static const char dead[] = "0123456789abcdef0123456789abcdef";
static const struct kv_bytes name = {"lock", 4};

static struct kv_client *client;
static struct kv_lock *a, *b;

static void set_up(void) {
	client = fake_reset();
	ck_assert_int_eq(kv_lock_open(client, name, &a), KV_OK);
	ck_assert_int_eq(kv_lock_open(client, name, &b), KV_OK);
}

static void tear_down(void) {
	kv_lock_close(a);
	kv_lock_close(b);
	ck_assert_uint_eq(fake_open_views(), 0);
}

static unsigned calls(void) {
	return fake_gets() + fake_puts();
}

static void take(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_acquire(lock, 1000), KV_OK);
}

/* --- Release ------------------------------------------------------------------------------- */

START_TEST(release_puts_unlocked_at_the_token) {
	take(a);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 2));
	ck_assert_uint_eq(kv_lock_token(a), 0);
}
END_TEST

START_TEST(release_by_a_handle_that_never_took_it_changes_nothing) {
	take(a);
	ck_assert_int_eq(kv_lock_release(b), KV_NOTHELD);
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
}
END_TEST

START_TEST(a_second_release_is_refused_without_traffic) {
	unsigned before;

	take(a);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	take(b);
	before = calls();
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(calls(), before);
	ck_assert(fake_holds("lock", kv_lock_id(b), 3));
}
END_TEST

START_TEST(a_holder_whose_lock_was_broken_releases_nobody_elses) {
	take(a);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	take(b);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 3));
	ck_assert_uint_gt(kv_lock_token(b), 1);
}
END_TEST

START_TEST(a_holder_whose_key_was_deleted_holds_nothing_any_more) {
	take(a);
	fake_delete("lock");
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", "", 0));
}
END_TEST

START_TEST(a_release_that_is_refused_or_was_never_sent_leaves_it_held) {
	static const enum kv_status refusals[] = {
	    KV_TIMEOUT, KV_FULL, KV_DENIED, KV_INVALID, KV_NOMEM, KV_UNAVAILABLE, KV_PROTOCOL};

	take(a);
	for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		fake_plan_status(refusals[i]);
		ck_assert_int_eq(kv_lock_release(a), refusals[i]);
		ck_assert_uint_eq(kv_lock_token(a), 1);
	}
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 2));
}
END_TEST

START_TEST(a_holder_whose_store_is_gone_holds_nothing_and_is_told) {
	take(a);
	fake_exchange();
	ck_assert_int_eq(kv_lock_release(a), KV_BADSESSION);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", "", 0));
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
}
END_TEST

/* Tells whoever shares the client, were the client's handles not told each for itself. */
static void somebody_is_told(void) {
	struct kv_value value;

	ck_assert_int_eq(kv_get(client, name, &value), KV_BADSESSION);
	kv_value_free(&value);
}

START_TEST(a_holder_whose_store_is_gone_hears_of_it_whoever_heard_before_and_unlocks_nobody) {
	struct kv_value value;

	ck_assert_int_eq(kv_get(client, name, &value), KV_NOKEY);
	take(a);
	fake_exchange();
	somebody_is_told();
	/* At the version of a's lock in the old store. */
	take(b);
	ck_assert(fake_holds("lock", kv_lock_id(b), kv_lock_token(a)));
	ck_assert_int_eq(kv_lock_release(a), KV_BADSESSION);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert(fake_holds("lock", kv_lock_id(b), 1));
	ck_assert_int_eq(kv_lock_release(b), KV_OK);
}
END_TEST

static void it_is_another_store_and_b_takes_it(void) {
	fake_exchange();
	take(b);
}

START_TEST(a_release_that_was_under_way_when_the_store_went_unlocks_nobody) {
	take(a);
	fake_plan_act(it_is_another_store_and_b_takes_it);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 1));
}
END_TEST

/* --- Break --------------------------------------------------------------------------------- */

START_TEST(break_unlocks_whoever_holds_it) {
	fake_write("lock", dead);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 2));
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
}
END_TEST

START_TEST(breaking_a_free_lock_stops_a_dead_holders_late_put) {
	take(a);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	fake_plan(FATE_LATE); /* a's last Put: then a is gone */
	fake_plan_status(KV_TIMEOUT);
	fake_freeze(true);
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_MAYBE);
	fake_freeze(false);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", "__unlocked", 3));
}
END_TEST

START_TEST(there_is_nothing_to_break_where_there_is_no_lock) {
	ck_assert_int_eq(kv_lock_break(client, name), KV_NOKEY);
	ck_assert(fake_holds("lock", "", 0));
	ck_assert_int_eq(kv_lock_break(client, (struct kv_bytes){NULL, 0}), KV_INVALID);
}
END_TEST

START_TEST(break_never_writes_over_what_no_lock_writes) {
	fake_write("lock", "precious");
	ck_assert_int_eq(kv_lock_break(client, name), KV_INVALID);
	fake_write("lock", "");
	ck_assert_int_eq(kv_lock_break(client, name), KV_INVALID);
	ck_assert(fake_holds("lock", "", 2));
}
END_TEST

static void it_changes_hands(void) {
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	take(b);
}

START_TEST(break_leaves_alone_a_lock_that_changed_hands_meanwhile) {
	take(a);
	fake_plan(FATE_ANSWERED);
	fake_plan_act(it_changes_hands);
	ck_assert_int_eq(kv_lock_break(client, name), KV_VERSION);
	ck_assert(fake_holds("lock", kv_lock_id(b), 3));
}
END_TEST

START_TEST(break_says_what_became_of_its_put) {
	take(a);
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_break(client, name), KV_MAYBE);
	fake_plan_status(KV_TIMEOUT);
	ck_assert_int_eq(kv_lock_break(client, name), KV_TIMEOUT);
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
}
END_TEST

int main(void) {
	Suite *suite = suite_create("lock: giving back and breaking");
	TCase *tests = tcase_create("give");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, release_puts_unlocked_at_the_token);
	tcase_add_test(tests, release_by_a_handle_that_never_took_it_changes_nothing);
	tcase_add_test(tests, a_second_release_is_refused_without_traffic);
	tcase_add_test(tests, a_holder_whose_lock_was_broken_releases_nobody_elses);
	tcase_add_test(tests, a_holder_whose_key_was_deleted_holds_nothing_any_more);
	tcase_add_test(tests, a_release_that_is_refused_or_was_never_sent_leaves_it_held);
	tcase_add_test(tests, a_holder_whose_store_is_gone_holds_nothing_and_is_told);
	tcase_add_test(
	    tests,
	    a_holder_whose_store_is_gone_hears_of_it_whoever_heard_before_and_unlocks_nobody);
	tcase_add_test(tests, a_release_that_was_under_way_when_the_store_went_unlocks_nobody);
	tcase_add_test(tests, break_unlocks_whoever_holds_it);
	tcase_add_test(tests, breaking_a_free_lock_stops_a_dead_holders_late_put);
	tcase_add_test(tests, there_is_nothing_to_break_where_there_is_no_lock);
	tcase_add_test(tests, break_never_writes_over_what_no_lock_writes);
	tcase_add_test(tests, break_leaves_alone_a_lock_that_changed_hands_meanwhile);
	tcase_add_test(tests, break_says_what_became_of_its_put);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

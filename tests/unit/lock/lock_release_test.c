/* SPDX-License-Identifier: BSD-3-Clause */
/* Giving the lock back, and breaking one, when every Put is answered. */
#include <kv/lock.h>

#include <stdlib.h>
#include <string.h>

#include "two_handles.h"

static const char dead[] = "0123456789abcdef0123456789abcdef";
static unsigned calls(void) {
	return fake_gets() + fake_puts();
}

/* --- Release ------------------------------------------------------------------------------- */

CASE(give, .setup = set_up_polling, .teardown = tear_down);

TEST(release_puts_unlocked_at_the_token) {
	take(a);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
	ck_assert_uint_eq(kv_lock_token(a), 0);
}

TEST(release_by_a_handle_that_never_took_it_changes_nothing) {
	take(a);
	ck_assert_int_eq(kv_lock_release(b), KV_NOTHELD);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

TEST(a_second_release_is_refused_without_traffic) {
	unsigned before;

	take(a);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	take(b);
	before = calls();
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(calls(), before);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
}

TEST(a_holder_whose_lock_was_broken_releases_no_other_holders) {
	take(a);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	take(b);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
	ck_assert_uint_gt(kv_lock_token(b), 1);
}

TEST(a_holder_whose_key_was_deleted_holds_nothing_any_more) {
	take(a);
	fake_delete("lock");
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", "", 0));
}

TEST(a_release_that_is_refused_or_was_never_sent_leaves_it_held) {
	static const enum kv_status refusals[] = {
	    KV_TIMEOUT, KV_FULL, KV_DENIED, KV_INVALID, KV_NOMEM, KV_UNAVAILABLE, KV_PROTOCOL};

	take(a);
	for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		fake_plan_status(refusals[i]);
		ck_assert_int_eq(kv_lock_release(a), refusals[i]);
		ck_assert_uint_eq(kv_lock_token(a), 2);
	}
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
}

TEST(a_holder_whose_store_is_gone_holds_nothing_and_is_told) {
	take(a);
	fake_exchange();
	ck_assert_int_eq(kv_lock_release(a), KV_BADSESSION);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", "", 0));
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

/* Would report it for all handles of the client, if each did not get its own report. */
static void another_handle_reports_it(void) {
	struct kv_value value;

	ck_assert_int_eq(kv_get(client, name, &value), KV_BADSESSION);
	kv_value_free(&value);
}

TEST(a_holder_whose_store_is_gone_reports_it_though_another_did_and_unlocks_no_other) {
	struct kv_value value;

	ck_assert_int_eq(kv_get(client, name, &value), KV_OK);
	kv_value_free(&value);
	take(a);
	fake_exchange();
	another_handle_reports_it();
	/* At the version of a's lock in the old store. */
	take(b);
	ck_assert(fake_holds("lock", kv_lock_id(b), kv_lock_token(a)));
	ck_assert_int_eq(kv_lock_release(a), KV_BADSESSION);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert(fake_holds("lock", kv_lock_id(b), 2));
	ck_assert_int_eq(kv_lock_release(b), KV_OK);
}

static void it_is_another_store_and_b_takes_it(void) {
	fake_exchange();
	take(b);
}

TEST(a_release_that_was_under_way_when_the_store_went_unlocks_no_other) {
	take(a);
	fake_plan_act(it_is_another_store_and_b_takes_it);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 2));
}

/* --- Break --------------------------------------------------------------------------------- */

TEST(break_unlocks_any_holder) {
	fake_write("lock", dead);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
}

TEST(breaking_a_free_lock_stops_a_dead_holders_late_put) {
	take(a);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	fake_plan(FATE_LATE); /* a's last Put: then a is gone */
	fake_plan_status(KV_TIMEOUT);
	fake_freeze(true);
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_MAYBE);
	fake_freeze(false);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", "__unlocked", 4));
}

TEST(there_is_nothing_to_break_where_there_is_no_lock) {
	fake_delete("lock");
	ck_assert_int_eq(kv_lock_break(client, name), KV_NOKEY);
	ck_assert(fake_holds("lock", "", 0));
	ck_assert_int_eq(kv_lock_break(client, (struct kv_bytes){NULL, 0}), KV_INVALID);
}

TEST(break_never_writes_over_what_no_lock_writes) {
	fake_write("lock", "precious");
	ck_assert_int_eq(kv_lock_break(client, name), KV_INVALID);
	fake_write("lock", "");
	ck_assert_int_eq(kv_lock_break(client, name), KV_INVALID);
	ck_assert(fake_holds("lock", "", 3));
}

static void it_changes_hands(void) {
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	take(b);
}

TEST(break_leaves_alone_a_lock_that_changed_hands_meanwhile) {
	take(a);
	fake_plan(FATE_ANSWERED);
	fake_plan_act(it_changes_hands);
	ck_assert_int_eq(kv_lock_break(client, name), KV_VERSION);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
}

TEST(break_says_what_became_of_its_put) {
	take(a);
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_break(client, name), KV_MAYBE);
	fake_plan_status(KV_TIMEOUT);
	ck_assert_int_eq(kv_lock_break(client, name), KV_TIMEOUT);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

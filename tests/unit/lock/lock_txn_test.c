/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock by transactions: it waits on the server, has a lease and a note, and settles what is
 * unknown. The numbers are those of PROTOCOL.md, "The lock".
 */
#include <kv/lock.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "two_handles.h"

static unsigned calls(void) {
	return fake_gets() + fake_puts() + fake_txns() + fake_settles();
}

static void a_gives_it_back(void) {
	give(a);
}

static void interrupt_b(void) {
	kv_lock_interrupt(b);
}

/* a's transaction is on its way, and a was told KV_MAYBE. */
static void leave_a_unknown(void) {
	freeze();
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_MAYBE);
	thaw();
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert_uint_eq(kv_lock_left_ms(a), 0);
}

/* --- Taking and waiting ---------------------------------------------------------------------- */

CASE(txn, .setup = set_up_txn, .teardown = tear_down);

TEST(a_missing_or_free_lock_is_taken_in_one_call_and_released_in_one) {
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
	ck_assert_uint_eq(kv_lock_token(a), 1);
	ck_assert_uint_eq(kv_lock_left_ms(a), UINT_MAX);
	ck_assert_uint_eq(calls(), 1);
	give(a);
	ck_assert(fake_holds("lock", "__unlocked", 2));
	ck_assert_uint_eq(calls(), 2);
	take(a);
	ck_assert_uint_eq(kv_lock_token(a), 3);
	ck_assert_uint_eq(calls(), 3);
}

TEST(a_waiting_acquire_is_one_call_that_the_server_answers) {
	take(b);
	give(b);
	take(a);
	fake_at(300, a_gives_it_back);
	unsigned before = fake_txns();
	ck_assert_int_eq(kv_lock_acquire(b, 5000), KV_OK);
	ck_assert_uint_eq(fake_now_ms(), 300);
	ck_assert_uint_eq(fake_txns(), before + 1);
	ck_assert_uint_eq(fake_last_txn()->wait_ms, 5000);
	ck_assert_uint_eq(fake_last_txn()->timeout_ms, 5000 + 1000);
	ck_assert_uint_eq(fake_pause_ms(0), 0);
}

TEST(without_a_limit_it_waits_in_one_place_for_ever) {
	take(b);
	give(b);
	take(a);
	fake_at(60 * 1000, a_gives_it_back);
	ck_assert_int_eq(kv_lock_acquire(b, 0), KV_OK);
	ck_assert_uint_eq(fake_last_txn()->wait_ms, UINT_MAX);
	ck_assert_uint_eq(fake_last_txn()->timeout_ms, 0);
}

TEST(a_key_that_is_no_lock_is_not_waited_for) {
	fake_write("lock", "hello");
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_INVALID);
	ck_assert_int_eq(kv_lock_try(a), KV_INVALID);
	ck_assert_uint_eq(fake_now_ms(), 0);
	ck_assert(fake_holds("lock", "hello", 1));
}

TEST(the_first_acquire_looks_whether_it_is_a_lock_and_then_waits) {
	take(a);
	fake_at(300, a_gives_it_back);
	ck_assert_int_eq(kv_lock_acquire(b, 1000), KV_OK);
	ck_assert_uint_eq(fake_gets(), 1);
	ck_assert_uint_eq(fake_now_ms(), 300);
}

TEST(acquire_ends_at_its_limit) {
	take(a);
	ck_assert_int_eq(kv_lock_acquire(b, 700), KV_TIMEOUT);
	ck_assert_uint_eq(fake_now_ms(), 700);
	ck_assert_int_eq(kv_lock_try(b), KV_BUSY);
	ck_assert_int_eq(kv_lock_release(b), KV_NOTHELD);
}

TEST(an_interrupted_acquire_is_a_time_out) {
	take(a);
	fake_at(300, interrupt_b);
	ck_assert_int_eq(kv_lock_acquire(b, 0), KV_TIMEOUT);
	ck_assert_uint_le(fake_now_ms(), 302);
	ck_assert_int_eq(kv_lock_acquire(b, 400), KV_TIMEOUT);
	ck_assert_uint_ge(fake_now_ms(), 300 + 400);
}

TEST(an_interrupt_from_before_the_acquire_counts_and_takes_a_free_lock_all_the_same) {
	kv_lock_interrupt(a);
	take(a);
	kv_lock_interrupt(b);
	ck_assert_int_eq(kv_lock_acquire(b, 0), KV_TIMEOUT);
	ck_assert_uint_le(fake_now_ms(), 20);
}

TEST(an_interrupt_ends_looking_again_and_again_too) {
	fake_use_txn(KV_INVALID);
	take(a);
	fake_at(300, interrupt_b);
	ck_assert_int_eq(kv_lock_acquire(b, 0), KV_TIMEOUT);
	ck_assert_uint_le(fake_now_ms(), 1300);
}

/* --- The history ------------------------------------------------------------------------------ */

static void is_noted(uint64_t token, uint64_t from_ms, uint64_t until_ms) {
	ck_assert_uint_eq(fake_last_hold().token, token);
	ck_assert_uint_eq(fake_last_hold().from_ms, from_ms);
	ck_assert_uint_eq(fake_last_hold().until_ms, until_ms);
}

TEST(the_history_has_since_when_and_until_when_the_lock_was_counted_on) {
	fake_pass(100);
	take(a);
	is_noted(1, 100, 0);
	fake_pass(50);
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_OK);
	is_noted(1, 100, 0);
	fake_round_trip(7);
	give(a);
	is_noted(1, 100, 150);
}

TEST(in_the_history_a_lease_ends_by_its_own_clock) {
	take_with_ttl(a, 800);
	fake_pass(500);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	fake_pass(2000);
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	is_noted(1, 0, 500 + 700);
}

TEST(in_the_history_a_release_that_was_not_sent_begins_anew) {
	take(a);
	fake_pass(10);
	fake_plan(FATE_UNSENT);
	ck_assert_int_eq(kv_lock_release(a), KV_TIMEOUT);
	is_noted(1, 10, 0);
	fake_pass(10);
	kv_lock_close(a);
	is_noted(1, 10, 20);
	ck_assert_int_eq(kv_lock_open(client, name, &a), KV_OK);
}

/* --- The lease ------------------------------------------------------------------------------- */

static uint64_t sent_ms;

static void note_when_sent(void) {
	sent_ms = fake_now_ms();
	fake_pass(300);
}

TEST(rule_7_1_a_lease_counts_from_before_the_first_sending_less_an_eighth) {
	fake_plan_act(note_when_sent);
	take_with_ttl(a, 1600);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200 - 300);
	fake_pass(500);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200 - 300 - 500);
	fake_plan_act(note_when_sent);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200 - 300);
	fake_pass(1100);
	ck_assert_uint_eq(kv_lock_left_ms(a), 0);
	ck_assert_uint_eq(kv_lock_token(a), 1);
}

/* Of the new store a's token is that of b. */
TEST(a_renewal_in_doubt_is_not_believed_of_another_store) {
	take_with_ttl(a, 1600);
	fake_plan_act(fake_exchange);
	ck_assert_int_eq(kv_lock_renew(a), KV_MAYBE);
	take_with_ttl(b, 1600);
	ck_assert_uint_eq(kv_lock_token(a), kv_lock_token(b));
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 1));
}

TEST(a_release_after_a_renewal_in_doubt_gives_back_no_other_holders) {
	take_with_ttl(a, 1600);
	fake_plan_act(fake_exchange);
	ck_assert_int_eq(kv_lock_renew(a), KV_MAYBE);
	take_with_ttl(b, 1600);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", kv_lock_id(b), 1));
}

TEST(a_renewal_in_doubt_of_the_same_store_can_be_made_again) {
	take_with_ttl(a, 1600);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_renew(a), KV_MAYBE);
	fake_pass(500);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200);
	give(a);
}

TEST(rule_7_1_a_lease_goes_on_while_the_machine_sleeps) {
	take_with_ttl(a, 1600);
	fake_suspend(1000);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200 - 1000);
	fake_suspend(1000);
	ck_assert_uint_eq(kv_lock_left_ms(a), 0);
	take(b);
}

TEST(rule_7_1_an_acquire_that_waited_for_long_renews_before_it_says_held) {
	unsigned before;

	take_with_ttl(b, 1600);
	give(b);
	take(a);
	fake_at(900, a_gives_it_back);
	before = fake_txns();
	ck_assert_int_eq(kv_lock_acquire(b, 5000), KV_OK);
	ck_assert_uint_eq(fake_txns(), before + 2);
	ck_assert_int_eq(fake_last_txn()->change, KV_CHANGE_TOUCH);
	ck_assert_uint_eq(kv_lock_left_ms(b), 1600 - 200);
}

TEST(rule_7_1_one_that_finds_its_lease_over_goes_on_to_acquire) {
	take_with_ttl(b, 1600);
	give(b);
	take(a);
	fake_at(900, a_gives_it_back);
	fake_plan(FATE_ANSWERED);   /* b's acquire */
	fake_plan(FATE_ANSWERED);   /* a's release, while it waits */
	fake_plan_status(KV_UNMET); /* b's renewal comes too late */
	ck_assert_int_eq(kv_lock_acquire(b, 5000), KV_OK);
	ck_assert_uint_gt(kv_lock_left_ms(b), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), kv_lock_token(b)));
}

TEST(rule_7_1_an_acquire_of_what_is_held_renews_if_less_than_half_is_left) {
	unsigned before;

	take_with_ttl(a, 1600);
	before = calls();
	fake_pass(300);
	take(a);
	ck_assert_uint_eq(calls(), before);
	fake_pass(500);
	take(a);
	ck_assert_uint_eq(calls(), before + 1);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200);
	ck_assert_uint_eq(kv_lock_token(a), 1);
}

TEST(rule_7_1_a_renewal_that_fails_is_no_loss_while_some_of_the_lease_is_left) {
	unsigned before;

	take_with_ttl(a, 1600);
	fake_pass(800);
	before = calls();
	fake_plan(FATE_UNSENT);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(calls(), before + 1);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200 - 800);
	ck_assert_uint_eq(kv_lock_token(a), 1);
}

TEST(rule_7_1_an_acquire_of_what_was_lost_acquires_anew) {
	take_with_ttl(a, 1600);
	fake_pass(2000);
	take(a);
	ck_assert_uint_eq(kv_lock_token(a), 3);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200);
}

TEST(rule_7_2_a_renewal_names_the_token_and_keeps_it) {
	take_with_ttl(a, 1600);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	ck_assert_int_eq(fake_last_txn()->test, KV_AT);
	ck_assert_uint_eq(fake_last_txn()->expected, 1);
	ck_assert_int_eq(fake_last_txn()->change, KV_CHANGE_TOUCH);
	ck_assert_uint_eq(fake_last_txn()->ttl_ms, 1600);
	ck_assert_uint_eq(kv_lock_token(a), 1);
	for (unsigned i = 0; i < 10; i++) {
		fake_pass(1000);
		ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	}
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
}

TEST(rule_7_2_a_renewal_does_not_prolong_the_lease_of_another) {
	take_with_ttl(a, 1600);
	fake_pass(1600);
	take_with_ttl(b, 1600);
	fake_pass(500);
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	fake_pass(1100);
	ck_assert_int_eq(kv_lock_renew(b), KV_NOTHELD);
}

/* --- Giving up: settle first, then look ------------------------------------------------------ */

TEST(rule_7_3_an_unanswered_acquire_that_ran_is_found_once_it_is_settled) {
	fake_plan(FATE_DONE);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 1);
	ck_assert_uint_eq(fake_settles(), 1);
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
}

TEST(rule_7_3_an_unanswered_try_is_settled_and_made_again) {
	fake_plan(FATE_LATE);
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert_uint_eq(kv_lock_token(a), 1);
}

TEST(rule_7_3_a_try_that_is_settled_at_the_end_is_a_time_out) {
	fake_plan(FATE_LATE);
	fake_plan_status(KV_TIMEOUT); /* of the settling */
	ck_assert_int_eq(kv_lock_try(a), KV_TIMEOUT);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

TEST(rule_7_3_an_unanswered_acquire_that_never_ran_is_made_again) {
	fake_plan(FATE_LATE);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 1));
}

TEST(rule_7_3_a_time_out_is_told_after_it_was_settled) {
	take(b);
	freeze();
	fake_at(fake_now_ms() + 200, thaw);
	ck_assert_int_eq(kv_lock_acquire(a, 200), KV_TIMEOUT);
	give(b);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", "__unlocked", 2));
}

TEST(rule_7_3_unless_it_is_settled_the_outcome_is_unknown_after_a_second_more) {
	freeze();
	ck_assert_int_eq(kv_lock_acquire(a, 300), KV_MAYBE);
	ck_assert_uint_eq(fake_now_ms(), 300 + 1000);
	ck_assert_int_eq(kv_lock_set_ttl(a, 100), KV_INVALID);
	ck_assert_int_eq(kv_lock_set_note(a, KV_STR("n")), KV_INVALID);
	ck_assert_uint_eq(kv_lock_fence(a).version, UINT64_MAX - 1);
}

TEST(rule_7_3_a_refusal_to_settle_ends_the_acquire_and_not_the_doubt) {
	leave_a_unknown();
	fake_plan_status(KV_DENIED);
	fake_plan_status(KV_DENIED);
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_MAYBE);
	ck_assert_uint_eq(fake_pause_ms(0), 0);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

/* H1, H2: a Get before that proves nothing. */
TEST(rule_7_3_the_next_use_settles_before_it_looks) {
	unsigned gets;

	leave_a_unknown();
	gets = fake_gets();
	fake_plan_status(KV_TIMEOUT); /* of the settling */
	ck_assert_int_eq(kv_lock_release(a), KV_MAYBE);
	ck_assert_uint_eq(fake_gets(), gets);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(fake_gets(), gets + 1);
	ck_assert_uint_eq(fake_land(), 0);
}

TEST(rule_7_3_the_next_use_finds_what_ran_meanwhile) {
	leave_a_unknown();
	ck_assert_uint_ge(fake_land(), 1);
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 1);
	give(a);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

TEST(rule_7_3_release_gives_back_what_it_finds_held) {
	leave_a_unknown();
	ck_assert_uint_ge(fake_land(), 1);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 2));
}

TEST(rule_7_3_what_is_found_held_has_the_lease_of_its_first_sending) {
	ck_assert_int_eq(kv_lock_set_ttl(a, 8000), KV_OK);
	leave_a_unknown();
	ck_assert_uint_ge(fake_land(), 1);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(kv_lock_left_ms(a), 8000 - 1000 - 1100);
}

TEST(rule_7_3_a_release_in_doubt_is_resolved_before_the_lock_is_taken_again) {
	take(a);
	fake_plan(FATE_LATE);
	fake_plan_status(KV_TIMEOUT);
	ck_assert_int_eq(kv_lock_release(a), KV_MAYBE);
	take(a);
	ck_assert_uint_eq(kv_lock_token(a), 3);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 3));
}

/* --- Without transactions -------------------------------------------------------------------- */

static void begin_without_transactions(void) {
	tear_down();
	(void)fake_reset();
	ck_assert_int_eq(kv_lock_open(fake_client(500), name, &a), KV_OK);
	ck_assert_int_eq(kv_lock_open(fake_client(500), name, &b), KV_OK);
}

TEST(rule_7_4_a_missing_lock_is_made_as_unlocked_by_get_and_put) {
	begin_without_transactions();
	take(a);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert_uint_eq(fake_puts(), 2);
}

TEST(rule_7_9_an_older_server_is_polled_but_gives_no_lease) {
	begin_without_transactions();
	take(a);
	ck_assert_int_eq(kv_lock_acquire(b, 3000), KV_TIMEOUT);
	ck_assert_uint_gt(fake_pause_ms(3), fake_pause_ms(0));
	ck_assert_int_eq(kv_lock_set_ttl(b, 1000), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(b, 3000), KV_UNAVAILABLE);
	ck_assert_int_eq(kv_lock_try(b), KV_UNAVAILABLE);
	ck_assert_int_eq(kv_lock_set_ttl(b, 0), KV_OK);
	ck_assert_int_eq(kv_lock_try(b), KV_BUSY);
}

TEST(rule_7_9_over_udp_it_polls_by_transactions_and_has_a_lease) {
	unsigned txns;

	fake_use_txn(KV_INVALID);
	take_with_ttl(a, 1600);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200);
	fake_at(400, a_gives_it_back);
	txns = fake_txns();
	ck_assert_int_eq(kv_lock_acquire(b, 3000), KV_OK);
	ck_assert_uint_gt(fake_txns(), txns + 3);
	ck_assert_uint_gt(fake_pause_ms(3), 0);
	ck_assert_uint_eq(fake_puts(), 1);
}

TEST(too_many_that_wait_is_no_reason_to_give_up) {
	fake_use_txn(KV_FULL);
	take(a);
	fake_at(400, a_gives_it_back);
	ck_assert_int_eq(kv_lock_acquire(b, 3000), KV_OK);
}

/* --- Losing it ------------------------------------------------------------------------------- */

TEST(rule_7_5_its_clock_says_that_it_is_lost_before_another_can_hold_it) {
	take_with_ttl(a, 1600);
	for (unsigned i = 0; i < 1600; i++) {
		if (kv_lock_left_ms(a) > 0)
			ck_assert_int_eq(kv_lock_try(b), KV_BUSY);
		fake_pass(1);
	}
	ck_assert_uint_eq(kv_lock_left_ms(a), 0);
	ck_assert_int_eq(kv_lock_try(b), KV_OK);
	ck_assert_uint_eq(kv_lock_token(b), 3);
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", kv_lock_id(b), 3));
}

TEST(rule_7_5_an_unanswered_renewal_leaves_what_is_left) {
	take_with_ttl(a, 1600);
	fake_pass(200);
	fake_plan(FATE_LATE);
	ck_assert_int_eq(kv_lock_renew(a), KV_MAYBE);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200 - 200);
	ck_assert_uint_eq(kv_lock_token(a), 1);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	ck_assert_uint_eq(kv_lock_left_ms(a), 1600 - 200);
}

TEST(rule_7_5_release_of_a_lock_whose_lease_ended_says_so) {
	take_with_ttl(a, 1600);
	fake_pass(1600);
	ck_assert(fake_holds("lock", "", 0));
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_token(a), 0);
}

TEST(rule_7_6_the_fence_holds_for_the_holder_only) {
	struct kv_condition fence = kv_lock_fence(a);

	ck_assert_int_eq(fence.test, KV_AT);
	ck_assert_uint_eq(fence.version, UINT64_MAX - 1);
	take_with_ttl(a, 1600);
	fence = kv_lock_fence(a);
	ck_assert_uint_eq(fence.version, kv_lock_token(a));
	ck_assert_uint_eq(fence.key.size, 4);
	ck_assert_mem_eq(fence.key.data, "lock", 4);
	/* After its lease it is refused because the key is at another version, or gone. */
	fake_pass(1600);
	ck_assert_uint_eq(kv_lock_fence(a).version, 1);
	ck_assert(fake_holds("lock", "", 0));
	take(b);
	ck_assert_uint_gt(kv_lock_token(b), 1);
}

TEST(rule_7_7_a_break_hands_over_and_the_holder_is_told) {
	take_with_ttl(a, 60000);
	fake_at(300, break_it);
	ck_assert_int_eq(kv_lock_acquire(b, 0), KV_OK);
	ck_assert_uint_eq(fake_now_ms(), 300);
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", kv_lock_id(b), 3));
}

TEST(rule_7_8_a_waiter_that_was_given_the_lock_and_died_keeps_it_for_its_ttl) {
	ck_assert_int_eq(kv_lock_set_ttl(a, 1000), KV_OK);
	leave_a_unknown();
	ck_assert_uint_ge(fake_land(), 1);
	kv_lock_close(a);
	ck_assert_int_eq(kv_lock_acquire(b, 5000), KV_OK);
	ck_assert_int_eq(kv_lock_open(client, name, &a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(b), 3);
}

TEST(without_a_ttl_a_renewal_only_looks) {
	take(a);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	ck_assert_uint_eq(fake_gets(), 1);
	break_it();
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_renew(a), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_left_ms(a), 0);
}

TEST(the_ttl_is_that_of_the_next_acquire) {
	take(a);
	ck_assert_int_eq(kv_lock_set_ttl(a, 1000), KV_INVALID);
	give(a);
	take_with_ttl(a, 1000);
	give(a);
	ck_assert_int_eq(kv_lock_set_ttl(a, 0), KV_OK);
	take(a);
	fake_pass(100000);
	ck_assert_uint_eq(kv_lock_left_ms(a), UINT_MAX);
	ck_assert(fake_holds("lock", kv_lock_id(a), 5));
}

TEST(another_store_has_lost_the_lock) {
	take_with_ttl(a, 60000);
	fake_exchange();
	ck_assert_int_eq(kv_lock_renew(a), KV_BADSESSION);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	fake_write("lock", "hello");
	ck_assert_int_eq(kv_lock_acquire(a, 0), KV_INVALID);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Puts that end in KV_MAYBE: those that happened, never happen, and happen late, with the schedules
 * that broke simpler locks.
 */
#include <kv/lock.h>

#include <stdlib.h>
#include <string.h>

#include "two_handles.h"

static const char another[] = "0123456789abcdef0123456789abcdef";
static void set_up(void) {
	/* Its calls have a limit, so that releasing at a frozen server ends. */
	(void)fake_reset();
	fake_write("lock", "__unlocked");
	open_two(fake_client(500));
}

static void land_one(void) {
	ck_assert_uint_eq(fake_land(), 1);
}

/* The key is free at version 2; a's Put of its id is under way, and a was told KV_MAYBE. */
static void leave_a_taking(void) {
	take(a);
	give(a);
	freeze();
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_MAYBE);
	thaw();
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", "__unlocked", 3));
}

/* The key holds a's id at version 1; its Put of "__unlocked" is under way. */
static void leave_a_giving(void) {
	take(a);
	freeze();
	ck_assert_int_eq(kv_lock_release(a), KV_MAYBE);
	thaw();
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

/* --- A Put of the id in doubt -------------------------------------------------------------- */

CASE(doubt, .setup = set_up, .teardown = tear_down);

TEST(an_acquire_in_doubt_that_happened_holds_the_lock) {
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_DONE);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert_uint_eq(kv_lock_token(a), 2);
	ck_assert_uint_eq(fake_puts(), 1);
}

TEST(an_acquire_in_doubt_that_never_happened_is_made_again) {
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert_uint_eq(fake_puts(), 2);
}

TEST(a_look_that_shows_the_state_from_before_proves_nothing) {
	/* The Put lands after the look and before the handle's next Put. */
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LATE);
	fake_plan(FATE_ANSWERED);
	fake_plan_act(land_one);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	ck_assert_uint_eq(kv_lock_token(a), 2);
}

static void b_takes_it(void) {
	take(b);
}

TEST(an_acquire_in_doubt_that_lost_to_another_waits_like_any) {
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LATE);
	fake_plan_act(b_takes_it);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_TIMEOUT);
	ck_assert_uint_gt(fake_pause_ms(0), 0);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 2));
}

TEST(a_late_acquire_that_lands_after_the_time_out_takes_nothing) {
	take(a);
	give(a);
	/* The Put gets no answer until time is up; then the server answers again. */
	freeze();
	fake_at(fake_now_ms() + 100, thaw);
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_TIMEOUT);
	ck_assert(fake_holds("lock", "__unlocked", 4));
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", "__unlocked", 4));
	ck_assert_int_eq(kv_lock_try(b), KV_OK);
}

TEST(an_acquire_found_to_have_happened_at_the_time_limit_is_ok) {
	take(a);
	give(a);
	freeze();
	fake_at(fake_now_ms() + 100, thaw);
	fake_plan(FATE_LATE);
	fake_plan_act(land_one);
	/* Time was up, but the lock is this handle's: to say so is of more use than to undo it. */
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

TEST(an_acquire_that_lands_between_the_settling_look_and_put_is_ok) {
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LATE);
	fake_plan_status(KV_DENIED); /* ends the attempt: what follows is the settling */
	fake_plan(FATE_ANSWERED);
	fake_plan_act(land_one);
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
}

TEST(an_acquire_that_cannot_be_settled_is_in_doubt_after_a_second_more) {
	uint64_t start_ms;

	take(a);
	give(a);
	start_ms = fake_now_ms();
	freeze();
	ck_assert_int_eq(kv_lock_acquire(a, 300), KV_MAYBE);
	ck_assert_uint_eq(fake_now_ms(), start_ms + 300 + 1000);
	ck_assert_uint_eq(kv_lock_token(a), 0);
}

TEST(a_refusal_while_in_doubt_is_not_passed_off_as_a_refusal) {
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LATE);
	fake_plan_status(KV_DENIED);
	fake_plan_status(KV_DENIED);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_MAYBE);
	ck_assert_uint_eq(fake_land(), 1);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 2);
}

TEST(a_refusal_once_settled_is_passed_on) {
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LATE);
	fake_plan_status(KV_DENIED);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_DENIED);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", "__unlocked", 2));
}

TEST(the_next_acquire_settles_one_in_doubt_that_happened) {
	leave_a_taking();
	land_one();
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 4);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
}

TEST(the_next_acquire_settles_one_in_doubt_that_did_not_happen) {
	leave_a_taking();
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

TEST(the_next_try_settles_too) {
	leave_a_taking();
	land_one();
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

TEST(release_after_an_acquire_in_doubt_gives_back_what_it_finds_held) {
	leave_a_taking();
	land_one();
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 5));
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

TEST(release_after_an_acquire_in_doubt_stops_it_from_ever_happening) {
	leave_a_taking();
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", "__unlocked", 4));
}

TEST(an_acquire_in_doubt_leaves_alone_another_that_took_the_lock) {
	leave_a_taking();
	take(b);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
}

TEST(an_acquire_in_doubt_whose_key_was_deleted_starts_anew) {
	leave_a_taking();
	fake_delete("lock");
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 5));
}

TEST(an_unknown_acquire_in_another_store_overwrites_no_other) {
	leave_a_taking();
	fake_exchange();
	/* The version that a expected is the lock of another handle there. */
	fake_write("lock", another);
	fake_write("lock", another);
	fake_write("lock", another);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	ck_assert(fake_holds("lock", another, 3));
}

TEST(its_id_at_the_version_that_it_expected_is_not_the_lock) {
	leave_a_taking();
	/* A copy of the store from another time: nothing but the rule keeps a from believing it. */
	fake_exchange();
	fake_write("lock", "__unlocked");
	fake_write("lock", kv_lock_id(a));
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert_uint_eq(kv_lock_token(a), 0);
}

TEST(a_doubt_outlives_the_news_of_another_store) {
	leave_a_taking();
	fake_plan_status(KV_BADSESSION);
	land_one();
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

TEST(try_in_doubt_settles_in_a_second_of_its_own) {
	uint64_t start_ms;

	take(a);
	give(a);
	start_ms = fake_now_ms();
	freeze();
	/* Its Put and a look, each as long as the client's limit; then the settling. */
	ck_assert_int_eq(kv_lock_try(a), KV_MAYBE);
	ck_assert_uint_eq(fake_now_ms(), start_ms + 500 + 500 + 1000);
	thaw();
	land_one();
	ck_assert_int_eq(kv_lock_try(a), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

TEST(of_many_puts_in_doubt_at_most_one_takes_effect) {
	leave_a_taking();
	for (unsigned i = 0; i < 3; i++) {
		fake_plan(FATE_ANSWERED);
		fake_plan(FATE_LATE); /* of the id */
		fake_plan_status(KV_DENIED);
		fake_plan(FATE_ANSWERED);
		fake_plan(FATE_LATE); /* of "__unlocked" */
		fake_plan_status(KV_TIMEOUT);
		ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_MAYBE);
	}
	ck_assert_uint_eq(fake_land(), 1);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_OK);
	ck_assert_uint_eq(kv_lock_token(a), 4);
}

/* --- A Put of "__unlocked" in doubt -------------------------------------------------------- */

TEST(a_release_in_doubt_that_happened_is_done) {
	take(a);
	fake_plan(FATE_DONE);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

TEST(a_release_in_doubt_that_never_happened_is_made_again) {
	take(a);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
}

TEST(a_release_in_doubt_that_lands_while_it_is_made_again_is_done) {
	take(a);
	fake_plan(FATE_LATE);
	fake_plan(FATE_ANSWERED);
	fake_plan_act(land_one);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
}

TEST(a_release_in_doubt_ends_within_the_clients_limits) {
	uint64_t start_ms;

	take(a);
	start_ms = fake_now_ms();
	freeze();
	ck_assert_int_eq(kv_lock_release(a), KV_MAYBE);
	ck_assert_uint_eq(fake_now_ms(), start_ms + 500 + 500);
	ck_assert_uint_eq(kv_lock_token(a), 0);
}

TEST(a_release_in_doubt_is_settled_by_the_next_release) {
	leave_a_giving();
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 3));
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
}

TEST(a_release_in_doubt_leaves_alone_another_that_took_the_lock) {
	leave_a_giving();
	land_one();
	take(b);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", kv_lock_id(b), 4));
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
}

TEST(a_late_release_that_lands_after_the_lock_was_taken_again_does_nothing) {
	leave_a_giving();
	take(a);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), kv_lock_token(a)));
	ck_assert_int_eq(kv_lock_try(b), KV_BUSY);
}

TEST(a_handle_with_a_release_in_doubt_takes_the_lock_with_a_new_token) {
	leave_a_giving();
	take(a);
	ck_assert_uint_eq(kv_lock_token(a), 3);
	ck_assert(fake_holds("lock", kv_lock_id(a), 3));
}

TEST(a_handle_with_a_release_in_doubt_that_happened_takes_the_lock_again) {
	leave_a_giving();
	land_one();
	take(a);
	ck_assert_uint_eq(kv_lock_token(a), 4);
	ck_assert(fake_holds("lock", kv_lock_id(a), 4));
}

TEST(its_id_from_before_the_release_is_not_the_lock) {
	leave_a_giving();
	/* The id stands there, and the Put that would take it again is lost, time after time. */
	for (unsigned i = 0; i < 3; i++) {
		fake_plan(FATE_ANSWERED);
		fake_plan(FATE_LOST);
	}
	fake_plan_status(KV_DENIED);
	fake_plan_status(KV_DENIED);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_MAYBE);
	ck_assert_uint_eq(kv_lock_token(a), 0);
	ck_assert(fake_holds("lock", kv_lock_id(a), 2));
	land_one();
	ck_assert(fake_holds("lock", "__unlocked", 3));
}

TEST(taking_it_again_in_doubt_is_found_by_the_version_above) {
	leave_a_giving();
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_DONE);
	take(a);
	ck_assert_uint_eq(kv_lock_token(a), 3);
	ck_assert_uint_eq(fake_land(), 0);
}

TEST(release_finds_a_lock_taken_again_in_doubt_and_gives_it_back) {
	leave_a_giving();
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_DONE);
	fake_plan_status(KV_DENIED);
	fake_plan_status(KV_DENIED);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_MAYBE);
	ck_assert(fake_holds("lock", kv_lock_id(a), 3));
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert(fake_holds("lock", "__unlocked", 4));
}

TEST(time_out_after_a_release_in_doubt_leaves_the_lock_free) {
	leave_a_giving();
	freeze();
	fake_at(fake_now_ms() + 100, thaw);
	ck_assert_int_eq(kv_lock_acquire(a, 100), KV_TIMEOUT);
	ck_assert(fake_holds("lock", "__unlocked", 3));
	ck_assert_uint_eq(fake_land(), 0);
}

TEST(an_unknown_release_in_another_store_unlocks_no_other) {
	leave_a_giving();
	fake_exchange();
	fake_write("lock", another);
	fake_write("lock", another);
	ck_assert_int_eq(kv_lock_release(a), KV_OK);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	ck_assert(fake_holds("lock", another, 2));
}

TEST(a_release_that_ends_in_doubt_every_time_ends) {
	take(a);
	for (unsigned i = 0; i < 40; i++) {
		fake_plan(FATE_LOST);
		fake_plan(FATE_ANSWERED);
	}
	ck_assert_int_eq(kv_lock_release(a), KV_MAYBE);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* How contenders wait, and how one that takes the lock over and over makes room for the others. */
#include <kv/lock.h>

#include <stdlib.h>

#include "fake_kv.h"
#include "lock_backoff.h"
#include "test.h"

static const char another[] = "0123456789abcdef0123456789abcdef";
static const struct kv_bytes name = {"lock", 4};

static struct kv_client *client;
static struct kv_lock *a, *b;

static void set_up(void) {
	client = fake_reset();
	fake_write("lock", "__unlocked");
	fake_chance(1);
	ck_assert_int_eq(kv_lock_open(client, name, &a), KV_OK);
	fake_chance(0);
	ck_assert_int_eq(kv_lock_open(client, name, &b), KV_OK);
	fake_round_trip(1);
}

static void tear_down(void) {
	kv_lock_close(a);
	kv_lock_close(b);
}

static void take(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
}

static void give(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
}

/* `a` finds the lock taken; then it is free, as `a` knows, after one turn of `a`. */
static void a_meets_b_and_has_a_turn(void) {
	take(b);
	ck_assert_int_eq(kv_lock_try(a), KV_BUSY);
	give(b);
	take(a);
	give(a);
}

/* Until `a` would be polite at its next turn: a streak lasts 10 ms, and a turn two round trips. */
static void a_takes_it_over_and_over(void) {
	for (int i = 0; i < 5; i++) {
		take(a);
		give(a);
	}
}

static unsigned pauses(void) {
	unsigned count = 0;

	while (fake_pause_ms(count) > 0)
		count++;
	return count;
}

/* --- Waiting ------------------------------------------------------------------------------- */

static void another_takes_it(void) {
	fake_write("lock", "__unlocked");
	fake_write("lock", another);
}

CASE(backoff, .setup = set_up, .teardown = tear_down);

TEST(pauses_end_at_40_ms_while_the_lock_changes_hands) {
	static const uint64_t pauses_ms[] = {10, 20, 40, 40, 40, 40};

	for (int i = 0; i < 6; i++)
		fake_plan_act(another_takes_it);
	ck_assert_int_eq(kv_lock_acquire(a, 180), KV_TIMEOUT);
	for (unsigned i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]) - 1; i++)
		ck_assert_uint_eq(fake_pause_ms(i), pauses_ms[i]);
}

TEST(pauses_grow_again_when_one_keeps_it) {
	static const uint64_t pauses_ms[] = {10, 20, 40, 40, 80, 160, 40, 80, 160};

	for (int i = 0; i < 4; i++)
		fake_plan_act(another_takes_it);
	for (int i = 0; i < 2; i++)
		fake_plan(FATE_ANSWERED);
	fake_plan_act(another_takes_it);
	ck_assert_int_eq(kv_lock_acquire(a, 1000), KV_TIMEOUT);
	for (unsigned i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++)
		ck_assert_uint_eq(fake_pause_ms(i), pauses_ms[i]);
}

/* --- Letting others go first --------------------------------------------------------------- */

TEST(a_handle_without_contenders_acquires_it_over_and_over_without_a_pause) {
	for (int i = 0; i < 1000; i++) {
		take(a);
		give(a);
	}
	ck_assert_uint_eq(fake_pause_ms(0), 0);
	ck_assert_uint_eq(fake_gets() + fake_puts(), 2001);
}

TEST(who_met_another_leaves_it_alone_for_10_ms_after_a_row) {
	a_meets_b_and_has_a_turn();
	a_takes_it_over_and_over();
	ck_assert_uint_eq(fake_pause_ms(0), 0);
	take(a);
	ck_assert_uint_eq(fake_pause_ms(0), 10);
	give(a);
	a_takes_it_over_and_over();
	ck_assert_uint_eq(fake_pause_ms(1), 0);
	take(a);
	ck_assert_uint_eq(fake_pause_ms(1), 10);
	ck_assert_uint_eq(fake_pause_ms(2), 0);
}

static void b_takes_it(void) {
	take(b);
}

static void b_gives_it(void) {
	give(b);
}

TEST(who_comes_by_meanwhile_gets_it) {
	uint64_t begin_ms;
	unsigned before;

	a_meets_b_and_has_a_turn();
	a_takes_it_over_and_over();
	begin_ms = fake_now_ms();
	fake_at(begin_ms + 5, b_takes_it);
	fake_at(begin_ms + 105, b_gives_it);
	take(a);
	ck_assert_uint_ge(fake_now_ms(), begin_ms + 105);
	ck_assert_uint_eq(kv_lock_token(a), 18);
	/* And a is at the beginning of a streak. */
	before = pauses();
	give(a);
	take(a);
	ck_assert_uint_eq(pauses(), before);
}

TEST(a_rest_of_its_own_is_as_good_as_a_pause) {
	a_meets_b_and_has_a_turn();
	for (int i = 0; i < 20; i++) {
		fake_pass(10);
		take(a);
		give(a);
	}
	ck_assert_uint_eq(fake_pause_ms(0), 0);
	a_meets_b_and_has_a_turn();
	a_takes_it_over_and_over();
	fake_pass(7);
	take(a);
	ck_assert_uint_eq(fake_pause_ms(0), 3);
}

TEST(after_eight_pauses_in_vain_no_contender_is_expected_any_more) {
	a_meets_b_and_has_a_turn();
	for (int i = 0; i < 100; i++)
		a_takes_it_over_and_over();
	ck_assert_uint_eq(fake_pause_ms(7), 10);
	ck_assert_uint_eq(fake_pause_ms(8), 0);
	a_meets_b_and_has_a_turn();
	for (int i = 0; i < 100; i++)
		a_takes_it_over_and_over();
	ck_assert_uint_eq(fake_pause_ms(15), 10);
	ck_assert_uint_eq(fake_pause_ms(16), 0);
}

TEST(to_lose_a_race_is_to_meet_another) {
	take(a);
	give(a);
	take(b);
	give(b);
	/* Its Put at the version that it knew is refused, and at the next look it is free. */
	take(a);
	give(a);
	a_takes_it_over_and_over();
	take(a);
	ck_assert_uint_eq(fake_pause_ms(0), 10);
}

TEST(who_has_little_time_is_not_made_to_come_too_late) {
	a_meets_b_and_has_a_turn();
	a_takes_it_over_and_over();
	ck_assert_int_eq(kv_lock_acquire(a, 6), KV_OK);
	ck_assert_uint_eq(fake_pause_ms(0), 3);
	give(a);
	a_takes_it_over_and_over();
	ck_assert_int_eq(kv_lock_acquire(a, 1), KV_OK);
	ck_assert_uint_eq(fake_pause_ms(1), 0);
}

TEST(try_is_never_polite) {
	a_meets_b_and_has_a_turn();
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(kv_lock_try(a), KV_OK);
		give(a);
	}
	ck_assert_uint_eq(fake_pause_ms(0), 0);
}

/* --- The rules alone ----------------------------------------------------------------------- */

TEST(pauses_of_a_wait_double_up_to_1_s) {
	static const unsigned pauses_ms[] = {10, 20, 40, 80, 160, 320, 640, 1000, 1000};
	struct lock_backoff backoff = {0};

	for (int wait = 0; wait < 2; wait++) {
		lock_backoff_reset(&backoff);
		for (unsigned i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
			lock_backoff_contended(&backoff, 7);
			ck_assert_uint_eq(lock_backoff_next_ms(&backoff), pauses_ms[i]);
		}
	}
}

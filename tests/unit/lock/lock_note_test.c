/* SPDX-License-Identifier: BSD-3-Clause */
/* The note of a lock's holder, and kv_lock_inspect(). */
#include <kv/lock.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "two_handles.h"

static const char another[] = "0123456789abcdef0123456789abcdef";
CASE(note, .setup = set_up_txn, .teardown = tear_down);

/* --- The note -------------------------------------------------------------------------------- */

static struct kv_lock_info info;

static const uint64_t epoch_ms = 1700000000000; /* of fake_clock.h */

static void note_of_a(char text[FAKE_TEXT_MAX + 1], uint64_t since_ms, const char *note) {
	(void)snprintf(text, FAKE_TEXT_MAX + 1, "%s %llu %s", kv_lock_id(a),
		       (unsigned long long)(epoch_ms + since_ms), note);
}

TEST(a_note_is_written_with_the_lock_and_goes_with_it) {
	char text[FAKE_TEXT_MAX + 1];

	ck_assert_int_eq(kv_lock_set_note(a, KV_STR("the night shift")), KV_OK);
	take(a);
	note_of_a(text, 0, "the night shift");
	ck_assert(fake_holds("lock/__note", text, 1));
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert_str_eq(info.note, "the night shift");
	give(a);
	ck_assert(fake_holds("lock/__note", "", 0));
	ck_assert_int_eq(kv_lock_set_note(a, (struct kv_bytes){NULL, 0}), KV_OK);
	take(a);
	note_of_a(text, 0, "host h program own");
	ck_assert(fake_holds("lock/__note", text, 3));
	give(a);
	ck_assert_int_eq(kv_lock_describe(a, "make"), KV_OK);
	fake_pass(700);
	take(a);
	note_of_a(text, 700, "host h program make");
	ck_assert(fake_holds("lock/__note", text, 5));
	give(a);
	ck_assert_int_eq(kv_lock_set_note(a, KV_STR("")), KV_OK);
	take(a);
	ck_assert(fake_holds("lock/__note", "", 0));
}

TEST(a_note_has_the_lease_of_its_lock) {
	ck_assert_int_eq(kv_lock_set_note(a, KV_STR("me")), KV_OK);
	take_with_ttl(a, 1000);
	fake_pass(800);
	ck_assert_int_eq(kv_lock_renew(a), KV_OK);
	fake_pass(800);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert_uint_eq(info.note_size, 2);
	fake_pass(200);
	ck_assert(fake_holds("lock/__note", "", 0));
	ck_assert(fake_holds("lock", "", 0));
}

TEST(a_note_that_others_removed_does_not_keep_the_lock) {
	ck_assert_int_eq(kv_lock_set_note(a, KV_STR("me")), KV_OK);
	take(a);
	fake_delete("lock/__note");
	give(a);
	ck_assert(fake_holds("lock", "__unlocked", 2));
}

TEST(a_release_with_a_note_says_what_became_of_the_lock) {
	ck_assert_int_eq(kv_lock_set_note(a, KV_STR("me")), KV_OK);
	take(a);
	break_it();
	ck_assert_int_eq(kv_lock_release(a), KV_NOTHELD);
	take(a);
	fake_plan(FATE_DONE);
	give(a);
	take(a);
	fake_plan(FATE_LOST);
	give(a);
	ck_assert(fake_holds("lock", "__unlocked", 6));
}

TEST(a_note_has_limits) {
	static const char long_text[KV_LOCK_NOTE_MAX + 1];
	static const char bytes[KV_KEY_MAX];
	struct kv_lock *lock;

	ck_assert_int_eq(kv_lock_set_note(a, (struct kv_bytes){long_text, sizeof(long_text)}),
			 KV_INVALID);
	ck_assert_int_eq(kv_lock_set_note(a, (struct kv_bytes){long_text, KV_LOCK_NOTE_MAX}),
			 KV_OK);
	ck_assert_int_eq(kv_lock_set_note(a, (struct kv_bytes){NULL, 1}), KV_INVALID);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){bytes, 1017}, &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_note(lock, KV_STR("n")), KV_OK);
	kv_lock_close(lock);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){bytes, 1018}, &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_note(lock, KV_STR("n")), KV_INVALID);
	ck_assert_int_eq(kv_lock_set_note(lock, KV_STR("")), KV_OK);
	kv_lock_close(lock);
}

/* --- Looking at it --------------------------------------------------------------------------- */

TEST(inspect_shows_the_holder_and_its_lease) {
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_NOKEY);
	take_with_ttl(a, 1000);
	fake_waiting(3);
	fake_pass(100);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert(info.is_held);
	ck_assert_str_eq(info.id, kv_lock_id(a));
	ck_assert_uint_eq(info.token, 1);
	ck_assert_uint_eq(info.ttl_left_ms, 900);
	ck_assert_uint_eq(info.waiting, 3);
	ck_assert_uint_eq(info.note_size, 0);
	give(a);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert(!info.is_held);
	ck_assert_str_eq(info.id, "");
	ck_assert_uint_eq(info.token, 2);
	ck_assert_uint_eq(info.ttl_left_ms, 0);
}

TEST(inspect_shows_no_note_of_another_holder) {
	char text[FAKE_TEXT_MAX + 1];

	take(b);
	note_of_a(text, 0, "a was here");
	fake_write("lock/__note", text);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert_str_eq(info.id, kv_lock_id(b));
	ck_assert_uint_eq(info.note_size, 0);
	ck_assert_uint_eq(info.since_ms, 0);
}

static void give_a(void) {
	give(a);
}

/* Not since when it was waited for: with a lease, and without one. */
TEST(inspect_shows_since_when_the_lock_is_held) {
	for (unsigned ttl_ms = 0; ttl_ms <= 60000; ttl_ms += 60000) {
		const uint64_t since_ms = fake_now_ms() + 1500;

		take(a);
		ck_assert_int_eq(kv_lock_set_ttl(b, ttl_ms), KV_OK);
		ck_assert_int_eq(kv_lock_set_note(b, KV_STR("me")), KV_OK);
		fake_at(since_ms, give_a);
		ck_assert_int_eq(kv_lock_acquire(b, 5000), KV_OK);
		fake_pass(300);
		ck_assert_int_eq(kv_lock_renew(b), KV_OK);
		ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
		ck_assert_str_eq(info.note, "me");
		ck_assert_uint_ge(info.since_ms, epoch_ms + since_ms);
		ck_assert_uint_le(info.since_ms, epoch_ms + since_ms + 10);
		give(b);
	}
}

TEST(a_note_without_its_time_is_none) {
	char text[FAKE_TEXT_MAX + 1];

	take(a);
	(void)snprintf(text, sizeof(text), "%s 170000000000x it", kv_lock_id(a));
	fake_write("lock/__note", text);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert_uint_eq(info.since_ms, 0);
	(void)snprintf(text, sizeof(text), "%s 1700000000000", kv_lock_id(a));
	fake_write("lock/__note", text);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert_uint_eq(info.note_size, 0);
}

TEST(inspect_of_what_is_no_lock_is_invalid) {
	fake_write("lock", "hello");
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_INVALID);
	ck_assert_int_eq(kv_lock_inspect(client, (struct kv_bytes){NULL, 0}, &info), KV_INVALID);
	fake_use_txn(KV_OK);
}

static void another_takes_it(void) {
	fake_write("lock", another);
}

TEST(inspect_that_a_change_overtakes_looks_again) {
	take(a);
	fake_plan_act(another_takes_it);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_OK);
	ck_assert_str_eq(info.id, another);
	for (unsigned i = 0; i < 8; i++)
		fake_plan_act(another_takes_it);
	ck_assert_int_eq(kv_lock_inspect(client, name, &info), KV_VERSION);
	ck_assert(!info.is_held);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Shares of a lock, and handles that exclude them. */
#include <kv/lock.h>

#include <stdio.h>
#include <string.h>

#include "fake_kv.h"
#include "test.h"

static const struct kv_bytes name = {"lock", 4};

static struct kv_client *client;
static struct kv_lock *reader, *another, *writer;

static struct kv_lock *handle(enum kv_lock_mode mode) {
	struct kv_lock *lock = NULL;

	ck_assert_int_eq(kv_lock_open(client, name, &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_mode(lock, mode), KV_OK);
	return lock;
}

static void set_up(void) {
	(void)fake_reset();
	fake_use_txn(KV_OK);
	client = fake_client(500);
	reader = handle(KV_LOCK_SHARED);
	another = handle(KV_LOCK_SHARED);
	writer = handle(KV_LOCK_EXCLUSIVE);
}

static void tear_down(void) {
	kv_lock_close(reader);
	kv_lock_close(another);
	kv_lock_close(writer);
}

static void take(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_acquire(lock, 1000), KV_OK);
	ck_assert_uint_ne(kv_lock_token(lock), 0);
}

static void give(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	ck_assert_uint_eq(kv_lock_token(lock), 0);
}

static void give_reader(void) {
	give(reader);
}

static void give_writer(void) {
	give(writer);
}

static void interrupt_writer(void) {
	kv_lock_interrupt(writer);
}

static const char *share_of(const struct kv_lock *lock) {
	static char key[FAKE_TEXT_MAX + 1];

	(void)snprintf(key, sizeof(key), "lock/__share/%s", kv_lock_id(lock));
	return key;
}

CASE(share, .setup = set_up, .teardown = tear_down);

TEST(shares_do_not_exclude_each_other_and_leave_no_key_behind) {
	take(reader);
	take(another);
	ck_assert(fake_holds(share_of(reader), kv_lock_id(reader), 1));
	ck_assert(fake_holds("lock", "", 0));
	give(reader);
	ck_assert(fake_holds(share_of(reader), "", 0));
	give(another);
	take(writer);
	ck_assert(fake_holds("lock", kv_lock_id(writer), 1));
}

TEST(no_share_is_given_while_the_lock_is_held) {
	take(writer);
	ck_assert_int_eq(kv_lock_try(reader), KV_BUSY);
	ck_assert_int_eq(kv_lock_acquire(reader, 300), KV_TIMEOUT);
	fake_at(fake_now_ms() + 200, give_writer);
	take(reader);
}

TEST(a_writer_waits_until_the_last_share_is_released) {
	take(reader);
	take(another);
	ck_assert_int_eq(kv_lock_try(writer), KV_BUSY);
	ck_assert(fake_holds("lock", "__unlocked", 2));
	ck_assert_int_eq(kv_lock_acquire(writer, 300), KV_TIMEOUT);
	ck_assert(fake_holds("lock", "__unlocked", 4));
	ck_assert_uint_eq(kv_lock_token(writer), 0);
	give(another);
	fake_at(fake_now_ms() + 200, give_reader);
	take(writer);
	ck_assert_uint_le(fake_now_ms(), 520);
	give(writer);
}

TEST(a_writer_waits_for_shares_each_time) {
	take(writer);
	give(writer);
	take(reader);
	ck_assert_int_eq(kv_lock_try(writer), KV_BUSY);
	ck_assert_uint_eq(kv_lock_token(writer), 0);
	ck_assert_int_eq(kv_lock_acquire(writer, 300), KV_TIMEOUT);
	give(reader);
	take(writer);
}

/* So it cannot starve. */
static void no_share_is_given(void) {
	ck_assert_int_eq(kv_lock_try(another), KV_BUSY);
}

TEST(no_share_is_given_while_a_writer_waits_for_the_others) {
	take(reader);
	fake_at(100, no_share_is_given);
	fake_at(200, give_reader);
	take(writer);
}

TEST(a_share_ends_with_the_lease_of_its_holder) {
	ck_assert_int_eq(kv_lock_set_ttl(reader, 400), KV_OK);
	take(reader);
	take(writer);
	ck_assert_uint_ge(fake_now_ms(), 400);
	ck_assert_int_eq(kv_lock_renew(reader), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_release(reader), KV_NOTHELD);
	take(writer);
}

TEST(a_writer_that_waits_for_shares_renews_its_lease) {
	ck_assert_int_eq(kv_lock_set_ttl(writer, 400), KV_OK);
	take(reader);
	fake_at(900, give_reader);
	take(writer);
	ck_assert_uint_ge(kv_lock_left_ms(writer), 200);
	ck_assert(fake_holds("lock", kv_lock_id(writer), 1));
}

TEST(a_share_is_renewed_and_fenced_by_its_own_key) {
	struct kv_condition fence;

	ck_assert_int_eq(kv_lock_set_ttl(reader, 400), KV_OK);
	take(reader);
	fake_pass(300);
	ck_assert_int_eq(kv_lock_renew(reader), KV_OK);
	fake_pass(300);
	ck_assert_int_eq(kv_lock_try(writer), KV_BUSY);
	fence = kv_lock_fence(reader);
	ck_assert_uint_eq(fence.key.size, strlen(share_of(reader)));
	ck_assert_mem_eq(fence.key.data, share_of(reader), fence.key.size);
	ck_assert_uint_eq(fence.version, kv_lock_token(reader));
}

TEST(a_share_has_a_note_that_is_no_share) {
	struct kv_lock_info info;
	char key[FAKE_TEXT_MAX + 1];

	ck_assert_int_eq(kv_lock_set_note(reader, KV_STR("me")), KV_OK);
	take(reader);
	ck_assert_int_eq(
	    kv_lock_inspect(client, (struct kv_bytes){share_of(reader), strlen(share_of(reader))},
			    &info),
	    KV_OK);
	ck_assert_str_eq(info.note, "me");
	give(reader);
	(void)snprintf(key, sizeof(key), "%s/__note", share_of(reader));
	ck_assert(fake_holds(key, "", 0));
	fake_write(key, "left behind");
	take(writer);
}

TEST(a_share_that_is_broken_is_none) {
	take(reader);
	ck_assert_int_eq(
	    kv_lock_break(client, (struct kv_bytes){share_of(reader), strlen(share_of(reader))}),
	    KV_OK);
	take(writer);
	ck_assert_int_eq(kv_lock_release(reader), KV_NOTHELD);
}

TEST(a_release_of_a_share_in_doubt_is_resolved) {
	take(reader);
	fake_plan(FATE_LOST);
	give(reader);
	take(reader);
	fake_plan(FATE_DONE);
	give(reader);
	take(reader);
	fake_plan(FATE_LATE);
	give(reader);
	take(reader);
	ck_assert_uint_eq(fake_land(), 0);
	ck_assert(fake_holds(share_of(reader), kv_lock_id(reader), 7));
}

TEST(a_share_in_doubt_is_resolved) {
	fake_plan(FATE_DONE);
	take(reader);
	give(reader);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_try(reader), KV_OK);
	give(reader);
	ck_assert(fake_holds(share_of(reader), "", 0));
}

TEST(an_interrupt_ends_the_wait_for_shares) {
	take(reader);
	fake_at(300, interrupt_writer);
	ck_assert_int_eq(kv_lock_acquire(writer, 0), KV_TIMEOUT);
	ck_assert_uint_le(fake_now_ms(), 310);
	ck_assert(fake_holds("lock", "__unlocked", 2));
}

TEST(where_it_cannot_wait_a_writer_looks_again_and_again) {
	fake_refuse_waits(KV_INVALID);
	take(reader);
	fake_at(450, give_reader);
	take(writer);
	ck_assert_uint_le(fake_now_ms(), 600);
}

TEST(a_writer_that_loses_the_lock_meanwhile_takes_it_again) {
	take(reader);
	ck_assert_int_eq(kv_lock_set_ttl(writer, 400), KV_OK);
	fake_at(100, give_reader);
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_ANSWERED);
	take(writer);
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
	ck_assert_int_eq(kv_lock_renew(writer), KV_NOTHELD);
	take(writer);
	ck_assert_uint_eq(kv_lock_token(writer), 3);
}

/* The server is not reached just when it looks for shares, nor when it gives the lock back. */
TEST(a_writer_that_cannot_tell_does_not_hold_the_lock) {
	take(reader);
	fake_plan(FATE_ANSWERED);
	fake_plan(FATE_LOST);
	fake_plan(FATE_LOST);
	fake_plan(FATE_LOST);
	ck_assert_int_eq(kv_lock_try(writer), KV_MAYBE);
	ck_assert_uint_eq(kv_lock_token(writer), 0);
	ck_assert_int_eq(kv_lock_renew(writer), KV_NOTHELD);
	ck_assert_uint_eq(kv_lock_left_ms(writer), 0);
	ck_assert_int_eq(kv_lock_try(writer), KV_BUSY);
	ck_assert(!fake_holds("lock", kv_lock_id(writer), 1));
}

TEST(shares_need_transactions_and_writers_do_not) {
	tear_down();
	(void)fake_reset();
	client = fake_client(500);
	reader = handle(KV_LOCK_SHARED);
	another = handle(KV_LOCK_SHARED);
	writer = handle(KV_LOCK_EXCLUSIVE);
	ck_assert_int_eq(kv_lock_try(reader), KV_UNAVAILABLE);
	ck_assert_int_eq(kv_lock_acquire(reader, 100), KV_UNAVAILABLE);
	take(writer);
	give(writer);
}

TEST(a_key_that_is_no_lock_gives_no_share) {
	fake_write("lock", "hello");
	ck_assert_int_eq(kv_lock_try(reader), KV_INVALID);
	ck_assert_int_eq(kv_lock_acquire(reader, 1000), KV_INVALID);
}

TEST(the_mode_changes_only_while_nothing_is_held) {
	static const char bytes[KV_KEY_MAX];
	struct kv_lock *lock;

	take(reader);
	ck_assert_int_eq(kv_lock_set_mode(reader, KV_LOCK_EXCLUSIVE), KV_INVALID);
	give(reader);
	ck_assert_int_eq(kv_lock_set_mode(reader, KV_LOCK_EXCLUSIVE), KV_OK);
	take(reader);
	ck_assert(fake_holds("lock", kv_lock_id(reader), 1));
	give(reader);
	ck_assert_int_eq(kv_lock_set_mode(reader, KV_LOCK_SIMPLE), KV_OK);
	take(another);
	take(reader);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){bytes, 983}, &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_mode(lock, KV_LOCK_SHARED), KV_OK);
	kv_lock_close(lock);
	ck_assert_int_eq(kv_lock_open(client, (struct kv_bytes){bytes, 984}, &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_mode(lock, KV_LOCK_SHARED), KV_INVALID);
	kv_lock_close(lock);
}

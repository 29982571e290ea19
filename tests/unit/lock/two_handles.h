/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TWO_HANDLES_H
#define TWO_HANDLES_H

/* two_handles.h - a fixture: two handles of one lock, a and b, and what is done with them again and
 * again. Each test has its own. */

#include <kv/lock.h>

#include "fake_kv.h"
#include "test.h"

static const struct kv_bytes name = {"lock", 4};

static struct kv_client *client;
static struct kv_lock *a, *b;

static inline void open_two(struct kv_client *of) {
	client = of;
	ck_assert_int_eq(kv_lock_open(client, name, &a), KV_OK);
	ck_assert_int_eq(kv_lock_open(client, name, &b), KV_OK);
}

/* The server has transactions, which wait; calls have a limit, so that none waits for ever. */
static inline void set_up_txn(void) {
	(void)fake_reset();
	fake_use_txn(KV_OK);
	open_two(fake_client(500));
}

/* It has none, and the lock is free at version 1. */
static inline void set_up_polling(void) {
	struct kv_client *without_limit = fake_reset();

	fake_write("lock", "__unlocked");
	open_two(without_limit);
}

static inline void tear_down(void) {
	kv_lock_close(a);
	kv_lock_close(b);
	ck_assert_uint_eq(fake_open_views(), 0);
	kv_lock_close(NULL); /* is fine */
}

static inline void take(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_acquire(lock, 1000), KV_OK);
}

static inline void take_with_ttl(struct kv_lock *lock, unsigned ttl_ms) {
	ck_assert_int_eq(kv_lock_set_ttl(lock, ttl_ms), KV_OK);
	take(lock);
}

static inline void give(struct kv_lock *lock) {
	ck_assert_int_eq(kv_lock_release(lock), KV_OK);
}

static inline void break_it(void) {
	ck_assert_int_eq(kv_lock_break(client, name), KV_OK);
}

static inline void freeze(void) {
	fake_freeze(true);
}

static inline void thaw(void) {
	fake_freeze(false);
}

#endif

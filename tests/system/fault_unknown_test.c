/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * More schedules by hand, over udp and tcp (fault_schedule_test has those of slots and sessions):
 * what is unknown without a session, what a lock makes of it, and what happens when another store,
 * or another start of the same one, is at the old address.
 *
 * Without a session
 *   OK stands whenever it comes	an_ok_that_comes_late_stands
 *   a refusal of the only copy		a_refusal_of_the_only_copy_on_a_stream_stands
 *     over udp				but_over_udp_the_refused_write_may_still_happen
 *   a refusal of a resend is MAYBE	a_refusal_of_a_resend_is_unknown
 * The unsettled lock
 *   seeing the state from before	a_late_put_of_an_unknown_acquire_never_takes_the_lock
 *   TIMEOUT only once settled		after_a_time_out_no_late_put_takes_the_lock
 *   taken again by writing		a_late_release_never_unlocks_what_was_taken_again
 * Another store (locks of an old one: store_exchange_test)
 *   the call ends, then starts afresh	a_client_that_knew_the_old_store_gets_a_bad_session_once
 *   MAYBE for a write already sent
 *			a_write_sent_to_the_old_store_is_unknown_and_never_sent_to_the_new
 *   one address of several is wrong	a_wrong_store_in_the_list_is_as_if_it_did_not_answer
 * Another start
 *   the same call, the new epoch	a_call_in_the_middle_of_a_restart_gives_its_first_answer
 */
#include <stdio.h>
#include <string.h>

#include <kv/lock.h>

#include "fault_fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

static const enum via ways[] = {VIA_TCP, VIA_UDP};

enum {
	WAYS = 2,
	LONG_MS = 20000, /* an attempt that lasts as long as the test wants */
	SHORT_MS = 200,	 /* a call that is to be given up */
	ATTEMPT_MS = 100,
};

static struct fault_fixture fixture;

static void tear_down(void) {
	fault_fixture_close(&fixture);
}

static enum kv_status set(struct kv_client *client, const char *key, const char *value,
			  uint64_t expected) {
	return kv_put(client, bytes(key), bytes(value), expected, NULL);
}

static void check(enum kv_status status, enum kv_status wanted) {
	ck_assert_str_eq(kv_status_name(status), kv_status_name(wanted));
}

static enum kv_status look(struct kv_client *client, const char *key) {
	struct kv_value value;
	enum kv_status status = kv_get(client, bytes(key), &value);

	kv_value_free(&value);
	return status;
}

/* --- Without a session -------------------------------------------------------------------------
 */

CASE(stateless, .teardown = tear_down);

TEST(an_ok_that_comes_late_stands) {
	struct async_call async_call;

	/* Over udp: on a stream the connection of the first attempt is given up with it. */
	fault_fixture_open(&fixture, VIA_UDP, STATELESS, NULL);
	fault_tell(&fixture.fault, "hold replies 1 put");
	fault_tell(&fixture.fault, "lose replies 1000 put");
	async_call = (struct async_call){.client = fixture.far, .key = "k", .value = "v"};
	async_call_start(&async_call);
	/* The second copy is refused, and that is what is lost. */
	fault_await(&fixture.fault, 1, "lost", 1);
	fault_tell(&fixture.fault, "release");
	async_call_finish(&async_call, KV_OK);
	ck_assert_uint_eq(async_call.version, 1);
	fault_tell(&fixture.fault, "forget");
	fault_fixture_check(&fixture, "k", "v", 1);
}

TEST(a_refusal_of_the_only_copy_on_a_stream_stands) {
	fault_fixture_open(&fixture, VIA_TCP, STATELESS, NULL);
	fault_fixture_reopen_far(&fixture, LONG_MS, 0, STATELESS);
	check(set(fixture.far, "k", "v", 3), KV_NOKEY);
	check(set(fixture.near, "k", "first", 0), KV_OK);
	check(set(fixture.far, "k", "v", 3), KV_VERSION);
	check(set(fixture.far, "k", "second", 1), KV_OK);
	fault_fixture_check(&fixture, "k", "second", 2);
}

/* The network repeats the only attempt, and keeps the copy until it would be accepted. */
TEST(but_over_udp_the_refused_write_may_still_happen) {
	fault_fixture_open(&fixture, VIA_UDP, STATELESS, NULL);
	fault_fixture_reopen_far(&fixture, LONG_MS, 0, STATELESS);
	check(set(fixture.near, "k", "first", 0), KV_OK);
	fault_tell(&fixture.fault, "repeat requests 1 put 700");
	check(set(fixture.far, "k", "late", 2), KV_MAYBE);
	fault_fixture_check(&fixture, "k", "first", 1);
	check(set(fixture.near, "k", "second", 1), KV_OK);
	/* Two answers: HELLO had its own. */
	fault_await(&fixture.fault, 1, "replies", 3);
	fault_fixture_check(&fixture, "k", "late", 3);
}

LOOP_TEST(a_refusal_of_a_resend_is_unknown, 0, WAYS) {
	fault_fixture_open(&fixture, ways[_i], STATELESS, NULL);
	fault_tell(&fixture.fault, "lose replies 1 put");
	check(set(fixture.far, "k", "v", 0), KV_MAYBE);
	fault_fixture_check(&fixture, "k", "v", 1);
	/* Neither copy ran here, which looks the same. */
	fault_tell(&fixture.fault, "lose requests 1 put");
	check(set(fixture.far, "k", "other", 0), KV_MAYBE);
	fault_fixture_check(&fixture, "k", "v", 1);
}

/* --- The unsettled lock ------------------------------------------------------------------------
 */

/* Without sessions, so that only versions protect, as in the plain versioned store. */
static struct kv_lock *far, *near;

static struct kv_lock *open_lock(struct kv_client *client) {
	struct kv_lock *lock = NULL;

	check(kv_lock_open(client, bytes("lock"), &lock), KV_OK);
	return lock;
}

static void open_locks(enum via via, unsigned attempt_ms) {
	fault_fixture_open(&fixture, via, STATELESS, NULL);
	fault_fixture_reopen_far(&fixture, attempt_ms, SHORT_MS, STATELESS);
	far = open_lock(fixture.far);
	near = open_lock(fixture.near);
}

static void close_locks(void) {
	kv_lock_close(far);
	kv_lock_close(near);
	tear_down();
}

static void check_held_by(const struct kv_lock *lock) {
	fault_fixture_check(&fixture, "lock", kv_lock_id(lock), kv_lock_token(lock));
}

CASE(locks, .teardown = close_locks);

LOOP_TEST(a_late_put_of_an_unknown_acquire_never_takes_the_lock, 0, WAYS) {
	open_locks(ways[_i], ATTEMPT_MS);
	/* The key is there, so that each Put names a version. */
	check(kv_lock_acquire(far, 0), KV_OK);
	check(kv_lock_release(far), KV_OK);
	fault_tell(&fixture.fault, "hold requests 1000 put");
	check(kv_lock_acquire(far, SHORT_MS), KV_MAYBE);
	fault_tell(&fixture.fault, "forget");
	check(kv_lock_acquire(near, 0), KV_OK);
	check(kv_lock_release(near), KV_OK);
	/* It reads what looks like the state from before, and all its Puts come after that. */
	check(kv_lock_acquire(near, 0), KV_OK);
	fault_fixture_release(&fixture, 2);
	check_held_by(near);
	check(kv_lock_try(far), KV_BUSY);
	check(kv_lock_release(near), KV_OK);
	check(kv_lock_try(far), KV_OK);
	check_held_by(far);
}

LOOP_TEST(after_a_time_out_no_late_put_takes_the_lock, 0, WAYS) {
	open_locks(ways[_i], LONG_MS);
	check(kv_lock_acquire(far, 0), KV_OK);
	check(kv_lock_release(far), KV_OK);
	/* The attempt lasts longer than the limit: one copy. What settles it gets through. */
	fault_tell(&fixture.fault, "hold requests 1 put");
	check(kv_lock_acquire(far, SHORT_MS), KV_TIMEOUT);
	fault_fixture_release(&fixture, 1);
	check(kv_lock_try(near), KV_OK);
	check_held_by(near);
}

LOOP_TEST(a_late_release_never_unlocks_what_was_taken_again, 0, WAYS) {
	uint64_t token;

	open_locks(ways[_i], LONG_MS);
	check(kv_lock_acquire(far, 0), KV_OK);
	token = kv_lock_token(far);
	fault_tell(&fixture.fault, "hold requests 1000 put");
	check(kv_lock_release(far), KV_MAYBE);
	fault_tell(&fixture.fault, "forget");
	/* Its id still stands there: it takes the lock by writing it again, not by reading it. */
	check(kv_lock_acquire(far, 0), KV_OK);
	ck_assert_uint_gt(kv_lock_token(far), token);
	fault_fixture_release(&fixture, 1);
	check_held_by(far);
	check(kv_lock_try(near), KV_BUSY);
}

/* --- Another store -----------------------------------------------------------------------------
 */

/* Another server, which the network leads to from now on. */
static void lead_elsewhere(struct server *other) {
	char address[128];

	server_start(other, NULL);
	server_address(other, fixture.via, address);
	fault_tell(&fixture.fault, "to %s", address);
}

CASE(stores, .teardown = tear_down);

LOOP_TEST(a_client_that_knew_the_old_store_gets_a_bad_session_once, 0, WAYS) {
	struct server other;
	struct peer peer;

	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	check(set(fixture.far, "k", "old", 0), KV_OK);
	lead_elsewhere(&other);
	check(look(fixture.far, "k"), KV_BADSESSION);
	check(look(fixture.far, "k"), KV_NOKEY);
	check(set(fixture.far, "k", "new", 0), KV_OK);
	peer_open(&peer, &other, VIA_LOCAL);
	check_key(&peer, "k", "new", 1);
	peer_close(&peer);
	fault_fixture_check(&fixture, "k", "old", 1);
	server_stop(&other);
}

LOOP_TEST(a_write_sent_to_the_old_store_is_unknown_and_never_sent_to_the_new, 0, WAYS) {
	struct server other;
	struct async_call async_call;
	struct peer peer;

	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	fault_tell(&fixture.fault, "lose replies 1000 append");
	async_call = (struct async_call){
	    .client = fixture.far, .key = "k", .value = "a", .is_append = true, .expected = KV_ANY};
	async_call_start(&async_call);
	fault_await(&fixture.fault, 1, "lost", 1);
	lead_elsewhere(&other);
	async_call_finish(&async_call, KV_MAYBE);
	fault_fixture_check(&fixture, "k", "a", 1);
	peer_open(&peer, &other, VIA_LOCAL);
	check_no_key(&peer, "k");
	peer_close(&peer);
	server_stop(&other);
}

TEST(a_wrong_store_in_the_list_is_as_if_it_did_not_answer) {
	struct server other;
	struct kv_client *client;
	struct peer peer;
	char list[300], direct[128];
	struct kv_options options = {
	    .server = list, .attempt_ms = ATTEMPT_MS, .backoff_ms = 1, .backoff_max_ms = 20};

	fault_fixture_open(&fixture, VIA_TCP, WITH_SESSION, NULL);
	server_address(&fixture.server, VIA_LOCAL, direct);
	(void)snprintf(list, sizeof list, "%s,%s", fixture.fault.addresses[0], direct);
	check(kv_open(&options, &client), KV_OK);
	check(kv_append(client, bytes("k"), bytes("a"), KV_ANY, NULL, NULL), KV_OK);
	/* The first address leads to another store, the second to the one that it knows. */
	lead_elsewhere(&other);
	for (int i = 0; i < 3; i++)
		check(kv_append(client, bytes("k"), bytes("b"), KV_ANY, NULL, NULL), KV_OK);
	fault_fixture_check(&fixture, "k", "abbb", 4);
	peer_open(&peer, &other, VIA_LOCAL);
	check_no_key(&peer, "k");
	peer_close(&peer);
	kv_close(client);
	server_stop(&other);
}

/* --- Another start -----------------------------------------------------------------------------
 */

LOOP_TEST(a_call_in_the_middle_of_a_restart_gives_its_first_answer, 0, WAYS) {
	struct async_call async_call;
	char data[64];

	suite_directory(data);
	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, "-d", data, NULL);
	check(set(fixture.far, "k", "a", 0), KV_OK);
	fault_tell(&fixture.fault, "lose replies 1000 append");
	async_call = (struct async_call){
	    .client = fixture.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	async_call_start(&async_call);
	fault_await(&fixture.fault, 1, "lost", 1);
	fault_fixture_restart(&fixture);
	check(set(fixture.near, "k", "other", 2), KV_OK);
	fault_tell(&fixture.fault, "forget");
	ck_assert_int_eq(pthread_join(async_call.thread, NULL), 0);
	check(async_call.status, KV_OK);
	ck_assert_uint_eq(async_call.version, 2);
	ck_assert_uint_eq(async_call.old.version, 1);
	ck_assert_uint_eq(async_call.old.size, 1);
	ck_assert_mem_eq(async_call.old.data, "a", 1);
	kv_value_free(&async_call.old);
	fault_fixture_check(&fixture, "k", "other", 3);
}

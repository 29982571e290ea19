/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * More schedules by hand, over udp and tcp (fault_schedule_test has those of slots and sessions):
 * what is in doubt without a session, what a lock makes of it, and what happens when another store,
 * or another start of the same one, is at the old address.
 *
 * Without a session
 *   OK stands whenever it comes	an_ok_that_comes_late_stands
 *   a refusal of the only copy		a_refusal_of_the_only_copy_on_a_stream_stands
 *     over udp				but_over_udp_the_refused_write_may_still_happen
 *   a refusal of a resend is MAYBE	a_refusal_of_a_resend_is_in_doubt
 * The unsettled lock
 *   seeing the state from before	a_late_put_of_an_acquire_in_doubt_never_takes_the_lock
 *   TIMEOUT only once settled		after_a_time_out_no_late_put_takes_the_lock
 *   taken again by writing		a_late_release_never_unlocks_what_was_taken_again
 * Another store (locks of an old one: store_exchange_test)
 *   the call ends, then starts afresh	a_client_that_knew_the_old_store_is_told_and_starts_afresh
 *   MAYBE for a write already sent
 *			a_write_sent_to_the_old_store_is_in_doubt_and_never_sent_to_the_new
 *   one address of several is wrong	a_wrong_store_in_the_list_is_as_if_it_did_not_answer
 * Another start
 *   the same call, the new epoch	a_call_in_the_middle_of_a_restart_gives_its_first_answer
 */
#include <stdio.h>
#include <string.h>

#include <kv/lock.h>

#include "stage.h"
#include "suite.h"

static const enum via ways[] = {VIA_TCP, VIA_UDP};

enum {
	WAYS = 2,
	LONG_MS = 20000, /* an attempt that lasts as long as the test wants */
	SHORT_MS = 200,	 /* a call that is to be given up */
	ATTEMPT_MS = 100,
};

static struct kv_bytes bytes(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
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

/* Lets go what is held, and waits until the server has answered it. */
static void release(struct stage *stage, unsigned count) {
	uint64_t replies = fault_count(&stage->fault, 1, "replies");

	ck_assert_uint_ge(fault_count(&stage->fault, 1, "held"), count);
	fault_tell(&stage->fault, "release");
	fault_await(&stage->fault, 1, "replies", replies + count);
}

/* --- Without a session -------------------------------------------------------------------------
 */

START_TEST(an_ok_that_comes_late_stands) {
	struct stage stage;
	struct errand errand;

	/* Over udp: on a stream the connection of the first attempt is given up with it. */
	stage_open(&stage, VIA_UDP, STATELESS, NULL);
	fault_tell(&stage.fault, "hold replies 1 put");
	fault_tell(&stage.fault, "lose replies 1000 put");
	errand = (struct errand){.client = stage.far, .key = "k", .value = "v"};
	errand_begin(&errand);
	/* The second copy is refused, and that is what is lost. */
	fault_await(&stage.fault, 1, "lost", 1);
	fault_tell(&stage.fault, "release");
	errand_end(&errand, KV_OK);
	ck_assert_uint_eq(errand.version, 1);
	fault_tell(&stage.fault, "forget");
	stage_check(&stage, "k", "v", 1);
	stage_close(&stage);
}
END_TEST

START_TEST(a_refusal_of_the_only_copy_on_a_stream_stands) {
	struct stage stage;

	stage_open(&stage, VIA_TCP, STATELESS, NULL);
	stage_reopen_far(&stage, LONG_MS, 0, STATELESS);
	check(set(stage.far, "k", "v", 3), KV_NOKEY);
	check(set(stage.near, "k", "first", 0), KV_OK);
	check(set(stage.far, "k", "v", 3), KV_VERSION);
	check(set(stage.far, "k", "second", 1), KV_OK);
	stage_check(&stage, "k", "second", 2);
	stage_close(&stage);
}
END_TEST

/* The network repeats the only attempt, and keeps the copy until it would be accepted. */
START_TEST(but_over_udp_the_refused_write_may_still_happen) {
	struct stage stage;

	stage_open(&stage, VIA_UDP, STATELESS, NULL);
	stage_reopen_far(&stage, LONG_MS, 0, STATELESS);
	check(set(stage.near, "k", "first", 0), KV_OK);
	fault_tell(&stage.fault, "repeat requests 1 put 700");
	check(set(stage.far, "k", "late", 2), KV_MAYBE);
	stage_check(&stage, "k", "first", 1);
	check(set(stage.near, "k", "second", 1), KV_OK);
	/* Two answers: HELLO had its own. */
	fault_await(&stage.fault, 1, "replies", 3);
	stage_check(&stage, "k", "late", 3);
	stage_close(&stage);
}
END_TEST

START_TEST(a_refusal_of_a_resend_is_in_doubt) {
	struct stage stage;

	stage_open(&stage, ways[_i], STATELESS, NULL);
	fault_tell(&stage.fault, "lose replies 1 put");
	check(set(stage.far, "k", "v", 0), KV_MAYBE);
	stage_check(&stage, "k", "v", 1);
	/* Neither copy ran here, which looks the same. */
	fault_tell(&stage.fault, "lose requests 1 put");
	check(set(stage.far, "k", "other", 0), KV_MAYBE);
	stage_check(&stage, "k", "v", 1);
	stage_close(&stage);
}
END_TEST

/* --- The unsettled lock ------------------------------------------------------------------------
 */

/* Without sessions, so that only versions protect, as in the plain versioned store. */
struct locks {
	struct stage stage;
	struct kv_lock *far, *near;
};

static struct kv_lock *open_lock(struct kv_client *client) {
	struct kv_lock *lock = NULL;

	check(kv_lock_open(client, bytes("lock"), &lock), KV_OK);
	return lock;
}

static void open_locks(struct locks *locks, enum via via, unsigned attempt_ms) {
	stage_open(&locks->stage, via, STATELESS, NULL);
	stage_reopen_far(&locks->stage, attempt_ms, SHORT_MS, STATELESS);
	locks->far = open_lock(locks->stage.far);
	locks->near = open_lock(locks->stage.near);
}

static void close_locks(struct locks *locks) {
	kv_lock_close(locks->far);
	kv_lock_close(locks->near);
	stage_close(&locks->stage);
}

static void check_held_by(struct locks *locks, const struct kv_lock *lock) {
	stage_check(&locks->stage, "lock", kv_lock_id(lock), kv_lock_token(lock));
}

START_TEST(a_late_put_of_an_acquire_in_doubt_never_takes_the_lock) {
	struct locks locks;

	open_locks(&locks, ways[_i], ATTEMPT_MS);
	/* The key is there, so that each Put names a version. */
	check(kv_lock_acquire(locks.far, 0), KV_OK);
	check(kv_lock_release(locks.far), KV_OK);
	fault_tell(&locks.stage.fault, "hold requests 1000 put");
	check(kv_lock_acquire(locks.far, SHORT_MS), KV_MAYBE);
	fault_tell(&locks.stage.fault, "forget");
	check(kv_lock_acquire(locks.near, 0), KV_OK);
	check(kv_lock_release(locks.near), KV_OK);
	/* It reads what looks like the state from before, and all its Puts come after that. */
	check(kv_lock_acquire(locks.near, 0), KV_OK);
	release(&locks.stage, 2);
	check_held_by(&locks, locks.near);
	check(kv_lock_try(locks.far), KV_BUSY);
	check(kv_lock_release(locks.near), KV_OK);
	check(kv_lock_try(locks.far), KV_OK);
	check_held_by(&locks, locks.far);
	close_locks(&locks);
}
END_TEST

START_TEST(after_a_time_out_no_late_put_takes_the_lock) {
	struct locks locks;

	open_locks(&locks, ways[_i], LONG_MS);
	check(kv_lock_acquire(locks.far, 0), KV_OK);
	check(kv_lock_release(locks.far), KV_OK);
	/* The attempt lasts longer than the limit: one copy. What settles it gets through. */
	fault_tell(&locks.stage.fault, "hold requests 1 put");
	check(kv_lock_acquire(locks.far, SHORT_MS), KV_TIMEOUT);
	release(&locks.stage, 1);
	check(kv_lock_try(locks.near), KV_OK);
	check_held_by(&locks, locks.near);
	close_locks(&locks);
}
END_TEST

START_TEST(a_late_release_never_unlocks_what_was_taken_again) {
	struct locks locks;
	uint64_t token;

	open_locks(&locks, ways[_i], LONG_MS);
	check(kv_lock_acquire(locks.far, 0), KV_OK);
	token = kv_lock_token(locks.far);
	fault_tell(&locks.stage.fault, "hold requests 1000 put");
	check(kv_lock_release(locks.far), KV_MAYBE);
	fault_tell(&locks.stage.fault, "forget");
	/* Its id still stands there: it takes the lock by writing it again, not by reading it. */
	check(kv_lock_acquire(locks.far, 0), KV_OK);
	ck_assert_uint_gt(kv_lock_token(locks.far), token);
	release(&locks.stage, 1);
	check_held_by(&locks, locks.far);
	check(kv_lock_try(locks.near), KV_BUSY);
	close_locks(&locks);
}
END_TEST

/* --- Another store -----------------------------------------------------------------------------
 */

/* Another server, which the network leads to from now on. */
static void lead_elsewhere(struct stage *stage, struct server *other) {
	char address[128];

	server_start(other, NULL);
	server_address(other, stage->via, address);
	fault_tell(&stage->fault, "to %s", address);
}

START_TEST(a_client_that_knew_the_old_store_is_told_and_starts_afresh) {
	struct stage stage;
	struct server other;
	struct peer peer;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	check(set(stage.far, "k", "old", 0), KV_OK);
	lead_elsewhere(&stage, &other);
	check(look(stage.far, "k"), KV_BADSESSION);
	check(look(stage.far, "k"), KV_NOKEY);
	check(set(stage.far, "k", "new", 0), KV_OK);
	peer_open(&peer, &other, VIA_LOCAL);
	check_key(&peer, "k", "new", 1);
	peer_close(&peer);
	stage_check(&stage, "k", "old", 1);
	stage_close(&stage);
	server_stop(&other);
}
END_TEST

START_TEST(a_write_sent_to_the_old_store_is_in_doubt_and_never_sent_to_the_new) {
	struct stage stage;
	struct server other;
	struct errand errand;
	struct peer peer;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	fault_tell(&stage.fault, "lose replies 1000 append");
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = "a", .is_append = true, .expected = KV_ANY};
	errand_begin(&errand);
	fault_await(&stage.fault, 1, "lost", 1);
	lead_elsewhere(&stage, &other);
	errand_end(&errand, KV_MAYBE);
	stage_check(&stage, "k", "a", 1);
	peer_open(&peer, &other, VIA_LOCAL);
	check_no_key(&peer, "k");
	peer_close(&peer);
	stage_close(&stage);
	server_stop(&other);
}
END_TEST

START_TEST(a_wrong_store_in_the_list_is_as_if_it_did_not_answer) {
	struct stage stage;
	struct server other;
	struct kv_client *client;
	struct peer peer;
	char list[300], direct[128];
	struct kv_options options = {
	    .server = list, .attempt_ms = ATTEMPT_MS, .backoff_ms = 1, .backoff_max_ms = 20};

	stage_open(&stage, VIA_TCP, WITH_SESSION, NULL);
	server_address(&stage.server, VIA_LOCAL, direct);
	(void)snprintf(list, sizeof list, "%s,%s", stage.fault.addresses[0], direct);
	check(kv_open(&options, &client), KV_OK);
	check(kv_append(client, bytes("k"), bytes("a"), KV_ANY, NULL, NULL), KV_OK);
	/* The first address leads to another store, the second to the one that it knows. */
	lead_elsewhere(&stage, &other);
	for (int i = 0; i < 3; i++)
		check(kv_append(client, bytes("k"), bytes("b"), KV_ANY, NULL, NULL), KV_OK);
	stage_check(&stage, "k", "abbb", 4);
	peer_open(&peer, &other, VIA_LOCAL);
	check_no_key(&peer, "k");
	peer_close(&peer);
	kv_close(client);
	stage_close(&stage);
	server_stop(&other);
}
END_TEST

/* --- Another start -----------------------------------------------------------------------------
 */

START_TEST(a_call_in_the_middle_of_a_restart_gives_its_first_answer) {
	struct stage stage;
	struct errand errand;
	char data[64];

	suite_directory(data);
	stage_open(&stage, ways[_i], WITH_SESSION, "-d", data, NULL);
	check(set(stage.far, "k", "a", 0), KV_OK);
	fault_tell(&stage.fault, "lose replies 1000 append");
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	errand_begin(&errand);
	fault_await(&stage.fault, 1, "lost", 1);
	stage_restart(&stage);
	check(set(stage.near, "k", "other", 2), KV_OK);
	fault_tell(&stage.fault, "forget");
	ck_assert_int_eq(pthread_join(errand.thread, NULL), 0);
	check(errand.status, KV_OK);
	ck_assert_uint_eq(errand.version, 2);
	ck_assert_uint_eq(errand.old.version, 1);
	ck_assert_uint_eq(errand.old.size, 1);
	ck_assert_mem_eq(errand.old.data, "a", 1);
	kv_value_free(&errand.old);
	stage_check(&stage, "k", "other", 3);
	stage_close(&stage);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("fault doubt");
	TCase *stateless = suite_case(suite, "stateless");
	TCase *locks = suite_case(suite, "locks");
	TCase *stores = suite_case(suite, "stores");

	tcase_add_test(stateless, an_ok_that_comes_late_stands);
	tcase_add_test(stateless, a_refusal_of_the_only_copy_on_a_stream_stands);
	tcase_add_test(stateless, but_over_udp_the_refused_write_may_still_happen);
	tcase_add_loop_test(stateless, a_refusal_of_a_resend_is_in_doubt, 0, WAYS);
	tcase_add_loop_test(locks, a_late_put_of_an_acquire_in_doubt_never_takes_the_lock, 0, WAYS);
	tcase_add_loop_test(locks, after_a_time_out_no_late_put_takes_the_lock, 0, WAYS);
	tcase_add_loop_test(locks, a_late_release_never_unlocks_what_was_taken_again, 0, WAYS);
	tcase_add_loop_test(stores, a_client_that_knew_the_old_store_is_told_and_starts_afresh, 0,
			    WAYS);
	tcase_add_loop_test(
	    stores, a_write_sent_to_the_old_store_is_in_doubt_and_never_sent_to_the_new, 0, WAYS);
	tcase_add_test(stores, a_wrong_store_in_the_list_is_as_if_it_did_not_answer);
	tcase_add_loop_test(stores, a_call_in_the_middle_of_a_restart_gives_its_first_answer, 0,
			    WAYS);
	return suite_run(suite);
}

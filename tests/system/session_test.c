/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions, epochs and stores: who may write, and what is too late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "trouble.h"

enum { CHUNK = 65536, PATIENCE_MS = 60000 };

/* Waits until a counter has reached `value`. */
static void await_counter(struct peer *peer, const char *name, uint64_t value) {
	uint64_t deadline = suite_now_ms() + PATIENCE_MS;

	while (counter(peer, name) < value) {
		ck_assert_msg(suite_now_ms() < deadline, "%s did not reach %llu", name,
			      (unsigned long long)value);
		suite_pause_ms(20);
	}
}

START_TEST(hello_tells_store_epoch_and_limits) {
	struct scene scene;

	scene_open(&scene, "--max-value", "1M", NULL);
	kv1_hello_res told = hello(&scene.peer);
	ck_assert_uint_ne(told.epoch, 0);
	ck_assert_uint_eq(told.key_max, KV1_KEY_MAX);
	ck_assert_uint_eq(told.value_max, 1024 * 1024);
	ck_assert_uint_gt(told.datagram_max, 60000);
	ck_assert_uint_le(told.datagram_max, 65507);
	kv1_hello_res again = hello(&scene.peer);
	ck_assert_mem_eq(told.store, again.store, sizeof told.store);
	ck_assert_uint_eq(told.epoch, again.epoch);
	scene_end(&scene);
}
END_TEST

START_TEST(a_retried_open_gives_the_same_session) {
	struct scene scene;
	struct peer other;
	char nonce[KV1_NONCE_SIZE];

	scene_open(&scene, NULL);
	peer_open(&other, &scene.server, VIA_UDP);
	fresh_nonce(nonce);
	kv1_open_res first = session_open_as(&scene.peer, scene.session.epoch, nonce);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_ne(first.client_id, scene.session.client_id);
	kv1_open_res again = session_open_as(&other, scene.session.epoch, nonce);
	ck_assert_int_eq(again.status, KV1_OK);
	ck_assert_uint_eq(again.client_id, first.client_id);
	ck_assert_uint_eq(again.slots, first.slots);
	ck_assert_uint_eq(again.lease_ms, first.lease_ms);

	/* Also after it wrote, with its slots as they are. */
	struct session session = {.epoch = scene.session.epoch, .client_id = first.client_id};
	struct change change = put(&session, 0, 7, "k", "v");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	again = session_open_as(&scene.peer, scene.session.epoch, nonce);
	ck_assert_uint_eq(again.client_id, first.client_id);
	change = put(&session, 0, 6, "k", "older");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_STALE);
	ck_assert_uint_eq(counter(&scene.peer, "sessions"), 2);
	peer_close(&other);
	scene_end(&scene);
}
END_TEST

/* Neither a copy of `answered` nor a new call is anything but KV1_BADSESSION. */
static void check_gone(struct peer *peer, const struct change *answered) {
	struct change fresh = *answered;

	fresh.writer.seq++;
	ck_assert_int_eq(change_status(peer, answered), KV1_BADSESSION);
	ck_assert_int_eq(change_status(peer, &fresh), KV1_BADSESSION);
}

START_TEST(a_client_id_never_given_out_is_refused) {
	struct trouble trouble;
	struct scene *scene = &trouble.scene;

	trouble_begin(&trouble, NULL);
	struct session stranger = scene->session;
	stranger.client_id ^= 1;
	struct change change = put(&stranger, 0, 1, "k", "v");
	check_gone(&scene->peer, &change);
	ck_assert_int_eq(session_close(&scene->peer, &stranger), KV1_BADSESSION);
	check_no_key(&scene->peer, "k");
	trouble_end(&trouble, "an unknown client id");
}
END_TEST

START_TEST(a_closed_session_is_refused_even_its_copies) {
	struct scene scene;

	scene_open(&scene, NULL);
	struct change change = put(&scene.session, 0, 1, "k", "v");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	ck_assert_int_eq(session_close(&scene.peer, &scene.session), KV1_OK);
	check_gone(&scene.peer, &change);
	ck_assert_int_eq(session_close(&scene.peer, &scene.session), KV1_BADSESSION);
	check_key(&scene.peer, "k", "v", 1);
	ck_assert_uint_eq(counter(&scene.peer, "sessions"), 0);
	scene_end(&scene);
}
END_TEST

START_TEST(an_expired_session_is_refused_even_its_copies) {
	struct scene scene;

	scene_open(&scene, "--session-lease", "1", NULL);
	ck_assert_uint_eq(scene.session.lease_ms, 1000);
	struct change change = put(&scene.session, 0, 1, "k", "v");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	/* STATUS names no session, so it keeps none alive. */
	await_counter(&scene.peer, "sessions_expired", 1);
	check_gone(&scene.peer, &change);
	check_key(&scene.peer, "k", "v", 1);
	scene_end(&scene);
}
END_TEST

START_TEST(a_full_table_makes_room_from_sessions_that_never_wrote) {
	struct scene scene;

	scene_open(&scene, "--max-sessions", "3", NULL);
	struct session *writer = &scene.session;
	struct change change = put(writer, 0, 1, "k", "v");
	struct outcome first = change_run(&scene.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	struct session idle = session_open(&scene.peer);
	struct session second = session_open(&scene.peer);
	/* The oldest that never wrote goes; those that wrote stay. */
	struct session third = session_open(&scene.peer);
	struct change theirs = put(&idle, 0, 1, "other", "v");
	ck_assert_int_eq(change_status(&scene.peer, &theirs), KV1_BADSESSION);
	outcome_check_same(&first, change_run(&scene.peer, &change));

	theirs = put(&second, 0, 1, "other", "v");
	ck_assert_int_eq(change_status(&scene.peer, &theirs), KV1_OK);
	theirs = put(&third, 0, 1, "other", "v");
	ck_assert_int_eq(change_status(&scene.peer, &theirs), KV1_OK);
	char nonce[KV1_NONCE_SIZE];
	fresh_nonce(nonce);
	ck_assert_int_eq(session_open_as(&scene.peer, writer->epoch, nonce).status, KV1_FULL);
	ck_assert_int_eq(session_close(&scene.peer, &second), KV1_OK);
	ck_assert_int_eq(session_open_as(&scene.peer, writer->epoch, nonce).status, KV1_OK);
	outcome_check_same(&first, change_run(&scene.peer, &change));
	outcome_free(&first);
	scene_end(&scene);
}
END_TEST

START_TEST(a_call_of_another_epoch_runs_nothing_and_takes_no_slot) {
	struct scene scene;

	scene_open(&scene, NULL);
	struct change change = append(&scene.session, 0, 1, "k", "a");
	change.writer.epoch ^= 1;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_EPOCH);
	check_no_key(&scene.peer, "k");
	struct change other = append(&scene.session, 0, 1, "k", "b");
	ck_assert_int_eq(change_status(&scene.peer, &other), KV1_OK);
	/* A copy is no exception. */
	other.writer.epoch ^= 1;
	ck_assert_int_eq(change_status(&scene.peer, &other), KV1_EPOCH);
	/* 0 is not checked. */
	other.writer.epoch = 0;
	ck_assert_int_eq(change_status(&scene.peer, &other), KV1_OK);
	check_key(&scene.peer, "k", "b", 1);

	char nonce[KV1_NONCE_SIZE];
	fresh_nonce(nonce);
	ck_assert_int_eq(session_open_as(&scene.peer, scene.session.epoch ^ 1, nonce).status,
			 KV1_EPOCH);
	struct session wrong = scene.session;
	wrong.epoch ^= 1;
	ck_assert_int_eq(session_close(&scene.peer, &wrong), KV1_EPOCH);
	kv1_get_args args = {.epoch = wrong.epoch, .key = {1, (char *)"k"}};
	kv1_get_res res = {0};
	peer_call(&scene.peer, KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &args,
		  (xdrproc_t)xdr_kv1_get_res, &res);
	ck_assert_int_eq(res.status, KV1_EPOCH);
	xdr_free((xdrproc_t)xdr_kv1_get_res, &res);
	scene_end(&scene);
}
END_TEST

START_TEST(a_copy_from_before_a_restart_runs_nothing) {
	struct scene scene;

	scene_open(&scene, NULL);
	kv1_hello_res before = hello(&scene.peer);
	struct change change = append(&scene.session, 0, 1, "k", "a");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	struct change unsent = append(&scene.session, 1, 1, "k", "b");
	peer_close(&scene.peer);
	server_restart(&scene.server);

	peer_open(&scene.peer, &scene.server, VIA_TCP);
	kv1_hello_res after = hello(&scene.peer);
	ck_assert_uint_ne(before.epoch, after.epoch);
	ck_assert_mem_ne(before.store, after.store, sizeof before.store);
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_EPOCH);
	ck_assert_int_eq(change_status(&scene.peer, &unsent), KV1_EPOCH);
	/* Under the new epoch it is a stranger's. */
	change.writer.epoch = after.epoch;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_BADSESSION);
	check_no_key(&scene.peer, "k");
	scene_end(&scene);
}
END_TEST

START_TEST(a_full_store_answers_copies_refuses_writes_and_serves_reads) {
	struct trouble trouble;
	struct scene *scene = &trouble.scene;
	char key[32];
	uint64_t count = 0;
	kv1_status status = KV1_OK;

	trouble_begin(&trouble, "--max-memory", "4M", NULL);
	struct session other = session_open(&scene->peer);
	char *chunk = calloc(1, CHUNK);
	ck_assert_ptr_nonnull(chunk);
	struct change answered = append(&other, 0, 1, "mine", "v");
	struct outcome first = change_run(&scene->peer, &answered);
	struct change change = answered;
	while (status == KV1_OK) {
		ck_assert_uint_lt(count, 4 * 1024 * 1024 / CHUNK + 1);
		(void)snprintf(key, sizeof key, "key %llu", (unsigned long long)count++);
		change = put_bytes(&scene->session, 0, count, key, chunk, CHUNK);
		status = change_status(&scene->peer, &change);
	}
	ck_assert_int_eq(status, KV1_FULL);
	ck_assert_uint_gt(count, 32);
	check_no_key(&scene->peer, key);

	/* A copy of an answered write is answered; another new one is refused. */
	outcome_check_same(&first, change_run(&scene->peer, &answered));
	struct change fresh = put_bytes(&other, 1, 1, "another", chunk, CHUNK);
	ck_assert_int_eq(change_status(&scene->peer, &fresh), KV1_FULL);
	check_key(&scene->peer, "mine", "v", 1);

	/* Smaller values make room again; the refused write's copy stays refused. */
	struct change smaller = put(&scene->session, 1, 1, "key 0", "small");
	ck_assert_int_eq(change_status(&scene->peer, &smaller), KV1_OK);
	smaller = put(&scene->session, 1, 2, "key 1", "small");
	ck_assert_int_eq(change_status(&scene->peer, &smaller), KV1_OK);
	ck_assert_int_eq(change_status(&scene->peer, &change), KV1_FULL);
	check_no_key(&scene->peer, key);
	change.writer.seq++;
	ck_assert_int_eq(change_status(&scene->peer, &change), KV1_OK);

	free(chunk);
	outcome_free(&first);
	trouble_check_memory(&trouble, "a full store of 4 MiB", 2 * 4 * 1024 * 1024);
	trouble_end(&trouble, "a full store");
}
END_TEST

START_TEST(a_stateless_put_is_conditional_and_its_copy_is_refused) {
	struct scene scene;

	scene_open(&scene, NULL);
	struct session nobody = {.epoch = scene.session.epoch};
	struct change change = put(&nobody, 0, 0, "k", "v");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_INVALID);
	change.expected = 0;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	struct outcome copy = change_run(&scene.peer, &change);
	ck_assert_int_eq(copy.status, KV1_VERSION);
	ck_assert_uint_eq(copy.current, 1);
	outcome_free(&copy);
	change.is_append = true;
	change.expected = 1;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_INVALID);
	check_key(&scene.peer, "k", "v", 1);
	scene_end(&scene);
}
END_TEST

/* One row of the version table: the status and the version that it leads to. */
static void check_row(struct scene *scene, bool is_append, uint64_t expected, const char *key,
		      kv1_status status, uint64_t current) {
	struct change change = put(&scene->session, 0, suite_now_us(), key, "v");

	change.is_append = is_append;
	change.expected = expected;
	struct outcome outcome = change_run(&scene->peer, &change);
	ck_assert_int_eq(outcome.status, status);
	ck_assert_uint_eq(outcome.current, current);
	outcome_free(&outcome);
}

START_TEST(each_row_of_the_version_table_holds) {
	struct scene scene;

	scene_open(&scene, NULL);
	for (int is_append = 0; is_append < 2; is_append++) {
		const char *key = is_append ? "appended" : "put";
		const char *other = is_append ? "appended 2" : "put 2";
		check_row(&scene, is_append, 3, key, KV1_NOKEY, 0);
		check_row(&scene, is_append, KV1_ANY, key, KV1_OK, 1);
		check_row(&scene, is_append, KV1_ANY, key, KV1_OK, 2);
		check_row(&scene, is_append, 0, key, KV1_VERSION, 2);
		check_row(&scene, is_append, 1, key, KV1_VERSION, 2);
		check_row(&scene, is_append, 3, key, KV1_VERSION, 2);
		check_row(&scene, is_append, 2, key, KV1_OK, 3);
		check_row(&scene, is_append, 0, other, KV1_OK, 1);
	}
	check_key(&scene.peer, "put", "v", 3);
	check_key(&scene.peer, "appended", "vvv", 3);
	scene_end(&scene);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("session");
	TCase *sessions = suite_case(suite, "sessions");
	TCase *stores = suite_case(suite, "stores");

	tcase_add_test(sessions, hello_tells_store_epoch_and_limits);
	tcase_add_test(sessions, a_retried_open_gives_the_same_session);
	tcase_add_test(sessions, a_client_id_never_given_out_is_refused);
	tcase_add_test(sessions, a_closed_session_is_refused_even_its_copies);
	tcase_add_test(sessions, an_expired_session_is_refused_even_its_copies);
	tcase_add_test(sessions, a_full_table_makes_room_from_sessions_that_never_wrote);
	tcase_add_test(stores, a_call_of_another_epoch_runs_nothing_and_takes_no_slot);
	tcase_add_test(stores, a_copy_from_before_a_restart_runs_nothing);
	tcase_add_test(stores, a_full_store_answers_copies_refuses_writes_and_serves_reads);
	tcase_add_test(stores, a_stateless_put_is_conditional_and_its_copy_is_refused);
	tcase_add_test(stores, each_row_of_the_version_table_holds);
	return suite_run(suite);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions, epochs and stores: which calls may write, and which come too late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { CHUNK = 65536 };

CASE(sessions, .teardown = fixture_end);

TEST(hello_tells_store_epoch_and_limits) {
	fixture_open(&fx, "--max-value", "1M", NULL);
	kv1_hello_res told = hello(&fx.peer);
	ck_assert_uint_ne(told.epoch, 0);
	ck_assert_uint_eq(told.key_max, KV1_KEY_MAX);
	ck_assert_uint_eq(told.value_max, 1024 * 1024);
	ck_assert_uint_gt(told.datagram_max, 60000);
	ck_assert_uint_le(told.datagram_max, 65507);
	kv1_hello_res again = hello(&fx.peer);
	ck_assert_mem_eq(told.store, again.store, sizeof told.store);
	ck_assert_uint_eq(told.epoch, again.epoch);
}

CASE(sessions_plain, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_retried_open_gives_the_same_session) {
	struct peer other;
	char nonce[KV1_NONCE_SIZE];

	peer_open(&other, &fx.server, VIA_UDP);
	fresh_nonce(nonce);
	kv1_open_res first = session_open_as(&fx.peer, fx.session.epoch, nonce);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_ne(first.client_id, fx.session.client_id);
	kv1_open_res again = session_open_as(&other, fx.session.epoch, nonce);
	ck_assert_int_eq(again.status, KV1_OK);
	ck_assert_uint_eq(again.client_id, first.client_id);
	ck_assert_uint_eq(again.slots, first.slots);
	ck_assert_uint_eq(again.lease_ms, first.lease_ms);

	/* Once it wrote, the copy is late: its session is another one, which no client uses. */
	struct session session = {.epoch = fx.session.epoch, .client_id = first.client_id};
	struct change change = put(&session, 0, 7, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	again = session_open_as(&fx.peer, fx.session.epoch, nonce);
	ck_assert_int_eq(again.status, KV1_OK);
	ck_assert_uint_ne(again.client_id, first.client_id);
	change = put(&session, 0, 6, "k", "older");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_STALE);
	ck_assert_uint_eq(counter(&fx.peer, "sessions"), 3);
	peer_close(&other);
}

/* Neither a copy of `answered` nor a new call is anything but KV1_BADSESSION. */
static void check_gone(struct peer *peer, const struct change *answered) {
	struct change fresh = *answered;

	fresh.writer.seq++;
	ck_assert_int_eq(change_status(peer, answered), KV1_BADSESSION);
	ck_assert_int_eq(change_status(peer, &fresh), KV1_BADSESSION);
}

CASE(sessions_probed, .setup = fixture_probed, .teardown = fixture_end);

TEST(a_client_id_never_given_out_is_refused) {
	struct session stranger = fx.session;
	stranger.client_id ^= 1;
	struct change change = put(&stranger, 0, 1, "k", "v");
	check_gone(&fx.peer, &change);
	ck_assert_int_eq(session_close(&fx.peer, &stranger), KV1_BADSESSION);
	check_no_key(&fx.peer, "k");
}

CASE(sessions_plain, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_closed_session_is_refused_even_its_copies) {
	struct change change = put(&fx.session, 0, 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	ck_assert_int_eq(session_close(&fx.peer, &fx.session), KV1_OK);
	check_gone(&fx.peer, &change);
	ck_assert_int_eq(session_close(&fx.peer, &fx.session), KV1_BADSESSION);
	check_key(&fx.peer, "k", "v", 1);
	ck_assert_uint_eq(counter(&fx.peer, "sessions"), 0);
}

CASE(sessions, .teardown = fixture_end);

TEST(an_expired_session_is_refused_even_its_copies) {
	fixture_open(&fx, "--session-lease", "1", NULL);
	ck_assert_uint_eq(fx.session.lease_ms, 1000);
	struct change change = put(&fx.session, 0, 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	/* STATUS names no session, so it keeps none alive. */
	counter_await(&fx.peer, "sessions_expired", 1);
	check_gone(&fx.peer, &change);
	check_key(&fx.peer, "k", "v", 1);
}

TEST(a_full_table_makes_room_from_sessions_that_never_wrote) {
	fixture_open(&fx, "--max-sessions", "3", NULL);
	struct session *writer = &fx.session;
	struct change change = put(writer, 0, 1, "k", "v");
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	struct session idle = session_open(&fx.peer);
	struct session second = session_open(&fx.peer);
	/* The oldest that never wrote goes; those that wrote stay. */
	struct session third = session_open(&fx.peer);
	struct change theirs = put(&idle, 0, 1, "other", "v");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_BADSESSION);
	outcome_check_same(&first, change_run(&fx.peer, &change));

	theirs = put(&second, 0, 1, "other", "v");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	theirs = put(&third, 0, 1, "other", "v");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	char nonce[KV1_NONCE_SIZE];
	fresh_nonce(nonce);
	ck_assert_int_eq(session_open_as(&fx.peer, writer->epoch, nonce).status, KV1_FULL);
	ck_assert_int_eq(session_close(&fx.peer, &second), KV1_OK);
	ck_assert_int_eq(session_open_as(&fx.peer, writer->epoch, nonce).status, KV1_OK);
	outcome_check_same(&first, change_run(&fx.peer, &change));
	outcome_free(&first);
}

TEST(if_sessions_use_up_their_memory_kvctl_names_that_limit) {
	char kvctl[512], address[128], nonce[KV1_NONCE_SIZE];
	unsigned count = 0;

	fixture_open(&fx, "--max-memory", "4M", "--max-sessions-each", "0", NULL);
	for (;; count++) {
		fresh_nonce(nonce);
		kv1_open_res opened = session_open_as(&fx.peer, fx.session.epoch, nonce);
		struct session writer = {.epoch = fx.session.epoch, .client_id = opened.client_id};
		struct change change = put(&writer, 0, 1, "k", "v");
		if (opened.status == KV1_FULL)
			break;
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	ck_assert_uint_ge(count, 500);
	server_program("kvctl", kvctl);
	server_address(&fx.server, VIA_LOCAL, address);
	struct run run =
	    run_program((const char *const[]){kvctl, "-s", address, "put", "k", "v", NULL});
	ck_assert_int_eq(run.status, 8);
	ck_assert_ptr_nonnull(strstr(run.err, "bytes that are for sessions"));
	run_free(&run);
}

CASE(stores, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_call_of_another_epoch_runs_nothing_and_takes_no_slot) {
	struct change change = append(&fx.session, 0, 1, "k", "a");
	change.writer.epoch ^= 1;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_EPOCH);
	check_no_key(&fx.peer, "k");
	struct change other = append(&fx.session, 0, 1, "k", "b");
	ck_assert_int_eq(change_status(&fx.peer, &other), KV1_OK);
	/* A copy is no exception. */
	other.writer.epoch ^= 1;
	ck_assert_int_eq(change_status(&fx.peer, &other), KV1_EPOCH);
	/* 0 is not checked. */
	other.writer.epoch = 0;
	ck_assert_int_eq(change_status(&fx.peer, &other), KV1_OK);
	check_key(&fx.peer, "k", "b", 1);

	char nonce[KV1_NONCE_SIZE];
	fresh_nonce(nonce);
	ck_assert_int_eq(session_open_as(&fx.peer, fx.session.epoch ^ 1, nonce).status, KV1_EPOCH);
	struct session wrong = fx.session;
	wrong.epoch ^= 1;
	ck_assert_int_eq(session_close(&fx.peer, &wrong), KV1_EPOCH);
	kv1_get_args args = {.epoch = wrong.epoch, .key = {1, (char *)"k"}};
	kv1_get_res res = {0};
	peer_call(&fx.peer, KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &args,
		  (xdrproc_t)xdr_kv1_get_res, &res);
	ck_assert_int_eq(res.status, KV1_EPOCH);
	xdr_free((xdrproc_t)xdr_kv1_get_res, &res);
}

TEST(a_copy_from_before_a_restart_runs_nothing) {
	kv1_hello_res before = hello(&fx.peer);
	struct change change = append(&fx.session, 0, 1, "k", "a");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	struct change unsent = append(&fx.session, 1, 1, "k", "b");
	peer_close(&fx.peer);
	server_restart(&fx.server);

	peer_open(&fx.peer, &fx.server, VIA_TCP);
	kv1_hello_res after = hello(&fx.peer);
	ck_assert_uint_ne(before.epoch, after.epoch);
	ck_assert_mem_ne(before.store, after.store, sizeof before.store);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_EPOCH);
	ck_assert_int_eq(change_status(&fx.peer, &unsent), KV1_EPOCH);
	/* Under the new epoch it is a stranger's. */
	change.writer.epoch = after.epoch;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_BADSESSION);
	check_no_key(&fx.peer, "k");
}

CASE(stores_with_options, .teardown = fixture_end);

TEST(a_full_store_answers_copies_refuses_writes_and_serves_reads) {
	char key[32];
	uint64_t count = 0;
	kv1_status status = KV1_OK;

	fixture_open_probed(&fx, "--max-memory", "4M", NULL);
	struct session other = session_open(&fx.peer);
	char *chunk = calloc(1, CHUNK);
	ck_assert_ptr_nonnull(chunk);
	struct change answered = append(&other, 0, 1, "mine", "v");
	struct outcome first = change_run(&fx.peer, &answered);
	struct change change = answered;
	while (status == KV1_OK) {
		ck_assert_uint_lt(count, 4 * 1024 * 1024 / CHUNK + 1);
		(void)snprintf(key, sizeof key, "key %llu", (unsigned long long)count++);
		change = put_bytes(&fx.session, 0, count, key, chunk, CHUNK);
		status = change_status(&fx.peer, &change);
	}
	ck_assert_int_eq(status, KV1_FULL);
	ck_assert_uint_gt(count, 32);
	check_no_key(&fx.peer, key);

	/* A copy of an answered write is answered; another new one is refused. */
	outcome_check_same(&first, change_run(&fx.peer, &answered));
	struct change fresh = put_bytes(&other, 1, 1, "another", chunk, CHUNK);
	ck_assert_int_eq(change_status(&fx.peer, &fresh), KV1_FULL);
	check_key(&fx.peer, "mine", "v", 1);

	/* Smaller values make room again; the refused write's copy stays refused. */
	struct change smaller = put(&fx.session, 1, 1, "key 0", "small");
	ck_assert_int_eq(change_status(&fx.peer, &smaller), KV1_OK);
	smaller = put(&fx.session, 1, 2, "key 1", "small");
	ck_assert_int_eq(change_status(&fx.peer, &smaller), KV1_OK);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_FULL);
	check_no_key(&fx.peer, key);
	change.writer.seq++;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);

	free(chunk);
	outcome_free(&first);
	fixture_check_memory("a full store of 4 MiB", 2 * 4 * 1024 * 1024);
}

CASE(stores, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_stateless_put_is_conditional_and_its_copy_is_refused) {
	struct session unknown = {.epoch = fx.session.epoch};
	struct change change = put(&unknown, 0, 0, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_INVALID);
	change.expected = 0;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	struct outcome copy = change_run(&fx.peer, &change);
	ck_assert_int_eq(copy.status, KV1_VERSION);
	ck_assert_uint_eq(copy.current, 1);
	outcome_free(&copy);
	change.is_append = true;
	change.expected = 1;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_INVALID);
	check_key(&fx.peer, "k", "v", 1);
}

/* One row of the version table: the status and the version that it leads to. */
static void check_row(struct fixture *fixture, bool is_append, uint64_t expected, const char *key,
		      kv1_status status, uint64_t current) {
	struct change change = put(&fixture->session, 0, suite_now_us(), key, "v");

	change.is_append = is_append;
	change.expected = expected;
	struct outcome outcome = change_run(&fixture->peer, &change);
	ck_assert_int_eq(outcome.status, status);
	ck_assert_uint_eq(outcome.current, current);
	outcome_free(&outcome);
}

TEST(each_row_of_the_version_table_holds) {
	for (int is_append = 0; is_append < 2; is_append++) {
		const char *key = is_append ? "appended" : "put";
		const char *other = is_append ? "appended 2" : "put 2";
		check_row(&fx, is_append, 3, key, KV1_NOKEY, 0);
		check_row(&fx, is_append, KV1_ANY, key, KV1_OK, 1);
		check_row(&fx, is_append, KV1_ANY, key, KV1_OK, 2);
		check_row(&fx, is_append, 0, key, KV1_VERSION, 2);
		check_row(&fx, is_append, 1, key, KV1_VERSION, 2);
		check_row(&fx, is_append, 3, key, KV1_VERSION, 2);
		check_row(&fx, is_append, 2, key, KV1_OK, 3);
		check_row(&fx, is_append, 0, other, KV1_OK, 1);
	}
	check_key(&fx.peer, "put", "v", 3);
	check_key(&fx.peer, "appended", "vvv", 3);
}

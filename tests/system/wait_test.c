/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that wait, over real connections: hand-over, ends of connections, restarts, stops. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	WAIT_MS = 60000,
	MANY = 5000, /* more calls than a connection may owe replies for */
};

static kv1_key key_of(const char *text) {
	return (kv1_key){(u_int)strlen(text), (char *)(uintptr_t)text};
}

static kv1_value value_of(const char *text) {
	return (kv1_value){(u_int)strlen(text), (char *)(uintptr_t)text};
}

static uint32_t send_wait(struct peer *peer, const char *key, uint64_t seen, uint32_t wait_ms) {
	kv1_wait_args args = {.key = key_of(key), .seen = seen, .wait_ms = wait_ms};
	uint32_t xid = peer_xid(peer);
	struct call_header header = call_header(xid, KVPROC_WAIT);

	peer_send(peer, message_call(&header, (xdrproc_t)xdr_kv1_wait_args, &args));
	return xid;
}

static void await_wait(struct peer *peer, uint32_t xid, kv1_status status, uint64_t current) {
	struct answer answer = peer_await(peer, xid);
	kv1_wait_res res = {0};

	answer_results(&answer, (xdrproc_t)xdr_kv1_wait_res, &res);
	ck_assert_int_eq(res.status, status);
	ck_assert_uint_eq(res.current, current);
	xdr_free((xdrproc_t)xdr_kv1_wait_res, (char *)&res);
	answer_free(&answer);
}

/* TXN{FREE lock "U"; put lock id, ttl}. */
static uint32_t send_acquire(struct peer *peer, const struct session *session, uint32_t slot,
			     uint64_t seq, const char *id, uint64_t ttl_ms, uint32_t wait_ms) {
	kv1_condition condition = {.test = KV1_FREE, .key = key_of("lock"), .value = value_of("U")};
	kv1_change change = {
	    .kind = KV1_CHANGE_PUT, .key = key_of("lock"), .value = value_of(id), .ttl_ms = ttl_ms};
	kv1_txn_args args = {
	    .writer = {.client_id = session->client_id, .slot = slot, .seq = seq},
	    .wait_ms = wait_ms,
	    .conditions = {1, &condition},
	    .changes = {1, &change},
	};
	uint32_t xid = peer_xid(peer);
	struct call_header header = call_header(xid, KVPROC_TXN);

	peer_send(peer, message_call(&header, (xdrproc_t)xdr_kv1_txn_args, &args));
	return xid;
}

/* Returns the token. */
static uint64_t await_acquire(struct peer *peer, uint32_t xid, kv1_status status) {
	struct answer answer = peer_await(peer, xid);
	kv1_txn_res res = {0};
	uint64_t token = 0;

	answer_results(&answer, (xdrproc_t)xdr_kv1_txn_res, &res);
	ck_assert_int_eq(res.status, status);
	if (status == KV1_OK)
		token = res.versions.versions_val[0];
	xdr_free((xdrproc_t)xdr_kv1_txn_res, (char *)&res);
	answer_free(&answer);
	return token;
}

static void put_value(struct peer *peer, uint64_t seq, const char *key, const char *value) {
	struct change change = put(&fx.session, 0, seq, key, value);
	struct outcome done = change_run(peer, &change);

	ck_assert_int_eq(done.status, KV1_OK);
	outcome_free(&done);
}

CASE(waits, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_wait_is_answered_when_the_key_changes_over_every_stream) {
	static const enum via vias[] = {VIA_TCP, VIA_LOCAL};

	for (unsigned i = 0; i < 2; i++) {
		struct peer other;

		peer_open(&other, &fx.server, vias[i]);
		uint32_t xid = send_wait(&other, "k", i, WAIT_MS);
		peer_ping(&other);
		put_value(&fx.peer, i + 1, "k", "v");
		await_wait(&other, xid, KV1_OK, i + 1);
		await_wait(&other, send_wait(&other, "k", i + 1, 20), KV1_UNMET, i + 1);
		peer_close(&other);
	}
}

TEST(a_wait_over_udp_is_refused) {
	struct peer other;

	peer_open(&other, &fx.server, VIA_UDP);
	await_wait(&other, send_wait(&other, "k", 0, 1), KV1_INVALID, 0);
	await_wait(&other, send_wait(&other, "k", 0, 0), KV1_UNMET, 0);
	peer_close(&other);
}

TEST(the_end_of_a_ttl_hands_over_in_a_server_that_has_nothing_else_to_do) {
	uint64_t token =
	    await_acquire(&fx.peer, send_acquire(&fx.peer, &fx.session, 1, 1, "a", 50, 0), KV1_OK);
	uint32_t waiter = send_acquire(&fx.peer, &fx.session, 2, 1, "b", 0, WAIT_MS);

	ck_assert_uint_gt(await_acquire(&fx.peer, waiter, KV1_OK), token);
}

TEST(rule_4_6_a_waiter_that_was_killed_is_passed_over) {
	struct peer dead, half, living;

	put_value(&fx.peer, 1, "lock", "other");
	peer_open(&dead, &fx.server, VIA_TCP);
	peer_open(&half, &fx.server, VIA_LOCAL);
	peer_open(&living, &fx.server, VIA_TCP);
	(void)send_acquire(&dead, &fx.session, 1, 1, "dead", 0, WAIT_MS);
	peer_ping(&dead);
	(void)send_acquire(&half, &fx.session, 2, 1, "half", 0, WAIT_MS);
	peer_ping(&half);
	uint32_t waiter = send_acquire(&living, &fx.session, 3, 1, "living", 0, WAIT_MS);
	peer_ping(&living);
	peer_close(&dead);
	ck_assert_int_eq(shutdown(half.fd, SHUT_WR), 0);
	put_value(&fx.peer, 2, "lock", "U");
	(void)await_acquire(&living, waiter, KV1_OK);
	check_key(&fx.peer, "lock", "living", 3);
	peer_close(&half);
	peer_close(&living);
}

TEST(rule_4_13_calls_that_wait_do_not_stop_the_reading) {
	uint32_t first = 0;

	for (unsigned i = 0; i < MANY; i++) {
		uint32_t xid = send_wait(&fx.peer, "k", 0, WAIT_MS);

		if (i == 0)
			first = xid;
	}
	put_value(&fx.peer, 1, "k", "v");
	for (unsigned i = 0; i < MANY; i++)
		await_wait(&fx.peer, first + i, KV1_OK, 1);
	ck_assert_uint_eq(counter(&fx.peer, "calls_waiting"), 0);
	ck_assert_uint_ge(counter(&fx.peer, "waits_woken"), MANY);
}

TEST(rule_4_10_a_restart_forgets_who_waits_and_a_stop_does_not_wait_for_them) {
	uint32_t xid = send_wait(&fx.peer, "k", 0, WAIT_MS);
	struct answer answer;

	peer_ping(&fx.peer);
	process_signal(&fx.server.process, SIGTERM);
	ck_assert_int_eq(peer_receive(&fx.peer, 10000, &answer), RECEIVED_CLOSED);
	fixture_await_end();
	(void)xid;
}

TEST(a_list_counts_those_that_wait) {
	kv1_list_args args = {.limit = 10};
	kv1_list_res res = {0};

	put_value(&fx.peer, 1, "k", "v");
	for (unsigned i = 0; i < 3; i++)
		(void)send_wait(&fx.peer, "k", 1, WAIT_MS);
	peer_call(&fx.peer, KVPROC_LIST, (xdrproc_t)xdr_kv1_list_args, &args,
		  (xdrproc_t)xdr_kv1_list_res, &res);
	ck_assert_uint_eq(res.keys.keys_len, 1);
	ck_assert_uint_eq(res.keys.keys_val[0].waiting, 3);
	xdr_free((xdrproc_t)xdr_kv1_list_res, (char *)&res);
}

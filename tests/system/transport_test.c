/* SPDX-License-Identifier: BSD-3-Clause */
/* The same service over every transport: records, datagrams, many calls under way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { PIPELINED = 1000 };

/* Whether this test can go that way on this machine. */
static bool has_way(enum via via) {
	return (via != VIA_TCP6 && via != VIA_UDP6) || server_has_ipv6();
}

CASE(calls, .setup = fixture_plain, .teardown = fixture_end);

TEST(every_transport_serves_every_procedure) {
	for (int via = 0; via < VIA_COUNT; via++) {
		if (!has_way((enum via)via)) {
			suite_figure("no ::1 on this machine: way %d is left out", via);
			continue;
		}
		struct peer peer;
		char key[16];
		(void)snprintf(key, sizeof key, "key %d", via);
		peer_open(&peer, &fx.server, (enum via)via);
		peer_ping(&peer);
		struct session session = session_open(&peer);
		struct change change = put(&session, 0, 1, key, "one");
		ck_assert_int_eq(change_status(&peer, &change), KV1_OK);
		change = append(&session, 0, 2, key, "two");
		struct outcome outcome = change_run(&peer, &change);
		ck_assert_int_eq(outcome.status, KV1_OK);
		ck_assert_uint_eq(outcome.value.size, 3);
		outcome_free(&outcome);
		check_key(&peer, key, "onetwo", 2);
		ck_assert_uint_eq(counter(&peer, "keys"), (uint64_t)via + 1);
		ck_assert_int_eq(session_close(&peer, &session), KV1_OK);
		peer_close(&peer);
	}
}

/* 1000 Gets of 1000 keys in one piece; the replies are looked at from the last to the first. */
static void pipeline(struct fixture *fixture, enum via via) {
	struct peer peer;
	uint32_t xid[PIPELINED];
	char key[16];

	peer_open(&peer, &fixture->server, via);
	struct message calls = message_copy("", 0);
	for (int i = 0; i < PIPELINED; i++) {
		kv1_get_args args = {.key = {(u_int)snprintf(key, sizeof key, "key %d", i), key}};
		xid[i] = peer_xid(&peer);
		struct call_header header = call_header(xid[i], KVPROC_GET);
		message_join(
		    &calls,
		    message_record(message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args), 0));
	}
	ck_assert(peer_send_bytes(&peer, calls.data, calls.size));
	message_free(&calls);
	for (int i = PIPELINED - 1; i >= 0; i--) {
		kv1_get_res res = {0};
		char value[16];
		struct answer answer = peer_await(&peer, xid[i]);
		answer_results(&answer, (xdrproc_t)xdr_kv1_get_res, &res);
		answer_free(&answer);
		ck_assert_int_eq(res.status, KV1_OK);
		ck_assert_uint_eq(res.value.kv1_value_len,
				  (u_int)snprintf(value, sizeof value, "value %d", i));
		ck_assert_mem_eq(res.value.kv1_value_val, value, res.value.kv1_value_len);
		xdr_free((xdrproc_t)xdr_kv1_get_res, &res);
	}
	peer_close(&peer);
}

TEST(a_thousand_calls_in_one_write_get_replies_under_their_own_xids) {
	char key[16];
	char value[16];

	for (int i = 0; i < PIPELINED; i++) {
		(void)snprintf(key, sizeof key, "key %d", i);
		(void)snprintf(value, sizeof value, "value %d", i);
		struct change change = put(&fx.session, 0, 1 + (uint64_t)i, key, value);
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	pipeline(&fx, VIA_TCP);
	pipeline(&fx, VIA_LOCAL);
}

TEST(pipelined_writes_run_in_the_order_in_which_they_were_sent) {
	struct message calls = message_copy("", 0);
	for (int i = 0; i < PIPELINED; i++) {
		struct change change = put(&fx.session, 0, 1 + (uint64_t)i, "k", "");
		uint32_t xid = peer_xid(&fx.peer);
		message_join(&calls, message_record(change_message(xid, &change), 0));
	}
	ck_assert(peer_send_bytes(&fx.peer, calls.data, calls.size));
	message_free(&calls);
	/* Had one come late, it would have been stale. */
	for (uint64_t i = 1; i <= PIPELINED; i++) {
		struct answer answer;
		kv1_put_res res = {0};
		ck_assert_int_eq(peer_receive(&fx.peer, 60000, &answer), RECEIVED_REPLY);
		answer_results(&answer, (xdrproc_t)xdr_kv1_put_res, &res);
		ck_assert_int_eq(res.status, KV1_OK);
		ck_assert_uint_le(res.current, PIPELINED);
		answer_free(&answer);
	}
	check_key(&fx.peer, "k", "", PIPELINED);
}

/* Bytes that differ from place to place. */
static char *make_value(size_t size) {
	char *value = malloc(size + 1);

	ck_assert_ptr_nonnull(value);
	for (size_t i = 0; i < size; i++) {
		value[i] = (char)(1 + i * 2654435761u % 251);
	}
	value[size] = '\0';
	return value;
}

TEST(replies_with_values_of_any_size_follow_each_other) {
	enum { SIZES = 60, ROUNDS = 4 };
	char *value = make_value(200000);
	char key[16];
	uint32_t xid[SIZES * ROUNDS];

	for (uint32_t i = 0; i < SIZES; i++) {
		/* Small and large in turn, and sizes that need every padding. */
		size_t size = i % 3 == 0 ? i : i % 3 == 1 ? 8170 + i : 3271 * i;
		(void)snprintf(key, sizeof key, "key %u", i);
		struct change change = put_bytes(&fx.session, 0, 1 + i, key, value, size);
		change.value = size == 0 ? "" : value;
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	struct message calls = message_copy("", 0);
	for (uint32_t i = 0; i < SIZES * ROUNDS; i++) {
		kv1_get_args args = {
		    .key = {(u_int)snprintf(key, sizeof key, "key %u", i % SIZES), key}};
		xid[i] = peer_xid(&fx.peer);
		struct call_header header = call_header(xid[i], KVPROC_GET);
		message_join(
		    &calls,
		    message_record(message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args), 0));
	}
	ck_assert(peer_send_bytes(&fx.peer, calls.data, calls.size));
	message_free(&calls);
	for (uint32_t i = 0; i < SIZES * ROUNDS; i++) {
		uint32_t n = i % SIZES;
		size_t size = n % 3 == 0 ? n : n % 3 == 1 ? 8170 + n : 3271 * n;
		kv1_get_res res = {0};
		struct answer answer = peer_await(&fx.peer, xid[i]);
		answer_results(&answer, (xdrproc_t)xdr_kv1_get_res, &res);
		answer_free(&answer);
		ck_assert_uint_eq(res.value.kv1_value_len, size);
		ck_assert(size == 0 || memcmp(res.value.kv1_value_val, value, size) == 0);
		xdr_free((xdrproc_t)xdr_kv1_get_res, &res);
	}
	free(value);
}

TEST(values_of_16_mib_travel_both_ways) {
	char *value = make_value(KV1_VALUE_MAX);

	for (int way = 0; way < 2; way++) {
		struct peer peer;
		const char *key = way == 0 ? "tcp" : "local";
		peer_open(&peer, &fx.server, way == 0 ? VIA_TCP : VIA_LOCAL);
		struct change change =
		    put_bytes(&fx.session, 0, 1 + 2 * (uint64_t)way, key, value, KV1_VALUE_MAX);
		ck_assert_int_eq(change_status(&peer, &change), KV1_OK);
		check_key(&peer, key, value, 1);
		/* An Append of nothing gives all of it back. */
		change = append(&fx.session, 0, 2 + 2 * (uint64_t)way, key, "");
		struct outcome outcome = change_run(&peer, &change);
		ck_assert_int_eq(outcome.status, KV1_OK);
		ck_assert_uint_eq(outcome.value.size, KV1_VALUE_MAX);
		ck_assert_mem_eq(outcome.value.data, value, KV1_VALUE_MAX);
		outcome_free(&outcome);
		peer_close(&peer);
	}
	free(value);
}

TEST(a_datagram_carries_60000_bytes_and_more_are_refused) {
	struct peer udp;
	char *value = make_value(70000);

	peer_open(&udp, &fx.server, VIA_UDP);
	uint32_t datagram_max = hello(&udp).datagram_max;
	struct change change = put_bytes(&fx.session, 0, 1, "large", value, 70000);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	struct outcome outcome = get(&udp, "large");
	ck_assert_int_eq(outcome.status, KV1_TOOBIG);
	outcome_free(&outcome);

	value[60000] = '\0';
	change = put(&fx.session, 0, 2, "small", value);
	ck_assert_int_eq(change_status(&udp, &change), KV1_OK);
	check_key(&udp, "small", value, 1);

	/* Up to the last byte that fits, and none of the sizes around it is lost in silence. */
	for (uint32_t size = datagram_max - 200; size < datagram_max; size++) {
		memset(value, 'e', size);
		struct change edge = put_bytes(&fx.session, 1, size, "edge", value, size);
		ck_assert_int_eq(change_status(&fx.peer, &edge), KV1_OK);
		outcome = get(&udp, "edge");
		ck_assert(outcome.status == KV1_TOOBIG ||
			  (outcome.status == KV1_OK && outcome.value.size == size));
		outcome_free(&outcome);
	}
	free(value);
	peer_close(&udp);
}

CASE(records, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_record_may_be_cut_into_fragments_anywhere) {
	struct peer *peer = &fx.peer;
	struct change change = append(&fx.session, 0, 1, "key", "value");
	struct message whole = change_message(0, &change);
	size_t size = whole.size;
	message_free(&whole);
	for (size_t first = 0; first <= size; first++) {
		change.writer.seq = 1 + first;
		uint32_t xid = peer_xid(peer);
		struct message call = change_message(xid, &change);
		struct message record = {malloc(size + 8), size + 8};
		ck_assert_ptr_nonnull(record.data);
		message_header(record.data, false, (uint32_t)first);
		memcpy(record.data + 4, call.data, first);
		message_header(record.data + 4 + first, true, (uint32_t)(size - first));
		memcpy(record.data + 8 + first, call.data + first, size - first);
		ck_assert(peer_send_bytes(peer, record.data, record.size));
		message_free(&record);
		message_free(&call);
		struct outcome outcome = change_await(peer, &change, xid);
		ck_assert_int_eq(outcome.status, KV1_OK);
		ck_assert_uint_eq(outcome.value.size, 5 * first);
		outcome_free(&outcome);
	}
}

TEST(a_record_may_arrive_in_pieces_cut_anywhere) {
	struct peer *peer = &fx.peer;
	struct change change = append(&fx.session, 0, 1, "key", "value");
	struct message record = message_record(change_message(0, &change), 0);
	size_t size = record.size;
	message_free(&record);
	for (size_t first = 1; first < size; first++) {
		change.writer.seq = first;
		uint32_t xid = peer_xid(peer);
		record = message_record(change_message(xid, &change), 0);
		ck_assert(peer_send_bytes(peer, record.data, first));
		/* Another connection is served in between, so the first piece was read alone. */
		struct peer other;
		peer_open(&other, &fx.server, VIA_LOCAL);
		peer_ping(&other);
		peer_close(&other);
		ck_assert(peer_send_bytes(peer, record.data + first, size - first));
		message_free(&record);
		struct outcome outcome = change_await(peer, &change, xid);
		ck_assert_int_eq(outcome.status, KV1_OK);
		outcome_free(&outcome);
	}
}

TEST(records_of_odd_sizes_may_follow_each_other) {
	struct peer *peer = &fx.peer;
	for (size_t extra = 0; extra < 8; extra++) {
		uint32_t xid[4];
		struct message calls = message_copy("", 0);
		for (int i = 0; i < 4; i++) {
			/* Bytes after the arguments are ignored; they move what follows. */
			xid[i] = peer_xid(peer);
			struct call_header header = call_header(xid[i], KVPROC_HELLO);
			struct message call = message_call(&header, NULL, NULL);
			message_join(&call, message_copy("1234567", extra % 8));
			message_join(&calls, message_record(call, 0));
		}
		ck_assert(peer_send_bytes(peer, calls.data, calls.size));
		message_free(&calls);
		for (int i = 0; i < 4; i++) {
			kv1_hello_res res = {0};
			struct answer answer = peer_await(peer, xid[i]);
			answer_results(&answer, (xdrproc_t)xdr_kv1_hello_res, &res);
			ck_assert_uint_eq(res.epoch, fx.session.epoch);
			answer_free(&answer);
		}
	}
}

TEST(a_peer_that_closed_only_its_sending_side_still_gets_its_replies) {
	enum { CALLS = 20 };
	struct peer peer;
	char *value = make_value(1000000);

	struct change change = put(&fx.session, 0, 1, "k", value);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	peer_open(&peer, &fx.server, VIA_TCP);
	for (int i = 0; i < CALLS; i++) {
		kv1_get_args args = {.key = {1, (char *)"k"}};
		struct call_header header = call_header((uint32_t)i, KVPROC_GET);
		peer_send(&peer, message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args));
	}
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	for (uint32_t i = 0; i < CALLS; i++) {
		struct answer answer = peer_await(&peer, i);
		ck_assert_uint_gt(answer.record.size, 1000000);
		answer_free(&answer);
	}
	ck_assert(peer_is_closed_within(&peer, 30000));
	peer_close(&peer);
	free(value);
}

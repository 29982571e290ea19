/* SPDX-License-Identifier: BSD-3-Clause */
#include "raw_client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "suite.h"

enum { SLOTS = 64, COUNTER_WAIT_MS = 60000 };

kv1_hello_res hello(struct peer *peer) {
	kv1_hello_res told = {0};

	peer_call(peer, KVPROC_HELLO, NULL, NULL, (xdrproc_t)xdr_kv1_hello_res, &told);
	ck_assert_int_eq(told.status, KV1_OK);
	return told;
}

void fresh_nonce(char nonce[KV1_NONCE_SIZE]) {
	ck_assert_int_eq(getrandom(nonce, KV1_NONCE_SIZE, 0), KV1_NONCE_SIZE);
}

kv1_open_res session_open_as(struct peer *peer, uint64_t epoch, const char nonce[KV1_NONCE_SIZE]) {
	kv1_open_args args = {.epoch = epoch, .slots = SLOTS};
	kv1_open_res opened = {0};

	memcpy(args.nonce, nonce, sizeof args.nonce);
	peer_call(peer, KVPROC_OPEN, (xdrproc_t)xdr_kv1_open_args, &args,
		  (xdrproc_t)xdr_kv1_open_res, &opened);
	return opened;
}

struct session session_open(struct peer *peer) {
	char nonce[KV1_NONCE_SIZE];
	uint64_t epoch = hello(peer).epoch;

	fresh_nonce(nonce);
	kv1_open_res opened = session_open_as(peer, epoch, nonce);
	ck_assert_int_eq(opened.status, KV1_OK);
	ck_assert_uint_ne(opened.client_id, 0);
	ck_assert_uint_ge(opened.slots, 1);
	return (struct session){.epoch = epoch,
				.client_id = opened.client_id,
				.slots = opened.slots,
				.lease_ms = opened.lease_ms};
}

kv1_status session_close(struct peer *peer, const struct session *session) {
	kv1_close_args args = {.epoch = session->epoch, .client_id = session->client_id};
	kv1_close_res closed = {0};

	peer_call(peer, KVPROC_CLOSE, (xdrproc_t)xdr_kv1_close_args, &args,
		  (xdrproc_t)xdr_kv1_close_res, &closed);
	return closed.status;
}

struct change put(const struct session *session, uint32_t slot, uint64_t seq, const char *key,
		  const char *value) {
	return (struct change){
	    .writer = {.epoch = session->epoch,
		       .client_id = session->client_id,
		       .slot = slot,
		       .seq = seq},
	    .expected = KV1_ANY,
	    .key = key,
	    .value = value,
	};
}

struct change append(const struct session *session, uint32_t slot, uint64_t seq, const char *key,
		     const char *value) {
	struct change change = put(session, slot, seq, key, value);

	change.is_append = true;
	change.want_old = true;
	return change;
}

struct change put_bytes(const struct session *session, uint32_t slot, uint64_t seq, const char *key,
			const char *bytes, size_t size) {
	struct change change = put(session, slot, seq, key, bytes);

	change.value_size = size;
	return change;
}

struct message change_message(uint32_t xid, const struct change *change) {
	struct call_header header =
	    call_header(xid, change->is_append ? KVPROC_APPEND : KVPROC_PUT);
	size_t key_size = change->key_size != 0 ? change->key_size : strlen(change->key);
	size_t value_size = change->value_size != 0 ? change->value_size : strlen(change->value);
	kv1_put_args args = {
	    .writer = change->writer,
	    .expected = change->expected,
	    .key = {(u_int)key_size, (char *)change->key},
	    .value = {(u_int)value_size, (char *)change->value},
	};

	if (!change->is_append) {
		return message_call(&header, (xdrproc_t)xdr_kv1_put_args, &args);
	}
	kv1_append_args append_args = {
	    .writer = args.writer,
	    .expected = args.expected,
	    .key = args.key,
	    .value = args.value,
	    .want_old = change->want_old,
	};
	return message_call(&header, (xdrproc_t)xdr_kv1_append_args, &append_args);
}

uint32_t change_send(struct peer *peer, const struct change *change) {
	uint32_t xid = peer_xid(peer);

	peer_send(peer, change_message(xid, change));
	return xid;
}

struct outcome change_await(struct peer *peer, const struct change *change, uint32_t xid) {
	struct answer answer = peer_await(peer, xid);
	struct outcome outcome = {0};

	if (change->is_append) {
		kv1_append_res res = {0};
		answer_results(&answer, (xdrproc_t)xdr_kv1_append_res, &res);
		outcome = (struct outcome){
		    .status = res.status, .current = res.current, .old_version = res.old_version};
		outcome.value = message_copy(res.old.kv1_value_val, res.old.kv1_value_len);
		xdr_free((xdrproc_t)xdr_kv1_append_res, &res);
	} else {
		kv1_put_res res = {0};
		answer_results(&answer, (xdrproc_t)xdr_kv1_put_res, &res);
		outcome = (struct outcome){.status = res.status, .current = res.current};
	}
	answer_free(&answer);
	return outcome;
}

struct outcome change_run(struct peer *peer, const struct change *change) {
	return change_await(peer, change, change_send(peer, change));
}

kv1_status change_status(struct peer *peer, const struct change *change) {
	struct outcome outcome = change_run(peer, change);
	kv1_status status = outcome.status;

	outcome_free(&outcome);
	return status;
}

struct outcome get(struct peer *peer, const char *key) {
	kv1_get_args args = {.key = {(u_int)strlen(key), (char *)key}};
	kv1_get_res res = {0};

	peer_call(peer, KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &args, (xdrproc_t)xdr_kv1_get_res,
		  &res);
	struct outcome outcome = {.status = res.status, .current = res.current};
	outcome.value = message_copy(res.value.kv1_value_val, res.value.kv1_value_len);
	xdr_free((xdrproc_t)xdr_kv1_get_res, &res);
	return outcome;
}

void outcome_free(struct outcome *outcome) {
	message_free(&outcome->value);
}

void outcome_check_same(const struct outcome *first, struct outcome second) {
	ck_assert_int_eq(first->status, second.status);
	ck_assert_uint_eq(first->current, second.current);
	ck_assert_uint_eq(first->old_version, second.old_version);
	ck_assert_uint_eq(first->value.size, second.value.size);
	if (first->value.size > 0) {
		ck_assert_mem_eq(first->value.data, second.value.data, first->value.size);
	}
	outcome_free(&second);
}

void check_key(struct peer *peer, const char *key, const char *value, uint64_t version) {
	struct outcome found = get(peer, key);

	ck_assert_int_eq(found.status, KV1_OK);
	ck_assert_uint_eq(found.current, version);
	ck_assert_uint_eq(found.value.size, strlen(value));
	if (found.value.size > 0) {
		ck_assert_mem_eq(found.value.data, value, found.value.size);
	}
	outcome_free(&found);
}

void check_no_key(struct peer *peer, const char *key) {
	struct outcome found = get(peer, key);

	ck_assert_int_eq(found.status, KV1_NOKEY);
	ck_assert_uint_eq(found.current, 0);
	ck_assert_uint_eq(found.value.size, 0);
	outcome_free(&found);
}

uint64_t counter(struct peer *peer, const char *name) {
	kv1_status_res res = {0};
	uint64_t value = 0;
	bool found = false;

	peer_call(peer, KVPROC_STATUS, NULL, NULL, (xdrproc_t)xdr_kv1_status_res, &res);
	ck_assert_int_eq(res.status, KV1_OK);
	for (u_int i = 0; i < res.counters.counters_len; i++) {
		if (strcmp(res.counters.counters_val[i].name, name) == 0) {
			value = res.counters.counters_val[i].value;
			found = true;
		}
	}
	xdr_free((xdrproc_t)xdr_kv1_status_res, &res);
	ck_assert_msg(found, "no counter %s", name);
	return value;
}

static void await_between(struct peer *peer, const char *name, uint64_t min, uint64_t max) {
	uint64_t deadline_ms = suite_now_ms() + COUNTER_WAIT_MS;

	for (uint64_t now; (now = counter(peer, name)) < min || now > max; suite_pause_ms(5))
		ck_assert_msg(suite_now_ms() < deadline_ms, "%s is %llu, not from %llu to %llu",
			      name, (unsigned long long)now, (unsigned long long)min,
			      (unsigned long long)max);
}

void counter_await(struct peer *peer, const char *name, uint64_t min) {
	await_between(peer, name, min, UINT64_MAX);
}

void counter_await_zero(struct peer *peer, const char *name) {
	await_between(peer, name, 0, 0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TXN_FIXTURE_H
#define TXN_FIXTURE_H

/*
 * txn_fixture.h - a service with one session, and short functions for DELETE, TXN and LIST.
 */

#include "fixture.h"
#include "le.h"
#include "test.h"

static struct world world;
static uint64_t client;

static inline void start(void) {
	world_open(&world, usual_limits(), true);
	client = open_session(&world, 1);
}

static inline void stop(void) {
	world_close(&world);
}

static inline struct operation delete_call(uint64_t seq, const char *key, uint64_t expected) {
	struct operation operation = put_call(client, seq, key, "");

	operation.kind = OPERATION_DELETE;
	operation.expected = expected;
	return operation;
}

static inline struct reply call(const struct operation *operation) {
	struct reply reply = run(&world, operation);

	drop(&world, &reply);
	return reply;
}

static inline uint64_t put(uint64_t seq, const char *key, const char *value) {
	const struct operation operation = put_call(client, seq, key, value);
	struct reply reply = call(&operation);

	ck_assert_int_eq(reply.status, KV_OK);
	return reply.current;
}

static inline struct change change(enum change_kind kind, const char *key, const char *value,
				   uint64_t ttl_ms) {
	return (struct change){
	    .kind = kind, .key = text(key), .value = text(value), .ttl_ms = ttl_ms};
}

/* A TXN of up to three of each; counts are of those with a key. */
struct sample {
	struct condition conditions[3];
	struct change changes[3];
	struct txn txn;
};

static inline struct operation txn_call(struct sample *sample, uint64_t seq) {
	struct txn *txn = &sample->txn;

	*txn = (struct txn){.conditions = sample->conditions, .changes = sample->changes};
	while (txn->condition_count < 3 && sample->conditions[txn->condition_count].key.size > 0)
		txn->condition_count++;
	while (txn->change_count < 3 && sample->changes[txn->change_count].key.size > 0)
		txn->change_count++;
	txn->hash = txn_hash(txn);
	return (struct operation){
	    .kind = OPERATION_TXN, .client_id = client, .seq = seq, .txn = txn};
}

static inline struct reply run_txn(struct sample *sample, uint64_t seq) {
	const struct operation operation = txn_call(sample, seq);

	return run(&world, &operation);
}

static inline enum kv_status txn_status(struct sample *sample, uint64_t seq) {
	struct reply reply = run_txn(sample, seq);

	drop(&world, &reply);
	return reply.status;
}

static inline uint64_t version_in(const struct reply *reply, size_t at) {
	struct kv_bytes versions = view_bytes(reply->value);

	ck_assert_uint_ge(versions.size, (at + 1) * 8);
	return le_get64((const uint8_t *)versions.data + at * 8);
}

/* The keys with this prefix, with a blank before each. */
static inline const char *keys(const char *prefix, const char *after, uint32_t limit) {
	static char line[4096];
	const struct list_request request = {
	    .prefix = text(prefix), .after = text(after), .limit = limit, .reply_max = ALL};
	struct list_key key;
	struct reply reply;
	size_t size = 0;

	service_list(world.service, EPOCH, &request, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	struct kv_bytes page = view_bytes(reply.value);
	line[0] = '\0';
	while (list_page_next(&page, &key))
		size += (size_t)snprintf(line + size, sizeof(line) - size, " %.*s",
					 (int)key.key.size, (const char *)key.key.data);
	if (reply.more)
		(void)snprintf(line + size, sizeof(line) - size, " ...");
	drop(&world, &reply);
	return line;
}

#endif

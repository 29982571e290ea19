/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

enum {
	CONDITIONS_MOST = 2,
	TTL_LEAST_MS = 20,
	TTL_MOST_MS = 4000,
	TEXT_SIZE = 24,
};

static const char *const txn_keys[] = {"t0", "t1", "t2", NULL};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

static struct kv_bytes key_of(unsigned index) {
	return (struct kv_bytes){txn_keys[index], 2};
}

/* One of few, so that a key may hold it. */
static struct kv_bytes some_text(struct txn_worker *worker, char text[TEXT_SIZE]) {
	int size = happens(3000)
		       ? snprintf(text, TEXT_SIZE, "free")
		       : snprintf(text, TEXT_SIZE, "%u.%u;", worker->worker, ++worker->tokens);

	return (struct kv_bytes){text, (size_t)size};
}

static struct kv_condition some_condition(const struct txn_worker *worker) {
	unsigned index = (unsigned)between(0, TXN_KEYS - 1);
	enum kv_test test = (enum kv_test)between(KV_AT, KV_FREE);

	return (struct kv_condition){.test = test,
				     .key = key_of(index),
				     .version = worker->versions[index],
				     .value = {"free", 4}};
}

static struct kv_change some_change(struct txn_worker *worker, unsigned index,
				    char text[TEXT_SIZE]) {
	struct kv_change change = {.key = key_of(index)};

	change.kind = (enum kv_change_kind)between(KV_CHANGE_PUT, KV_CHANGE_TOUCH);
	if (change.kind == KV_CHANGE_PUT || change.kind == KV_CHANGE_APPEND)
		change.value = some_text(worker, text);
	if (change.kind == KV_CHANGE_TOUCH || (change.kind == KV_CHANGE_PUT && happens(6000)))
		change.ttl_ms = between(TTL_LEAST_MS, TTL_MOST_MS);
	return change;
}

/* What the answer told of the versions. */
static void learn(struct txn_worker *worker, const struct kv_txn *txn, enum kv_status status) {
	for (size_t i = 0; status == KV_OK && i < txn->change_count; i++) {
		const struct kv_change *change = &txn->changes[i];
		unsigned index = (unsigned)(((const char *)change->key.data)[1] - '0');
		worker->versions[index] = change->kind == KV_CHANGE_DELETE ? 0 : change->version;
	}
	if (status == KV_UNMET && txn->which < txn->condition_count) {
		const char *key = txn->conditions[txn->which].key.data;
		worker->versions[key[1] - '0'] = txn->current;
	}
}

static enum kv_status txn_some(struct kv_client *client, struct txn_worker *worker) {
	struct kv_condition conditions[CONDITIONS_MOST];
	struct kv_change changes[TXN_KEYS];
	char texts[TXN_KEYS][TEXT_SIZE];
	struct kv_txn txn = {.conditions = conditions, .changes = changes};
	unsigned first = (unsigned)between(0, TXN_KEYS - 1);
	enum kv_status status;

	txn.condition_count = between(0, CONDITIONS_MOST);
	txn.change_count = between(1, TXN_KEYS);
	for (size_t i = 0; i < txn.condition_count; i++)
		conditions[i] = some_condition(worker);
	for (unsigned i = 0; i < txn.change_count; i++)
		changes[i] = some_change(worker, (first + i) % TXN_KEYS, texts[i]);
	status = op_txn(client, &txn);
	learn(worker, &txn, status);
	return status;
}

static enum kv_status txn_delete(struct kv_client *client, struct txn_worker *worker) {
	unsigned index = (unsigned)between(0, TXN_KEYS - 1);
	uint64_t expected =
	    worker->versions[index] == 0 || happens(5000) ? KV_ANY : worker->versions[index];
	uint64_t version = 0;
	enum kv_status status = op_delete(client, txn_keys[index], expected, &version);

	if (status == KV_VERSION)
		worker->versions[index] = version;
	else if (status == KV_OK || status == KV_NOKEY)
		worker->versions[index] = 0;
	return status;
}

static enum kv_status txn_append_both(struct kv_client *client, const char *const keys[2],
				      unsigned *tokens, const struct txn_worker *worker) {
	char token[TEXT_SIZE];
	int size = snprintf(token, sizeof(token), "%u.%u;", worker->worker, ++*tokens);
	struct kv_bytes value = {token, (size_t)size};
	struct kv_change changes[] = {
	    {.kind = KV_CHANGE_APPEND, .key = {keys[0], 2}, .value = value},
	    {.kind = KV_CHANGE_APPEND, .key = {keys[1], 2}, .value = value},
	};
	struct kv_txn txn = {.changes = changes, .change_count = 2};

	return op_txn(client, &txn);
}

static enum kv_status txn_list(struct kv_client *client, uint64_t *position, bool is_durable) {
	static const char *const afters[] = {"", "t0", "t1"};
	uint64_t before = *position;
	uint64_t told = 0;
	enum kv_status status =
	    op_list(client, "t", afters[between(0, 2)], between(1, TXN_KEYS), txn_keys, &told);

	if (status == KV_OK && is_durable && told < before)
		sim_fail("a page was at position %" PRIu64 " after one was at %" PRIu64, told,
			 before);
	if (status == KV_OK && told > *position)
		*position = told;
	return status;
}

enum kv_status sim_txn_any(struct kv_client *client, struct txn_worker *worker,
			   const char *const append_keys[2], unsigned *append_tokens,
			   uint64_t *position, bool is_stateless, bool is_durable) {
	if (is_stateless || happens(2500))
		return txn_list(client, position, is_durable);
	if (happens(2500))
		return txn_delete(client, worker);
	if (happens(3000))
		return txn_append_both(client, append_keys, append_tokens, worker);
	return txn_some(client, worker);
}

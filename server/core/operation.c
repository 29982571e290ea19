/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/operation.h"

#include <endian.h>

/* Compiled in, so that what is short is hashed without a call. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* No padding: each number is at a multiple of its size. */
struct digest {
	uint32_t kind;
	uint32_t want_old;
	uint64_t expected;
	uint64_t key;
	uint64_t value;
};

static uint64_t hash(struct kv_bytes bytes) {
	/* Of no bytes there may be NULL. */
	return htole64(bytes.size > 0 ? XXH3_64bits(bytes.data, bytes.size) : 0);
}

uint64_t txn_hash(const struct txn *txn) {
	XXH3_state_t state;

	(void)XXH3_64bits_reset(&state);
	for (uint32_t i = 0; i < txn->condition_count; i++) {
		const struct condition *condition = &txn->conditions[i];
		const struct digest digest = {
		    .want_old = htole32((uint32_t)condition->test),
		    .expected = htole64(condition->version),
		    .key = hash(condition->key),
		    .value = hash(condition->value),
		};

		(void)XXH3_64bits_update(&state, &digest, sizeof(digest));
	}
	for (uint32_t i = 0; i < txn->change_count; i++) {
		const struct change *change = &txn->changes[i];
		const struct digest digest = {
		    .kind = htole32(1),
		    .want_old = htole32((uint32_t)change->kind),
		    .expected = htole64(change->ttl_ms),
		    .key = hash(change->key),
		    .value = hash(change->value),
		};

		(void)XXH3_64bits_update(&state, &digest, sizeof(digest));
	}
	return XXH3_64bits_digest(&state);
}

uint64_t operation_hash(const struct operation *operation) {
	if (operation->is_unread)
		return HASH_UNREAD;
	if (operation->kind == OPERATION_TXN)
		return operation->txn->hash;

	bool wants_old = operation->kind == OPERATION_APPEND && operation->want_old;
	const struct digest digest = {
	    .kind = htole32((uint32_t)operation->kind),
	    .want_old = htole32(wants_old ? 1 : 0),
	    .expected = htole64(operation->expected),
	    .key = hash(operation->key),
	    .value = hash(operation->value),
	};

	return XXH3_64bits(&digest, sizeof(digest));
}

void reply_drop(struct mem_account *memory, struct reply *reply) {
	view_unref(memory, &reply->value);
}

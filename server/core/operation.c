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

uint64_t operation_hash(const struct operation *operation) {
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

void reply_drop(struct memory *memory, struct reply *reply) {
	view_unref(memory, &reply->value);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "operation.h"

#include <endian.h>

/* Compiled in: the state is on the stack, and its layout is no promise of the shared library. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* What stands before key and value. No padding: each number is at a multiple of its size. */
struct prefix {
	uint32_t kind;
	uint32_t want_old;
	uint64_t expected;
	uint64_t key_size;
};

uint64_t operation_hash(const struct operation *operation) {
	bool wants_old = operation->kind == OPERATION_APPEND && operation->want_old;
	const struct prefix prefix = {
	    .kind = htole32((uint32_t)operation->kind),
	    .want_old = htole32(wants_old ? 1 : 0),
	    .expected = htole64(operation->expected),
	    .key_size = htole64(operation->key.size),
	};
	XXH3_state_t state;

	/* Fails only without a state. An update of no bytes may have NULL for them. */
	(void)XXH3_64bits_reset(&state);
	(void)XXH3_64bits_update(&state, &prefix, sizeof(prefix));
	if (operation->key.size > 0)
		(void)XXH3_64bits_update(&state, operation->key.data, operation->key.size);
	if (operation->value.size > 0)
		(void)XXH3_64bits_update(&state, operation->value.data, operation->value.size);
	return XXH3_64bits_digest(&state);
}

void reply_drop(struct memory *memory, struct reply *reply) {
	view_drop(memory, &reply->value);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/txn_codec.h"

#include <string.h>

#include "le.h"

enum { CHANGE_HEADER_SIZE = 16 };

size_t txn_encoded_size(const struct txn *txn) {
	size_t size = 0;

	for (uint32_t i = 0; i < txn->change_count; i++)
		size += CHANGE_HEADER_SIZE + txn->changes[i].key.size + txn->changes[i].value.size;
	return size;
}

void txn_encode(uint8_t *to, const struct txn *txn) {
	for (uint32_t i = 0; i < txn->change_count; i++) {
		const struct change *change = &txn->changes[i];

		to[0] = (uint8_t)change->kind;
		to[1] = 0;
		le_put16(to + 2, (uint16_t)change->key.size);
		le_put32(to + 4, (uint32_t)change->value.size);
		le_put64(to + 8, change->ttl_ms);
		to += CHANGE_HEADER_SIZE;
		memcpy(to, change->key.data, change->key.size);
		to += change->key.size;
		if (change->value.size > 0)
			memcpy(to, change->value.data, change->value.size);
		to += change->value.size;
	}
}

static bool makes_sense(const struct change *change) {
	return change->kind <= CHANGE_TOUCH && change->key.size > 0 &&
	       change->key.size <= KEY_MAX && change->value.size <= VALUE_MAX &&
	       change->ttl_ms <= TTL_MAX_MS;
}

bool txn_decode(struct kv_bytes from, struct decoded_txn *decoded) {
	const uint8_t *bytes = from.data;
	size_t left = from.size;

	decoded->txn = (struct txn){.changes = decoded->changes};
	while (left > 0) {
		if (decoded->txn.change_count == CHANGES_MAX || left < CHANGE_HEADER_SIZE)
			return false;
		struct change *change = &decoded->changes[decoded->txn.change_count++];
		*change = (struct change){
		    .kind = (enum change_kind)bytes[0],
		    .key = {bytes + CHANGE_HEADER_SIZE, le_get16(bytes + 2)},
		    .value = {bytes + CHANGE_HEADER_SIZE + le_get16(bytes + 2),
			      le_get32(bytes + 4)},
		    .ttl_ms = le_get64(bytes + 8),
		};
		size_t size = CHANGE_HEADER_SIZE + change->key.size + change->value.size;
		if (size > left || bytes[1] != 0 || !makes_sense(change))
			return false;
		bytes += size;
		left -= size;
	}
	return decoded->txn.change_count > 0;
}

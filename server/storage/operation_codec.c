/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/operation_codec.h"

#include <string.h>

#include "le.h"

static struct kv_bytes key_of(const struct operation *operation) {
	if (operation->kind == OPERATION_OPEN)
		return (struct kv_bytes){operation->nonce, NONCE_SIZE};
	return operation->key;
}

size_t operation_encoded_size(const struct operation *operation) {
	return CODEC_HEADER_SIZE + key_of(operation).size + operation->value.size;
}

void operation_encode(uint8_t *to, const struct operation *operation, uint64_t now_ms) {
	struct kv_bytes key = key_of(operation);
	bool is_open = operation->kind == OPERATION_OPEN;

	le_put32(to, (uint32_t)operation_encoded_size(operation));
	to[4] = (uint8_t)operation->kind;
	to[5] = operation->want_old ? 1 : 0;
	le_put16(to + 6, (uint16_t)key.size);
	le_put32(to + 8, is_open ? operation->slots : operation->slot);
	le_put32(to + 12, (uint32_t)operation->value.size);
	le_put64(to + 16, now_ms);
	le_put64(to + 24, operation->client_id);
	le_put64(to + 32, operation->seq);
	le_put64(to + 40, operation->expected);
	to += CODEC_HEADER_SIZE;
	if (key.size > 0)
		memcpy(to, key.data, key.size);
	if (operation->value.size > 0)
		memcpy(to + key.size, operation->value.data, operation->value.size);
}

/* What a kind must look like; a checksum says that it is what was written, not that it makes sense.
 */
static bool makes_sense(const struct operation *operation, struct kv_bytes key) {
	switch (operation->kind) {
	case OPERATION_OPEN:
		return key.size == NONCE_SIZE && operation->value.size == 0 &&
		       operation->client_id != 0 && operation->slots > 0;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		return key.size == 0 && operation->value.size == 0 && operation->client_id != 0;
	case OPERATION_PUT:
	case OPERATION_APPEND:
		return key.size > 0 && key.size <= KEY_MAX && operation->value.size <= VALUE_MAX &&
		       (operation->client_id == 0 ||
			(operation->seq > 0 && operation->slot < SLOTS_MAX));
	}
	return false;
}

size_t operation_decode(struct kv_bytes from, struct operation *operation, uint64_t *now_ms) {
	const uint8_t *bytes = from.data;
	struct kv_bytes key;
	uint32_t size;

	if (from.size < CODEC_HEADER_SIZE)
		return 0;
	size = le_get32(bytes);
	key = (struct kv_bytes){bytes + CODEC_HEADER_SIZE, le_get16(bytes + 6)};
	*operation = (struct operation){.kind = (enum operation_kind)bytes[4],
					.want_old = bytes[5] == 1,
					.client_id = le_get64(bytes + 24),
					.seq = le_get64(bytes + 32),
					.expected = le_get64(bytes + 40)};
	operation->value.size = le_get32(bytes + 12);
	operation->value.data = bytes + CODEC_HEADER_SIZE + key.size;
	*now_ms = le_get64(bytes + 16);
	if (size > from.size ||
	    size != CODEC_HEADER_SIZE + (uint64_t)key.size + operation->value.size || bytes[5] > 1)
		return 0;
	if (operation->kind == OPERATION_OPEN)
		operation->slots = le_get32(bytes + 8);
	else
		operation->slot = le_get32(bytes + 8);
	if (!makes_sense(operation, key))
		return 0;
	if (operation->kind == OPERATION_OPEN)
		memcpy(operation->nonce, key.data, NONCE_SIZE);
	else
		operation->key = key;
	return size;
}

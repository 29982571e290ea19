/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal_format.h"

#include <string.h>

#include "le.h"
#include "storage/crc32c.h"
#include "storage/numbered_files.h"

const char segment_prefix[] = "journal-";

static const char segment_magic[8] = {'k', 'v', 'd', 'j', 'r', 'n', 'l', '1'};
static const uint32_t batch_magic = 0x3162766b; /* "kvb1" */

enum {
	AT_SEGMENT_CHECKSUM = 8,
	AT_SEGMENT_CHECKED = 12,
	AT_BATCH_CHECKSUM = 4,
	AT_BATCH_CHECKED = 8,
	AT_BATCH_KIND = 12,
};

void segment_name(uint64_t number, char name[VFS_NAME_MAX]) {
	numbered_name(segment_prefix, number, name);
}

bool segment_number(const char *name, uint64_t *number) {
	return numbered_parse(segment_prefix, name, number) && *number > 0;
}

void segment_header_encode(uint8_t to[SEGMENT_HEADER_SIZE], const struct segment_header *header) {
	memset(to, 0, SEGMENT_HEADER_SIZE);
	memcpy(to, segment_magic, sizeof(segment_magic));
	le_put32(to + 12, header->format);
	memcpy(to + 16, header->store, STORE_ID_SIZE);
	le_put64(to + 32, header->number);
	le_put64(to + 40, header->first);
	le_put64(to + 48, header->salt);
	le_put64(to + 56, header->size);
	le_put32(to + AT_SEGMENT_CHECKSUM,
		 crc32c(0, to + AT_SEGMENT_CHECKED, SEGMENT_HEADER_SIZE - AT_SEGMENT_CHECKED));
}

bool segment_header_decode(const uint8_t from[SEGMENT_HEADER_SIZE], struct segment_header *header) {
	*header = (struct segment_header){.format = le_get32(from + 12),
					  .number = le_get64(from + 32),
					  .first = le_get64(from + 40),
					  .salt = le_get64(from + 48),
					  .size = le_get64(from + 56)};
	memcpy(header->store, from + 16, STORE_ID_SIZE);
	return memcmp(from, segment_magic, sizeof(segment_magic)) == 0 &&
	       le_get32(from + AT_SEGMENT_CHECKSUM) ==
		   crc32c(0, from + AT_SEGMENT_CHECKED, SEGMENT_HEADER_SIZE - AT_SEGMENT_CHECKED);
}

static uint32_t batch_checksum(const uint8_t *from, size_t payload_size) {
	return crc32c(0, from + AT_BATCH_CHECKED,
		      BATCH_HEADER_SIZE - AT_BATCH_CHECKED + payload_size);
}

/* What is known of a header before its batch is. */
static void put_known(uint8_t to[BATCH_HEADER_SIZE], const struct batch_header *header) {
	le_put32(to, batch_magic);
	le_put64(to + 16, header->salt);
	le_put64(to + 24, header->segment);
	le_put64(to + 32, header->offset);
	le_put64(to + 40, header->first);
	le_put32(to + 52, 0);
}

void batch_header_encode(uint8_t *to, const struct batch_header *header) {
	put_known(to, header);
	le_put32(to + 8, header->payload_size);
	le_put32(to + AT_BATCH_KIND, (uint32_t)header->kind);
	le_put32(to + 48, header->count);
	le_put32(to + AT_BATCH_CHECKSUM, batch_checksum(to, header->payload_size));
}

bool batch_header_decode(const uint8_t from[BATCH_HEADER_SIZE], struct batch_header *header) {
	/* First, because it is tested at every eighth byte of a segment. */
	if (le_get32(from) != batch_magic)
		return false;
	*header = (struct batch_header){.kind = (enum batch_kind)le_get32(from + AT_BATCH_KIND),
					.payload_size = le_get32(from + 8),
					.salt = le_get64(from + 16),
					.segment = le_get64(from + 24),
					.offset = le_get64(from + 32),
					.first = le_get64(from + 40),
					.count = le_get32(from + 48)};
	if (header->kind == BATCH_END)
		return header->payload_size == 0 && header->count == 0;
	return header->kind == BATCH_OPERATIONS && header->payload_size <= BATCH_PAYLOAD_MAX;
}

enum batch_trace batch_header_trace(const uint8_t from[BATCH_HEADER_SIZE],
				    const struct batch_header *expected) {
	uint8_t whole[BATCH_HEADER_SIZE];
	bool is_complete = true;
	bool is_empty = true;

	/* What is not known beforehand may be anything. */
	memcpy(whole, from, sizeof(whole));
	put_known(whole, expected);
	le_put32(whole + AT_BATCH_KIND,
		 from[AT_BATCH_KIND] == BATCH_END ? BATCH_END : BATCH_OPERATIONS);
	for (size_t i = 0; i < BATCH_HEADER_SIZE; i++) {
		is_empty = is_empty && from[i] == 0;
		is_complete = is_complete && from[i] == whole[i];
		if (from[i] != 0 && from[i] != whole[i])
			return TRACE_OTHER;
	}
	return is_empty ? TRACE_NONE : is_complete ? TRACE_COMPLETE : TRACE_PARTIAL;
}

bool batch_checksum_ok(const uint8_t *from, const struct batch_header *header) {
	return le_get32(from + AT_BATCH_CHECKSUM) == batch_checksum(from, header->payload_size);
}

uint64_t batch_size(size_t payload_size) {
	uint64_t size = BATCH_HEADER_SIZE + (uint64_t)payload_size;

	return (size + BATCH_ALIGNMENT - 1) / BATCH_ALIGNMENT * BATCH_ALIGNMENT;
}

/* --- Operations ---------------------------------------------------------------------------------
 */

static struct kv_bytes key_of(const struct operation *operation) {
	if (operation->kind == OPERATION_OPEN)
		return (struct kv_bytes){operation->nonce, NONCE_SIZE};
	return operation->key;
}

/* The changes of a TXN are its value, and so is the owner of an OPEN. */
static struct kv_bytes value_of(const struct operation *operation) {
	return operation->kind == OPERATION_OPEN ? operation->principal : operation->value;
}

static size_t value_size(const struct operation *operation) {
	return operation->kind == OPERATION_TXN ? txn_encoded_size(operation->txn)
						: value_of(operation).size;
}

size_t operation_encoded_size(const struct operation *operation) {
	return OPERATION_HEADER_SIZE + key_of(operation).size + value_size(operation);
}

void operation_encode(uint8_t *to, const struct operation *operation, uint64_t now_ms) {
	struct kv_bytes key = key_of(operation);
	bool is_open = operation->kind == OPERATION_OPEN;
	bool is_txn = operation->kind == OPERATION_TXN;

	le_put32(to, (uint32_t)operation_encoded_size(operation));
	to[4] = (uint8_t)operation->kind;
	to[5] = operation->want_old ? 1 : 0;
	le_put16(to + 6, (uint16_t)key.size);
	le_put32(to + 8, is_open ? operation->slots : operation->slot);
	le_put32(to + 12, (uint32_t)value_size(operation));
	le_put64(to + 16, now_ms);
	le_put64(to + 24, operation->client_id);
	le_put64(to + 32, operation->seq);
	le_put64(to + 40, is_txn ? operation->txn->hash : operation->expected);
	to += OPERATION_HEADER_SIZE;
	if (key.size > 0)
		memcpy(to, key.data, key.size);
	if (is_txn)
		txn_encode(to, operation->txn);
	else if (value_size(operation) > 0)
		memcpy(to + key.size, value_of(operation).data, value_size(operation));
}

static bool is_key(struct kv_bytes key) {
	return key.size > 0 && key.size <= KEY_MAX;
}

/* Whether it names a slot and a seq, or is stateless. */
static bool is_call(const struct operation *operation) {
	return operation->client_id == 0 || (operation->seq > 0 && operation->slot < SLOTS_MAX);
}

/* What a kind must look like; a checksum says that it is what was written, not that it makes sense.
 */
static bool makes_sense(const struct operation *operation, struct kv_bytes key,
			struct decoded_txn *txn) {
	switch (operation->kind) {
	case OPERATION_OPEN:
		return key.size == NONCE_SIZE && operation->value.size <= PRINCIPAL_SIZE_MAX &&
		       operation->client_id != 0 && operation->slots > 0;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		return key.size == 0 && operation->value.size == 0 && operation->client_id != 0;
	case OPERATION_PUT:
	case OPERATION_APPEND:
		return is_key(key) && operation->value.size <= VALUE_MAX && is_call(operation);
	case OPERATION_DELETE:
		return is_key(key) && operation->value.size == 0 && is_call(operation);
	case OPERATION_TXN:
		return key.size == 0 && operation->client_id != 0 && is_call(operation) &&
		       txn_decode(operation->value, txn);
	case OPERATION_END:
		return is_key(key) && operation->value.size == 0 && operation->expected != 0;
	}
	return false;
}

size_t operation_decode(struct kv_bytes from, struct operation *operation, struct decoded_txn *txn,
			uint64_t *now_ms) {
	const uint8_t *bytes = from.data;
	struct kv_bytes key;
	uint32_t size;

	if (from.size < OPERATION_HEADER_SIZE)
		return 0;
	size = le_get32(bytes);
	key = (struct kv_bytes){bytes + OPERATION_HEADER_SIZE, le_get16(bytes + 6)};
	*operation = (struct operation){.kind = (enum operation_kind)bytes[4],
					.want_old = bytes[5] == 1,
					.client_id = le_get64(bytes + 24),
					.seq = le_get64(bytes + 32),
					.expected = le_get64(bytes + 40)};
	operation->value.size = le_get32(bytes + 12);
	operation->value.data = bytes + OPERATION_HEADER_SIZE + key.size;
	*now_ms = le_get64(bytes + 16);
	if (size > from.size ||
	    size != OPERATION_HEADER_SIZE + (uint64_t)key.size + operation->value.size ||
	    bytes[5] > 1)
		return 0;
	if (operation->kind == OPERATION_OPEN)
		operation->slots = le_get32(bytes + 8);
	else
		operation->slot = le_get32(bytes + 8);
	if (!makes_sense(operation, key, txn))
		return 0;
	if (operation->kind == OPERATION_OPEN) {
		memcpy(operation->nonce, key.data, NONCE_SIZE);
		operation->principal = operation->value;
		operation->value = (struct kv_bytes){0};
	} else {
		operation->key = key;
	}
	if (operation->kind == OPERATION_TXN) {
		txn->txn.hash = operation->expected;
		operation->txn = &txn->txn;
		operation->value = (struct kv_bytes){0};
		operation->expected = 0;
	}
	return size;
}

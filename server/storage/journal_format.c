/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal_format.h"

#include <isa-l/crc.h>
#include <limits.h>

#include "le.h"

static const char segment_magic[8] = {'k', 'v', 'd', 'j', 'r', 'n', 'l', '1'};
static const uint32_t batch_magic = 0x3162766b; /* "kvb1" */

enum {
	AT_SEGMENT_CHECKSUM = 8,
	AT_SEGMENT_CHECKED = 12,
	AT_BATCH_CHECKSUM = 4,
	AT_BATCH_CHECKED = 8,
};

uint32_t crc32c(uint32_t before, const void *data, size_t size) {
	uint8_t *next = (uint8_t *)(uintptr_t)data;
	uint32_t state = ~before;

	while (size > 0) {
		int piece = size < INT_MAX ? (int)size : INT_MAX;

		state = crc32_iscsi(next, piece, state);
		next += piece;
		size -= (size_t)piece;
	}
	return ~state;
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

void batch_header_encode(uint8_t *to, const struct batch_header *header) {
	le_put32(to, batch_magic);
	le_put32(to + 8, header->payload_size);
	le_put32(to + 12, (uint32_t)header->kind);
	le_put64(to + 16, header->salt);
	le_put64(to + 24, header->segment);
	le_put64(to + 32, header->offset);
	le_put64(to + 40, header->first);
	le_put32(to + 48, header->count);
	le_put32(to + 52, 0);
	le_put32(to + AT_BATCH_CHECKSUM, batch_checksum(to, header->payload_size));
}

bool batch_header_decode(const uint8_t from[BATCH_HEADER_SIZE], struct batch_header *header) {
	/* First, for it is asked at every eighth byte of a segment. */
	if (le_get32(from) != batch_magic)
		return false;
	*header = (struct batch_header){.kind = (enum batch_kind)le_get32(from + 12),
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

bool batch_checksum_ok(const uint8_t *from, const struct batch_header *header) {
	return le_get32(from + AT_BATCH_CHECKSUM) == batch_checksum(from, header->payload_size);
}

uint64_t batch_size(size_t payload_size) {
	uint64_t size = BATCH_HEADER_SIZE + (uint64_t)payload_size;

	return (size + BATCH_ALIGNMENT - 1) / BATCH_ALIGNMENT * BATCH_ALIGNMENT;
}

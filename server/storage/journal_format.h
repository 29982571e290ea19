/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BATCH_H
#define BATCH_H

/* batch.h - the header of a segment and of a batch, as bytes: see journal_file.h for the layout. */

#include "core/operation.h"

enum {
	SEGMENT_HEADER_SIZE = 4096,
	BATCH_HEADER_SIZE = 56,
	BATCH_ALIGNMENT = 8,
	BATCH_PAYLOAD_MAX = 256 << 20, /* bytes; far above what is written */
};

struct segment_header {
	uint32_t format;
	uint8_t store[STORE_ID_SIZE];
	uint64_t number;
	uint64_t first; /* position of its first operation */
	uint64_t salt;
	uint64_t size; /* of the file */
};

enum batch_kind {
	BATCH_OPERATIONS = 1,
	BATCH_END = 2, /* a clean stop: no payload */
};

struct batch_header {
	enum batch_kind kind;
	uint32_t payload_size;
	uint64_t salt;
	uint64_t segment;
	uint64_t offset;
	uint64_t first;
	uint32_t count;
};

void segment_header_encode(uint8_t to[SEGMENT_HEADER_SIZE], const struct segment_header *header);
/* False: it is no segment, or damaged. */
bool segment_header_decode(const uint8_t from[SEGMENT_HEADER_SIZE], struct segment_header *header);

/* `to` has room for the header; the payload lies behind it, zeros to a multiple of 8 included. */
void batch_header_encode(uint8_t *to, const struct batch_header *header);
/* Reads the header alone. False: it cannot be one. Its checksum is not looked at. */
bool batch_header_decode(const uint8_t from[BATCH_HEADER_SIZE], struct batch_header *header);
/* Whether the checksum of header and payload, as they stand behind each other, is right. */
bool batch_checksum_ok(const uint8_t *from, const struct batch_header *header);

/* Bytes that it takes with its padding. */
uint64_t batch_size(size_t payload_size);

/*
 * CRC32C (RFC 3720, B.4) of these bytes behind those that have the checksum `before`; 0: behind
 * none.
 */
uint32_t crc32c(uint32_t before, const void *data, size_t size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_FORMAT_H
#define JOURNAL_FORMAT_H

/*
 * journal_format.h - the bytes of the journal: headers of segments and batches, and operations.
 *
 *	segment: header (4096 bytes), batch, batch, ... zeros up to the file's size
 *	header:	 "kvdjrnl1", checksum (4), format (4), store id (16), N (8), first position (8),
 *		 salt (8), size of the file (8), zeros
 *	batch:	 magic (4), checksum (4), payload size (4), kind (4), salt (8), N (8), offset in the
 *		 file (8), first position (8), count of operations (4), zeros (4); payload; zeros to
 *		 a multiple of 8
 *	payload: operations, one behind the other
 *
 * An operation:
 *
 *	offset  size
 *	     0     4  size of the whole, these four bytes included
 *	     4     1  kind (enum operation_kind)
 *	     5     1  1: the old value is wanted; else 0
 *	     6     2  size of the key (OPEN: of the nonce)
 *	     8     4  slot (OPEN: slots)
 *	    12     4  size of the value
 *	    16     8  time in milliseconds
 *	    24     8  client id
 *	    32     8  seq
 *	    40     8  expected version (TXN: its hash; END: the version that ends)
 *	    48        key (OPEN: nonce), then value (OPEN: owner; TXN: its changes, see txn_codec.h)
 *
 * Numbers are little-endian. Checksums are CRC32C of what follows them. The salt is random, new for
 * each segment, and never leaves the server: no client can write a value that looks like a batch.
 * Any change of this is a new JOURNAL_FORMAT.
 */

#include "core/operation.h"
#include "storage/txn_codec.h"
#include "storage/vfs.h"

enum {
	JOURNAL_FORMAT = 3, /* 2: OPEN has no owner; 1: no DELETE, TXN and END */
	JOURNAL_FORMAT_MIN = 1,
	SEGMENT_HEADER_SIZE = 4096,
	BATCH_HEADER_SIZE = 56,
	BATCH_ALIGNMENT = 8,
	BATCH_PAYLOAD_MAX = 256 << 20, /* bytes; far above what is written */
	OPERATION_HEADER_SIZE = 48,
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

extern const char segment_prefix[];
/* "journal-0000000000000001"; back: false if `name` is not of that form. */
void segment_name(uint64_t number, char name[VFS_NAME_MAX]);
bool segment_number(const char *name, uint64_t *number);

void segment_header_encode(uint8_t to[SEGMENT_HEADER_SIZE], const struct segment_header *header);
/* False: it is not a segment, or damaged. */
bool segment_header_decode(const uint8_t from[SEGMENT_HEADER_SIZE], struct segment_header *header);

/* `to` has space for the header, and the payload behind it. */
void batch_header_encode(uint8_t *to, const struct batch_header *header);
/* Reads the header only. False: it cannot be one. Does not verify the checksum. */
bool batch_header_decode(const uint8_t from[BATCH_HEADER_SIZE], struct batch_header *header);
/* True if the checksum of a header and the payload behind it is right. */
bool batch_checksum_ok(const uint8_t *from, const struct batch_header *header);

enum batch_trace {
	TRACE_NONE,    /* nothing was written here: zeros */
	TRACE_PARTIAL, /* some bytes of such a header, zeros for the others */
	TRACE_COMPLETE,
	TRACE_OTHER, /* bytes that no writing of such a header leaves */
};

/*
 * What the writing of a batch left of its header on zeros, when it was interrupted anywhere. Of
 * `expected` salt, segment, offset and first count.
 */
enum batch_trace batch_header_trace(const uint8_t from[BATCH_HEADER_SIZE],
				    const struct batch_header *expected);

/* Bytes of a batch with its padding. */
uint64_t batch_size(size_t payload_size);

/* Bytes that operation_encode() writes. */
size_t operation_encoded_size(const struct operation *operation);

/* Writes operation_encoded_size() bytes. */
void operation_encode(uint8_t *to, const struct operation *operation, uint64_t now_ms);

/*
 * Reads one operation from the beginning of `from`; its key and value are borrowed from there.
 * Returns its size in bytes; 0: it is not an operation.
 */
size_t operation_decode(struct kv_bytes from, struct operation *operation, struct decoded_txn *txn,
			uint64_t *now_ms);

#endif

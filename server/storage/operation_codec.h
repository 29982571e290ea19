/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CODEC_H
#define CODEC_H

/*
 * codec.h - operations as bytes: the payload of the journal's batches. Little-endian, back to back:
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
 *	    40     8  expected version
 *	    48        key (OPEN: nonce), then value
 *
 * A change of it is a new format version of the journal.
 */

#include "core/operation.h"

enum { CODEC_HEADER_SIZE = 48 };

/* Bytes that operation_encode() will write. */
size_t operation_encoded_size(const struct operation *operation);

/* Writes operation_encoded_size() bytes. */
void operation_encode(uint8_t *to, const struct operation *operation, uint64_t now_ms);

/*
 * Reads one operation from the beginning of `from`; its key and value are borrowed from there.
 * Answers how many bytes it took; 0: they are no operation.
 */
size_t operation_decode(struct kv_bytes from, struct operation *operation, uint64_t *now_ms);

#endif

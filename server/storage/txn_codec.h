/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TXN_CODEC_H
#define TXN_CODEC_H

/*
 * txn_codec.h - the changes of a TXN as bytes: the value of its record in the journal. Conditions
 * are not recorded: they held. Little-endian, for each change, back to back:
 *
 *	offset  size
 *	     0     1  kind (enum change_kind)
 *	     1     1  zero
 *	     2     2  size of the key
 *	     4     4  size of the value
 *	     8     8  ttl in milliseconds
 *	    16        key, then value
 *
 * Part of the journal's format.
 */

#include "core/operation.h"

/* A TXN that was decoded; its keys and values are borrowed from the bytes. */
struct decoded_txn {
	struct txn txn;
	struct change changes[CHANGES_MAX];
};

/* Bytes that txn_encode() writes. */
size_t txn_encoded_size(const struct txn *txn);
void txn_encode(uint8_t *to, const struct txn *txn);

/* Returns false if the bytes are not the changes of a TXN. */
bool txn_decode(struct kv_bytes from, struct decoded_txn *decoded);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ROLLING_HASH_H
#define ROLLING_HASH_H

/*
 * rolling_hash.h - a hash of a value, its size and 122 bits, such that the hash of a concatenation
 * follows from the hashes of its parts: polynomials over the bytes, modulo the prime 2^61 - 1, at
 * two points. Two different values of n bytes share a hash in fewer than one of 2^120 / n^2
 * choices of the points.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct digest {
	uint64_t first;
	uint64_t second;
	size_t size;
};

struct digest rolling_hash(struct kv_bytes bytes);

/* The digest of `head` with `tail` at its end; and of `whole` without it. */
struct digest rolling_hash_concat(struct digest head, struct digest tail);
struct digest rolling_hash_strip(struct digest whole, struct digest tail);

static inline bool digest_equal(struct digest a, struct digest b) {
	return a.first == b.first && a.second == b.second && a.size == b.size;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "rolling_hash.h"

#define PRIME (((uint64_t)1 << 61) - 1)

/* The points: random, drawn once. Histories come from tests, not from an adversary. */
#define FIRST_POINT 0x11c83d2cf3a2a571u
#define SECOND_POINT 0x0a6d9e6fb2b2c8e3u
/* Their inverses: a product with the point is 1. */
#define FIRST_INVERSE 0xf9b450f70f097aau
#define SECOND_INVERSE 0x152b2ddd2ff333d2u
_Static_assert(FIRST_POINT < PRIME && SECOND_POINT < PRIME, "points are below the prime");

__extension__ typedef unsigned __int128 wide;

/* Below the prime. */
static uint64_t reduce(wide number) {
	uint64_t sum = (uint64_t)(number & PRIME) + (uint64_t)(number >> 61);

	return sum >= PRIME ? sum - PRIME : sum;
}

static uint64_t multiply(uint64_t a, uint64_t b) {
	return reduce((wide)a * b);
}

static uint64_t power(uint64_t base, size_t exponent) {
	uint64_t result = 1;

	for (; exponent > 0; exponent >>= 1) {
		if (exponent & 1)
			result = multiply(result, base);
		base = multiply(base, base);
	}
	return result;
}

struct digest rolling_hash(struct kv_bytes bytes) {
	const uint8_t *data = bytes.data;
	struct digest digest = {.size = bytes.size};

	for (size_t i = 0; i < bytes.size; i++) {
		digest.first = reduce((wide)digest.first * FIRST_POINT + data[i]);
		digest.second = reduce((wide)digest.second * SECOND_POINT + data[i]);
	}
	return digest;
}

struct digest rolling_hash_concat(struct digest head, struct digest tail) {
	return (struct digest){
	    .first = reduce((wide)head.first * power(FIRST_POINT, tail.size) + tail.first),
	    .second = reduce((wide)head.second * power(SECOND_POINT, tail.size) + tail.second),
	    .size = head.size + tail.size,
	};
}

struct digest rolling_hash_strip(struct digest whole, struct digest tail) {
	uint64_t first = reduce((wide)whole.first + PRIME - tail.first);
	uint64_t second = reduce((wide)whole.second + PRIME - tail.second);

	return (struct digest){
	    .first = multiply(first, power(FIRST_INVERSE, tail.size)),
	    .second = multiply(second, power(SECOND_INVERSE, tail.size)),
	    .size = whole.size - tail.size,
	};
}

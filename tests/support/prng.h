/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PRNG_H
#define PRNG_H

/*
 * prng.h - SplitMix64 (Steele, Lea and Flood 2014): pseudo-random numbers that follow from a seed.
 * Any seed will do, 0 and neighbours too. The state is the caller's.
 */

#include <stdbool.h>
#include <stdint.h>

struct prng {
	uint64_t state; /* the seed */
};

static inline uint64_t prng_next(struct prng *prng) {
	uint64_t bits = prng->state += 0x9e3779b97f4a7c15;

	bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
	bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
	return bits ^ (bits >> 31);
}

/* 0 to `limit` - 1; `limit` is not 0. */
static inline uint64_t prng_below(struct prng *prng, uint64_t limit) {
	return prng_next(prng) % limit;
}

/* `min` to `max`, both included. */
static inline uint64_t prng_between(struct prng *prng, uint64_t min, uint64_t max) {
	return min + prng_below(prng, max - min + 1);
}

/* True in `in_10000` of 10,000 cases. */
static inline bool prng_often(struct prng *prng, unsigned in_10000) {
	return prng_below(prng, 10000) < in_10000;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLACES_H
#define PLACES_H

/*
 * places.h - a set of places where the search may be: a state of the key, and which of the calls
 * under way have taken effect. Each is there once.
 */

#include "rolling_hash.h"

/* Followed by the words of its bits: one for each call under way. */
struct place {
	uint64_t version; /* 0: the key is missing */
	struct digest value;
	uint64_t is_known; /* else it may be anything that ends in `value` */
	uint64_t taken[];
};

struct places {
	uint8_t *data;
	uint32_t *table; /* number + 1 by hash; in use once there are more than a few */
	size_t words;	 /* of `taken` in each */
	size_t count;
	size_t room;
	size_t table_size; /* in use, a power of two; 0: not in use */
	size_t table_room;
	size_t memory_max;
};

/* An empty set of places with `words` words each; state_set_destroy() frees what it takes later. */
void state_set_init(struct places *places, size_t words, size_t memory_max);
void state_set_destroy(struct places *places);

static inline size_t places_stride(const struct places *places) {
	return sizeof(struct place) + places->words * sizeof(uint64_t);
}

static inline struct place *state_set_at(const struct places *places, size_t index) {
	return (struct place *)(places->data + index * places_stride(places));
}

void state_set_clear(struct places *places);

/*
 * Adds a copy of the place unless it is there. False: no memory. A pointer from state_set_at() is no
 * longer good afterwards.
 */
bool state_set_add(struct places *places, const struct place *place);

static inline bool place_has(const struct place *place, uint32_t slot) {
	return place->taken[slot / 64] >> (slot % 64) & 1;
}

static inline void place_set(struct place *place, uint32_t slot) {
	place->taken[slot / 64] |= (uint64_t)1 << (slot % 64);
}

static inline void place_unset(struct place *place, uint32_t slot) {
	place->taken[slot / 64] &= ~((uint64_t)1 << (slot % 64));
}

#endif

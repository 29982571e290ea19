/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STATE_SET_H
#define STATE_SET_H

/*
 * state_set.h - a set of search states: a state of the key, and which of the pending calls have
 * taken effect. Each is in it once.
 */

#include "rolling_hash.h"

/* Followed by the words of its bits: one for each call under way. */
struct search_state {
	uint64_t version; /* that was made last; 0: none */
	struct digest value;
	uint64_t is_known;    /* else it may be anything that ends in `value` */
	uint64_t is_missing;  /* the key; and then nothing is known of the value */
	uint64_t is_floating; /* the version is this one or above, below the next that is told of */
	uint64_t end_ns;      /* when a ttl of the key may be over; UINT64_MAX: it has none */
	uint64_t taken[];
};

struct state_set {
	uint8_t *data;
	uint32_t *table; /* number + 1 by hash; in use once there are more than a few */
	size_t words;	 /* of `taken` in each */
	size_t count;
	size_t room;
	size_t table_size; /* in use, a power of two; 0: not in use */
	size_t table_room;
	size_t memory_max;
};

/* An empty set of states with `words` words each; state_set_destroy() frees what it takes later. */
void state_set_init(struct state_set *set, size_t words, size_t memory_max);
void state_set_destroy(struct state_set *set);

static inline size_t state_set_stride(const struct state_set *set) {
	return sizeof(struct search_state) + set->words * sizeof(uint64_t);
}

static inline struct search_state *state_set_at(const struct state_set *set, size_t index) {
	return (struct search_state *)(set->data + index * state_set_stride(set));
}

void state_set_clear(struct state_set *set);

/*
 * Adds a copy of the state unless it is there. False: no memory. A pointer from state_set_at() is
 * no longer good afterwards.
 */
bool state_set_add(struct state_set *set, const struct search_state *state);

static inline bool search_state_has(const struct search_state *state, uint32_t slot) {
	return state->taken[slot / 64] >> (slot % 64) & 1;
}

static inline void search_state_set(struct search_state *state, uint32_t slot) {
	state->taken[slot / 64] |= (uint64_t)1 << (slot % 64);
}

static inline void search_state_unset(struct search_state *state, uint32_t slot) {
	state->taken[slot / 64] &= ~((uint64_t)1 << (slot % 64));
}

#endif

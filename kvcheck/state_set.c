/* SPDX-License-Identifier: BSD-3-Clause */
#include "state_set.h"

#include <stdlib.h>
#include <string.h>

enum {
	FEW = 8, /* so many are compared one by one */
	FIRST_TABLE = 64,
};

void state_set_init(struct state_set *set, size_t words, size_t memory_max) {
	*set = (struct state_set){.words = words, .memory_max = memory_max};
}

void state_set_destroy(struct state_set *set) {
	free(set->data);
	free(set->table);
	*set = (struct state_set){0};
}

void state_set_clear(struct state_set *set) {
	set->count = 0;
	set->table_size = 0;
}

static size_t hash(const struct state_set *set, const struct search_state *state) {
	uint64_t sum = state->version * 0x9e3779b97f4a7c15u ^ state->value.first ^
		       state->is_missing ^ state->end_ns * 0x94d049bb133111ebu;

	for (size_t i = 0; i < set->words; i++)
		sum = (sum ^ sum >> 29 ^ state->taken[i]) * 0xbf58476d1ce4e5b9u;
	return (size_t)(sum ^ sum >> 32);
}

static bool is_there(const struct state_set *set, size_t index, const struct search_state *state) {
	return memcmp(state_set_at(set, index), state, state_set_stride(set)) == 0;
}

/* Where the state's number is in the table, or would be. */
static size_t find(const struct state_set *set, const struct search_state *state) {
	size_t at = hash(set, state) & (set->table_size - 1);

	while (set->table[at] != 0 && !is_there(set, set->table[at] - 1, state))
		at = (at + 1) & (set->table_size - 1);
	return at;
}

static bool allows(const struct state_set *set, size_t room, size_t table_room) {
	return room < UINT32_MAX &&
	       room <= (set->memory_max - table_room * sizeof(*set->table)) / state_set_stride(set);
}

static bool grow_table(struct state_set *set) {
	size_t size = set->table_size == 0 ? FIRST_TABLE : set->table_size * 2;

	if (size > set->table_room) {
		if (size > set->memory_max / sizeof(*set->table) || !allows(set, set->room, size))
			return false;
		uint32_t *table = realloc(set->table, size * sizeof(*table));
		if (table == NULL)
			return false;
		set->table = table;
		set->table_room = size;
	}
	set->table_size = size;
	memset(set->table, 0, size * sizeof(*set->table));
	for (size_t i = 0; i < set->count; i++)
		set->table[find(set, state_set_at(set, i))] = (uint32_t)i + 1;
	return true;
}

static bool make_room(struct state_set *set) {
	size_t room = set->room == 0 ? FEW : set->room * 2;

	if (set->count < set->room)
		return true;
	if (!allows(set, room, set->table_room))
		return false;
	uint8_t *data = realloc(set->data, room * state_set_stride(set));
	if (data == NULL)
		return false;
	set->data = data;
	set->room = room;
	return true;
}

bool state_set_add(struct state_set *set, const struct search_state *state) {
	if (!make_room(set))
		return false;
	if (set->count < FEW) {
		for (size_t i = 0; i < set->count; i++) {
			if (is_there(set, i, state))
				return true;
		}
	} else {
		if (set->count * 2 >= set->table_size && !grow_table(set))
			return false;
		size_t at = find(set, state);
		if (set->table[at] != 0)
			return true;
		set->table[at] = (uint32_t)set->count + 1;
	}
	memcpy(state_set_at(set, set->count++), state, state_set_stride(set));
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "state_set.h"

#include <stdlib.h>
#include <string.h>

enum {
	FEW = 8, /* so many are compared one by one */
	FIRST_TABLE = 64,
};

void state_set_init(struct places *places, size_t words, size_t memory_max) {
	*places = (struct places){.words = words, .memory_max = memory_max};
}

void state_set_destroy(struct places *places) {
	free(places->data);
	free(places->table);
	*places = (struct places){0};
}

void state_set_clear(struct places *places) {
	places->count = 0;
	places->table_size = 0;
}

static size_t hash(const struct places *places, const struct place *place) {
	uint64_t sum = place->version * 0x9e3779b97f4a7c15u ^ place->value.first;

	for (size_t i = 0; i < places->words; i++)
		sum = (sum ^ sum >> 29 ^ place->taken[i]) * 0xbf58476d1ce4e5b9u;
	return (size_t)(sum ^ sum >> 32);
}

static bool is_there(const struct places *places, size_t index, const struct place *place) {
	return memcmp(state_set_at(places, index), place, places_stride(places)) == 0;
}

/* Where the place's number is in the table, or would be. */
static size_t find(const struct places *places, const struct place *place) {
	size_t at = hash(places, place) & (places->table_size - 1);

	while (places->table[at] != 0 && !is_there(places, places->table[at] - 1, place))
		at = (at + 1) & (places->table_size - 1);
	return at;
}

static bool allows(const struct places *places, size_t room, size_t table_room) {
	return room < UINT32_MAX &&
	       room <= (places->memory_max - table_room * sizeof(*places->table)) /
			   places_stride(places);
}

static bool grow_table(struct places *places) {
	size_t size = places->table_size == 0 ? FIRST_TABLE : places->table_size * 2;

	if (size > places->table_room) {
		if (size > places->memory_max / sizeof(*places->table) ||
		    !allows(places, places->room, size))
			return false;
		uint32_t *table = realloc(places->table, size * sizeof(*table));
		if (table == NULL)
			return false;
		places->table = table;
		places->table_room = size;
	}
	places->table_size = size;
	memset(places->table, 0, size * sizeof(*places->table));
	for (size_t i = 0; i < places->count; i++)
		places->table[find(places, state_set_at(places, i))] = (uint32_t)i + 1;
	return true;
}

static bool make_room(struct places *places) {
	size_t room = places->room == 0 ? FEW : places->room * 2;

	if (places->count < places->room)
		return true;
	if (!allows(places, room, places->table_room))
		return false;
	uint8_t *data = realloc(places->data, room * places_stride(places));
	if (data == NULL)
		return false;
	places->data = data;
	places->room = room;
	return true;
}

bool state_set_add(struct places *places, const struct place *place) {
	if (!make_room(places))
		return false;
	if (places->count < FEW) {
		for (size_t i = 0; i < places->count; i++) {
			if (is_there(places, i, place))
				return true;
		}
	} else {
		if (places->count * 2 >= places->table_size && !grow_table(places))
			return false;
		size_t at = find(places, place);
		if (places->table[at] != 0)
			return true;
		places->table[at] = (uint32_t)places->count + 1;
	}
	memcpy(state_set_at(places, places->count++), place, places_stride(places));
	return true;
}

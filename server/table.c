/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	SEGMENT_SIZE = 512,    /* buckets; a power of two, and the least that a table has */
	LOAD = 2,	       /* elements in a bucket, on average, before one is split */
	SEGMENT_ROOM_MIN = 16, /* pointers */
};

struct table_segment {
	struct table_link *heads[SEGMENT_SIZE];
};

static struct table_link **head(const struct table *table, size_t bucket) {
	return &table->segments[bucket / SEGMENT_SIZE]->heads[bucket % SEGMENT_SIZE];
}

static struct table_link **head_for(const struct table *table, uint64_t hash) {
	size_t bucket = hash & (2 * table->base - 1);

	/* That one is not split off yet: its elements are still where they came from. */
	if (bucket >= table->buckets)
		bucket &= table->base - 1;
	return head(table, bucket);
}

static bool is_split_due(const struct table *table, size_t count) {
	return count > LOAD * table->buckets;
}

/* Whether the next insert splits a bucket into a segment that is not there. */
static bool needs_segment(const struct table *table) {
	return is_split_due(table, table->count + 1) &&
	       table->buckets == table->segment_count * SEGMENT_SIZE;
}

static bool set_segment_room(struct table *table, size_t room) {
	struct table_segment **segments =
	    memory_resize(table->memory, table->segments, table->segment_room * sizeof(*segments),
			  room * sizeof(*segments));

	if (segments == NULL)
		return false;
	table->segments = segments;
	table->segment_room = room;
	return true;
}

static bool add_segment(struct table *table) {
	if (table->segment_count == table->segment_room &&
	    !set_segment_room(table, 2 * table->segment_room))
		return false;
	struct table_segment *segment = memory_allocate(table->memory, sizeof(*segment));
	if (segment == NULL)
		return false;
	*segment = (struct table_segment){0};
	table->segments[table->segment_count++] = segment;
	return true;
}

static void drop_segment(struct table *table) {
	struct table_segment *segment = table->segments[--table->segment_count];

	memory_free(table->memory, segment, sizeof(*segment));
}

bool table_open(struct table *table, struct memory *memory, table_hash hash, uint64_t seed) {
	*table = (struct table){
	    .buckets = SEGMENT_SIZE,
	    .base = SEGMENT_SIZE,
	    .hash = hash,
	    .seed = seed,
	    .memory = memory,
	};
	if (set_segment_room(table, SEGMENT_ROOM_MIN) && add_segment(table))
		return true;
	table_close(table);
	return false;
}

void table_close(struct table *table) {
	while (table->segment_count > 0)
		drop_segment(table);
	memory_free(table->memory, table->segments,
		    table->segment_room * sizeof(struct table_segment *));
	*table = (struct table){0};
}

bool table_reserve(struct table *table) {
	return !needs_segment(table) || add_segment(table);
}

size_t table_growth(const struct table *table) {
	if (!needs_segment(table))
		return 0;
	size_t room_size = table->segment_room * sizeof(struct table_segment *);
	size_t room_growth = table->segment_count < table->segment_room
				 ? 0
				 : memory_cost(2 * room_size) - memory_cost(room_size);
	return memory_cost(sizeof(struct table_segment)) + room_growth;
}

static void count_bucket(struct table *table) {
	table->buckets++;
	if (table->buckets == 2 * table->base)
		table->base *= 2;
}

bool table_presize(struct table *table, size_t count) {
	assert(table->count == 0);
	while (is_split_due(table, count)) {
		if (table->buckets == table->segment_count * SEGMENT_SIZE && !add_segment(table))
			return false;
		count_bucket(table);
	}
	return true;
}

static void split(struct table *table) {
	size_t added = table->buckets;
	struct table_link **from = head(table, added - table->base);
	struct table_link **to = head(table, added);

	*to = NULL;
	while (*from != NULL) {
		struct table_link *link = *from;
		if ((table->hash(table->seed, link) & (2 * table->base - 1)) != added) {
			from = &link->next;
			continue;
		}
		*from = link->next;
		link->next = *to;
		*to = link;
	}
	count_bucket(table);
}

/* Undoes the last split, and gives segments back that this leaves empty. */
static void merge(struct table *table) {
	if (table->buckets == table->base)
		table->base /= 2;
	size_t last = table->buckets - 1;
	struct table_link **end = head(table, last - table->base);
	while (*end != NULL)
		end = &(*end)->next;
	*end = *head(table, last);
	*head(table, last) = NULL;
	table->buckets = last;

	while ((table->segment_count - 1) * SEGMENT_SIZE >= table->buckets)
		drop_segment(table);
	/* Harmless if it fails: the array is only larger than it need be. */
	if (table->segment_room > SEGMENT_ROOM_MIN &&
	    table->segment_count <= table->segment_room / 4)
		(void)set_segment_room(table, table->segment_room / 2);
}

void table_insert(struct table *table, struct table_link *link) {
	struct table_link **first = head_for(table, table->hash(table->seed, link));

	assert(!needs_segment(table));
	link->next = *first;
	*first = link;
	table->count++;
	if (is_split_due(table, table->count))
		split(table);
}

void table_remove(struct table *table, struct table_link *link) {
	struct table_link **at = head_for(table, table->hash(table->seed, link));

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	link->next = NULL;
	table->count--;
	/* At half the load that splits, so that no pair of calls splits and merges for ever. */
	if (table->buckets > SEGMENT_SIZE && table->count < table->buckets * LOAD / 2)
		merge(table);
}

struct table_link *table_bucket(const struct table *table, uint64_t hash) {
	return *head_for(table, hash);
}

bool table_each(const struct table *table, void *context,
		bool (*visit)(void *context, const struct table_link *link)) {
	for (size_t bucket = 0; bucket < table->buckets; bucket++) {
		const struct table_link *link = *head(table, bucket);

		for (; link != NULL; link = link->next)
			if (!visit(context, link))
				return false;
	}
	return true;
}

void table_drain(struct table *table, void *context,
		 void (*release)(void *context, struct table_link *link)) {
	for (size_t bucket = 0; bucket < table->buckets; bucket++) {
		struct table_link *link = *head(table, bucket);

		*head(table, bucket) = NULL;
		while (link != NULL) {
			struct table_link *next = link->next;
			release(context, link);
			link = next;
		}
	}
	table->count = 0;
}

uint64_t table_hash_bytes(uint64_t seed, const void *data, size_t size) {
	return XXH3_64bits_withSeed(data, size, seed);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/hash_table.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	LINE_SIZE = 64,	       /* bytes; a cache line */
	LINE_ROOM = 6,	       /* elements */
	SEGMENT_SIZE = 128,    /* buckets; a power of two, and the least that a table has */
	LOAD = 5,	       /* elements in a bucket, on average, before one is split */
	SEGMENT_ROOM_MIN = 16, /* pointers */
	MALLOC_ALIGNMENT = 16, /* bytes; the least that malloc gives */
};

/* Invariant: in a bucket all lines but the last are full, and but for the first none is empty. */
struct table_line {
	struct table_line *more; /* of the same bucket, or NULL */
	void *elements[LINE_ROOM];
	uint8_t tags[LINE_ROOM];
	uint8_t count;
};

_Static_assert(sizeof(struct table_line) <= LINE_SIZE, "a line is a cache line");

/* Lines on cache lines of their own: where the first is, depends on what malloc gave. */
struct table_segment {
	unsigned char bytes[(SEGMENT_SIZE + 1) * LINE_SIZE - MALLOC_ALIGNMENT];
};

static struct table_line *line_at(const struct table *table, size_t bucket) {
	uintptr_t bytes = (uintptr_t)table->segments[bucket / SEGMENT_SIZE];
	uintptr_t first = (bytes + LINE_SIZE - 1) & ~(uintptr_t)(LINE_SIZE - 1);

	return (struct table_line *)(first + bucket % SEGMENT_SIZE * LINE_SIZE);
}

static struct table_line *line_for(const struct table *table, uint64_t hash) {
	size_t bucket = hash & (2 * table->base - 1);

	/* That one is not split off yet: its elements are still where they came from. */
	if (bucket >= table->buckets)
		bucket &= table->base - 1;
	return line_at(table, bucket);
}

/* Of the bits that do not choose the bucket. */
static uint8_t tag_of(uint64_t hash) {
	return (uint8_t)(hash >> 56);
}

static bool is_split_due(const struct table *table, size_t count) {
	return count > LOAD * table->buckets;
}

/* Whether the next insert splits a bucket into a segment that is not there. */
static bool needs_segment(const struct table *table) {
	return is_split_due(table, table->count + 1) &&
	       table->buckets == table->segment_count * SEGMENT_SIZE;
}

/* --- Memory -------------------------------------------------------------------------------- */

static bool set_segment_room(struct table *table, size_t room) {
	struct table_segment **segments =
	    mem_account_realloc(table->memory, table->segments, table->segment_room * sizeof(*segments),
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
	struct table_segment *segment = mem_account_alloc(table->memory, sizeof(*segment));
	if (segment == NULL)
		return false;
	*segment = (struct table_segment){0};
	table->segments[table->segment_count++] = segment;
	return true;
}

static void drop_segment(struct table *table) {
	struct table_segment *segment = table->segments[--table->segment_count];

	mem_account_free(table->memory, segment, sizeof(*segment));
}

static bool make_spare(struct table *table) {
	if (table->spare == NULL) {
		table->spare = mem_account_alloc(table->memory, sizeof(*table->spare));
		if (table->spare == NULL)
			return false;
		*table->spare = (struct table_line){0};
	}
	return true;
}

static void free_lines(struct table *table, struct table_line *line) {
	while (line != NULL) {
		struct table_line *more = line->more;
		mem_account_free(table->memory, line, sizeof(*line));
		line = more;
	}
}

/* Takes back what one bucket or another no longer needs. */
static void give_back(struct table *table, struct table_line *lines) {
	if (lines != NULL && table->spare == NULL) {
		table->spare = lines;
		lines = lines->more;
		table->spare->more = NULL;
	}
	free_lines(table, lines);
}

bool hash_table_init(struct table *table, struct memory *memory, table_hash hash, uint64_t seed) {
	*table = (struct table){
	    .buckets = SEGMENT_SIZE,
	    .base = SEGMENT_SIZE,
	    .hash = hash,
	    .seed = seed,
	    .memory = memory,
	};
	if (set_segment_room(table, SEGMENT_ROOM_MIN) && add_segment(table) && make_spare(table))
		return true;
	hash_table_destroy(table);
	return false;
}

void hash_table_destroy(struct table *table) {
	for (size_t bucket = 0; bucket < table->segment_count * SEGMENT_SIZE; bucket++)
		free_lines(table, line_at(table, bucket)->more);
	while (table->segment_count > 0)
		drop_segment(table);
	mem_account_free(table->memory, table->segments,
		    table->segment_room * sizeof(struct table_segment *));
	mem_account_free(table->memory, table->spare, sizeof(*table->spare));
	*table = (struct table){0};
}

bool hash_table_reserve_one(struct table *table) {
	return make_spare(table) && (!needs_segment(table) || add_segment(table));
}

size_t hash_table_reserve_cost(const struct table *table) {
	size_t growth = table->spare == NULL ? mem_account_cost(sizeof(*table->spare)) : 0;

	if (!needs_segment(table))
		return growth;
	size_t room_size = table->segment_room * sizeof(struct table_segment *);
	if (table->segment_count == table->segment_room)
		growth += mem_account_cost(2 * room_size) - mem_account_cost(room_size);
	return growth + mem_account_cost(sizeof(struct table_segment));
}

static void count_bucket(struct table *table) {
	table->buckets++;
	if (table->buckets == 2 * table->base)
		table->base *= 2;
}

bool hash_table_reserve_total(struct table *table, size_t count) {
	assert(table->count == 0);
	while (is_split_due(table, count)) {
		if (table->buckets == table->segment_count * SEGMENT_SIZE && !add_segment(table))
			return false;
		count_bucket(table);
	}
	return true;
}

/* --- Growing and shrinking ----------------------------------------------------------------- */

/* Takes a line from *lines when the bucket is full. */
static void add(struct table_line *line, struct table_line **lines, uint8_t tag, void *element) {
	while (line->more != NULL)
		line = line->more;
	if (line->count == LINE_ROOM) {
		struct table_line *more = *lines;
		*lines = more->more;
		more->more = NULL;
		more->count = 0;
		line->more = more;
		line = more;
	}
	line->tags[line->count] = tag;
	line->elements[line->count++] = element;
}

/*
 * Moves the elements of a bucket, each to where it belongs now. The lines that it had suffice for
 * two buckets; for one that others are in already, the spare does.
 */
static void move_all(struct table *table, struct table_line *first) {
	struct table_line *lines = table->spare;
	struct table_line line = *first;

	table->spare = NULL;
	first->count = 0;
	first->more = NULL;
	for (;;) {
		struct table_line *next = line.more;
		for (unsigned i = 0; i < line.count; i++)
			__builtin_prefetch(line.elements[i]);
		for (unsigned i = 0; i < line.count; i++) {
			uint64_t hash = table->hash(table->seed, line.elements[i]);
			add(line_for(table, hash), &lines, line.tags[i], line.elements[i]);
		}
		if (next == NULL)
			break;
		line = *next;
		next->more = lines;
		lines = next;
	}
	give_back(table, lines);
}

static void split(struct table *table) {
	struct table_line *from = line_at(table, table->buckets - table->base);

	count_bucket(table);
	move_all(table, from);
}

/* Undoes the last split, and gives segments back that this leaves empty. */
static void merge(struct table *table) {
	/* Harmless if it fails, here and below: the table is only larger than it need be. */
	if (!make_spare(table))
		return;
	if (table->buckets == table->base)
		table->base /= 2;
	table->buckets--;
	move_all(table, line_at(table, table->buckets));

	while ((table->segment_count - 1) * SEGMENT_SIZE >= table->buckets)
		drop_segment(table);
	if (table->segment_room > SEGMENT_ROOM_MIN &&
	    table->segment_count <= table->segment_room / 4)
		(void)set_segment_room(table, table->segment_room / 2);
}

void hash_table_insert(struct table *table, void *element) {
	uint64_t hash = table->hash(table->seed, element);

	assert(table->spare != NULL && !needs_segment(table));
	add(line_for(table, hash), &table->spare, tag_of(hash), element);
	table->count++;
	if (is_split_due(table, table->count))
		split(table);
}

/* --- Elements ------------------------------------------------------------------------------ */

/* The line and the place in it where an element is that is in the table. */
static struct table_line *place_of(const struct table *table, uint64_t hash, const void *element,
				   unsigned *place) {
	struct table_line *line = line_for(table, hash);

	for (;; line = line->more)
		for (*place = 0; *place < line->count; ++*place)
			if (line->elements[*place] == element)
				return line;
}

void hash_table_remove(struct table *table, const void *element) {
	uint64_t hash = table->hash(table->seed, element);
	struct table_line *before = NULL;
	struct table_line *last = line_for(table, hash);
	unsigned place;
	struct table_line *line = place_of(table, hash, element, &place);

	for (; last->more != NULL; last = last->more)
		before = last;
	last->count--;
	line->tags[place] = last->tags[last->count];
	line->elements[place] = last->elements[last->count];
	if (last->count == 0 && before != NULL) {
		before->more = NULL;
		give_back(table, last);
	}
	table->count--;
	/* At half the load that splits, so that no pair of calls splits and merges for ever. */
	if (table->buckets > SEGMENT_SIZE && table->count < table->buckets * LOAD / 2)
		merge(table);
}

void hash_table_replace(struct table *table, uint64_t hash, const void *element, void *other) {
	unsigned place;

	place_of(table, hash, element, &place)->elements[place] = other;
}

void *hash_table_find(const struct table *table, uint64_t hash, table_match is_wanted,
		 const void *wanted) {
	const struct table_line *line = line_for(table, hash);

	for (; line != NULL; line = line->more)
		for (unsigned i = 0; i < line->count; i++)
			if (line->tags[i] == tag_of(hash) && is_wanted(line->elements[i], wanted))
				return line->elements[i];
	return NULL;
}

const struct table_line *hash_table_prefetch_bucket(const struct table *table, uint64_t hash) {
	const struct table_line *line = line_for(table, hash);

	__builtin_prefetch(line);
	return line;
}

const struct table_line *hash_table_prefetch_next(const struct table_line *line, uint64_t hash, size_t size) {
	for (unsigned i = 0; i < line->count; i++)
		if (line->tags[i] == tag_of(hash))
			for (size_t at = 0; at < size; at += LINE_SIZE)
				__builtin_prefetch((const char *)line->elements[i] + at);
	if (line->more != NULL)
		__builtin_prefetch(line->more);
	return line->more;
}

bool hash_table_foreach(const struct table *table, void *context,
		bool (*visit)(void *context, void *element)) {
	for (size_t bucket = 0; bucket < table->buckets; bucket++) {
		const struct table_line *line = line_at(table, bucket);

		for (; line != NULL; line = line->more)
			for (unsigned i = 0; i < line->count; i++)
				if (!visit(context, line->elements[i]))
					return false;
	}
	return true;
}

void hash_table_clear(struct table *table, void *context,
		 void (*release)(void *context, void *element)) {
	for (size_t bucket = 0; bucket < table->buckets; bucket++) {
		struct table_line *first = line_at(table, bucket);

		for (const struct table_line *line = first; line != NULL; line = line->more)
			for (unsigned i = 0; i < line->count; i++)
				release(context, line->elements[i]);
		give_back(table, first->more);
		*first = (struct table_line){0};
	}
	table->count = 0;
}

uint64_t hash_bytes(uint64_t seed, const void *data, size_t size) {
	return XXH3_64bits_withSeed(data, size, seed);
}

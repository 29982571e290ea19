/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/hash_table.h"

#include <assert.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	LINE_SIZE = 64,	       /* bytes; a cache line */
	LINE_ROOM = 7,	       /* elements, or one less and the next line */
	SEGMENT_SIZE = 128,    /* buckets; a power of two, and the least that a table has */
	LOAD = 6,	       /* elements in a bucket, on average, before one is split */
	SEGMENT_ROOM_MIN = 16, /* pointers */
};

/*
 * Invariant: in a bucket each line but the last has LINE_ROOM - 1 elements, and in the place of one
 * more the next line; that has at least two.
 */
struct table_line {
	union {
		void *elements[LINE_ROOM];
		struct {
			void *others[LINE_ROOM - 1];
			struct table_line *more; /* of the same bucket, if has_more */
		};
	};
	uint8_t tags[LINE_ROOM];
	uint8_t count : 7; /* elements */
	uint8_t has_more : 1;
};

_Static_assert(sizeof(struct table_line) == LINE_SIZE, "a line is a cache line");

/* Its size is the largest that slabs have, which is aligned to cache lines there. */
struct table_segment {
	struct table_line lines[SEGMENT_SIZE];
};

_Static_assert(sizeof(struct table_segment) == SLAB_BLOCK_MAX, "a slab has no gap");

static struct table_line *next_of(const struct table_line *line) {
	return line->has_more ? line->more : NULL;
}

static void set_next(struct table_line *line, struct table_line *next) {
	line->more = next;
	line->has_more = next != NULL;
}

static struct table_line *line_at(const struct hash_table *table, size_t bucket) {
	return &table->segments[bucket / SEGMENT_SIZE]->lines[bucket % SEGMENT_SIZE];
}

static struct table_line *line_for(const struct hash_table *table, uint64_t hash) {
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

static bool is_split_due(const struct hash_table *table, size_t count) {
	return count > LOAD * table->buckets;
}

/* Whether the next insert splits a bucket into a segment that is not there. */
static bool needs_segment(const struct hash_table *table) {
	return is_split_due(table, table->count + 1) &&
	       table->buckets == table->segment_count * SEGMENT_SIZE;
}

/* --- Memory -------------------------------------------------------------------------------- */

static bool set_segment_room(struct hash_table *table, size_t room) {
	struct table_segment **segments =
	    mem_account_realloc(table->memory, table->segments,
				table->segment_room * sizeof(*segments), room * sizeof(*segments));

	if (segments == NULL)
		return false;
	table->segments = segments;
	table->segment_room = room;
	return true;
}

static bool add_segment(struct hash_table *table) {
	if (table->segment_count == table->segment_room &&
	    !set_segment_room(table, 2 * table->segment_room))
		return false;
	struct table_segment *segment = mem_account_alloc(table->memory, sizeof(*segment));
	if (segment == NULL)
		return false;
	memset(segment, 0, sizeof(*segment));
	table->segments[table->segment_count++] = segment;
	return true;
}

static void drop_segment(struct hash_table *table) {
	struct table_segment *segment = table->segments[--table->segment_count];

	mem_account_free(table->memory, segment, sizeof(*segment));
}

/* Makes sure that there are so many spare lines. */
static bool make_spare(struct hash_table *table, unsigned count) {
	struct table_line *line = table->spare;

	for (; count > 0 && line != NULL; line = next_of(line))
		count--;
	for (; count > 0; count--) {
		line = mem_account_alloc(table->memory, sizeof(*line));
		if (line == NULL)
			return false;
		set_next(line, table->spare);
		table->spare = line;
	}
	return true;
}

static void free_lines(struct hash_table *table, struct table_line *line) {
	while (line != NULL) {
		struct table_line *more = next_of(line);
		mem_account_free(table->memory, line, sizeof(*line));
		line = more;
	}
}

/* Takes back what one bucket or another no longer needs; one line is kept. */
static void give_back(struct hash_table *table, struct table_line *lines) {
	if (lines != NULL && table->spare == NULL) {
		table->spare = lines;
		lines = next_of(lines);
		set_next(table->spare, NULL);
	}
	free_lines(table, lines);
}

bool hash_table_init(struct hash_table *table, struct mem_account *memory, table_hash hash,
		     uint64_t seed) {
	*table = (struct hash_table){
	    .buckets = SEGMENT_SIZE,
	    .base = SEGMENT_SIZE,
	    .hash = hash,
	    .seed = seed,
	    .memory = memory,
	};
	if (set_segment_room(table, SEGMENT_ROOM_MIN) && add_segment(table) && make_spare(table, 1))
		return true;
	hash_table_destroy(table);
	return false;
}

void hash_table_destroy(struct hash_table *table) {
	for (size_t bucket = 0; bucket < table->segment_count * SEGMENT_SIZE; bucket++)
		free_lines(table, next_of(line_at(table, bucket)));
	while (table->segment_count > 0)
		drop_segment(table);
	mem_account_free(table->memory, table->segments,
			 table->segment_room * sizeof(struct table_segment *));
	free_lines(table, table->spare);
	*table = (struct hash_table){0};
}

bool hash_table_reserve_one(struct hash_table *table) {
	return make_spare(table, 1) && (!needs_segment(table) || add_segment(table));
}

size_t hash_table_reserve_cost(const struct hash_table *table) {
	size_t growth = table->spare == NULL ? mem_account_cost(sizeof(*table->spare)) : 0;

	if (!needs_segment(table))
		return growth;
	size_t room_size = table->segment_room * sizeof(struct table_segment *);
	if (table->segment_count == table->segment_room)
		growth += mem_account_cost(2 * room_size) - mem_account_cost(room_size);
	return growth + mem_account_cost(sizeof(struct table_segment));
}

static void count_bucket(struct hash_table *table) {
	table->buckets++;
	if (table->buckets == 2 * table->base)
		table->base *= 2;
}

bool hash_table_reserve_total(struct hash_table *table, size_t count) {
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
	while (line->has_more)
		line = line->more;
	if (line->count == LINE_ROOM) {
		struct table_line *more = *lines;

		assert(more != NULL);
		*lines = next_of(more);
		more->elements[0] = line->elements[LINE_ROOM - 1];
		more->tags[0] = line->tags[LINE_ROOM - 1];
		more->count = 1;
		more->has_more = 0;
		line->count = LINE_ROOM - 1;
		set_next(line, more);
		line = more;
	}
	line->tags[line->count] = tag;
	line->elements[line->count++] = element;
}

/*
 * Moves the elements of a bucket, each to where it belongs now. The lines that it had suffice for
 * two buckets; for one that others are in already, they and two spare ones do.
 */
static void move_all(struct hash_table *table, struct table_line *first) {
	struct table_line *lines = table->spare;
	struct table_line line = *first;

	table->spare = NULL;
	first->count = 0;
	first->has_more = 0;
	for (;;) {
		struct table_line *next = next_of(&line);
		for (unsigned i = 0; i < line.count; i++)
			__builtin_prefetch(line.elements[i]);
		for (unsigned i = 0; i < line.count; i++) {
			uint64_t hash = table->hash(table->seed, line.elements[i]);
			add(line_for(table, hash), &lines, line.tags[i], line.elements[i]);
		}
		if (next == NULL)
			break;
		line = *next;
		set_next(next, lines);
		lines = next;
	}
	give_back(table, lines);
}

static void split(struct hash_table *table) {
	struct table_line *from = line_at(table, table->buckets - table->base);

	count_bucket(table);
	move_all(table, from);
}

/* Undoes the last split, and gives segments back that this leaves empty. */
static void merge(struct hash_table *table) {
	/* Harmless if it fails, here and below: the table is only larger than it need be. */
	if (!make_spare(table, 2))
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

void hash_table_insert(struct hash_table *table, void *element) {
	uint64_t hash = table->hash(table->seed, element);

	assert(table->spare != NULL && !needs_segment(table));
	add(line_for(table, hash), &table->spare, tag_of(hash), element);
	table->count++;
	if (is_split_due(table, table->count))
		split(table);
}

/* --- Elements ------------------------------------------------------------------------------ */

/* The line and the place in it where an element is that is in the table. */
static struct table_line *place_of(const struct hash_table *table, uint64_t hash,
				   const void *element, unsigned *place) {
	struct table_line *line = line_for(table, hash);

	for (;; line = next_of(line))
		for (*place = 0; *place < line->count; ++*place)
			if (line->elements[*place] == element)
				return line;
}

void hash_table_remove(struct hash_table *table, const void *element) {
	uint64_t hash = table->hash(table->seed, element);
	struct table_line *before = NULL;
	struct table_line *last = line_for(table, hash);
	unsigned place;
	struct table_line *line = place_of(table, hash, element, &place);

	for (; last->has_more; last = last->more)
		before = last;
	last->count--;
	line->tags[place] = last->tags[last->count];
	line->elements[place] = last->elements[last->count];
	/* The one that is left fits in the place of its line. */
	if (last->count == 1 && before != NULL) {
		before->elements[LINE_ROOM - 1] = last->elements[0];
		before->tags[LINE_ROOM - 1] = last->tags[0];
		before->count = LINE_ROOM;
		before->has_more = 0;
		last->has_more = 0;
		give_back(table, last);
	}
	table->count--;
	/* At half the load that splits, so that no pair of calls splits and merges for ever. */
	if (table->buckets > SEGMENT_SIZE && table->count < table->buckets * LOAD / 2)
		merge(table);
}

void hash_table_replace(struct hash_table *table, uint64_t hash, const void *element, void *other) {
	unsigned place;

	place_of(table, hash, element, &place)->elements[place] = other;
}

void *hash_table_find(const struct hash_table *table, uint64_t hash, table_match is_wanted,
		      const void *wanted) {
	const struct table_line *line = line_for(table, hash);

	for (; line != NULL; line = next_of(line))
		for (unsigned i = 0; i < line->count; i++)
			if (line->tags[i] == tag_of(hash) && is_wanted(line->elements[i], wanted))
				return line->elements[i];
	return NULL;
}

const struct table_line *hash_table_prefetch_bucket(const struct hash_table *table, uint64_t hash) {
	const struct table_line *line = line_for(table, hash);

	__builtin_prefetch(line);
	return line;
}

const struct table_line *hash_table_prefetch_next(const struct table_line *line, uint64_t hash,
						  size_t size) {
	for (unsigned i = 0; i < line->count; i++)
		if (line->tags[i] == tag_of(hash))
			for (size_t at = 0; at < size; at += LINE_SIZE)
				__builtin_prefetch((const char *)line->elements[i] + at);
	if (line->has_more)
		__builtin_prefetch(line->more);
	return next_of(line);
}

bool hash_table_foreach(const struct hash_table *table, void *context,
			bool (*visit)(void *context, void *element)) {
	for (size_t bucket = 0; bucket < table->buckets; bucket++) {
		const struct table_line *line = line_at(table, bucket);

		for (; line != NULL; line = next_of(line))
			for (unsigned i = 0; i < line->count; i++)
				if (!visit(context, line->elements[i]))
					return false;
	}
	return true;
}

void hash_table_clear(struct hash_table *table, void *context,
		      void (*release)(void *context, void *element)) {
	for (size_t bucket = 0; bucket < table->buckets; bucket++) {
		struct table_line *first = line_at(table, bucket);

		for (const struct table_line *line = first; line != NULL; line = next_of(line))
			for (unsigned i = 0; i < line->count; i++)
				release(context, line->elements[i]);
		give_back(table, next_of(first));
		*first = (struct table_line){0};
	}
	table->count = 0;
}

uint64_t hash_bytes(uint64_t seed, const void *data, size_t size) {
	return XXH3_64bits_withSeed(data, size, seed);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TABLE_H
#define TABLE_H

/*
 * table.h - a hash table of pointers to elements.
 *
 * Looking for an element reads one cache line, and then, as good as always, no other element than
 * that: beside each pointer stands a byte of the hash. The table grows and shrinks one bucket at a
 * time (linear hashing, Litwin 1980), so that no insert takes long, however many elements there
 * are. It owns its lines, never the elements.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mem_account.h"

/* The hash of an element; its low bits must be good ones, and the highest eight. */
typedef uint64_t (*table_hash)(uint64_t seed, const void *element);

/* Whether it is the element wanted. */
typedef bool (*table_match)(const void *element, const void *wanted);

struct table_line;
struct table_segment;

/*
 * Laid out for those who embed it; its fields are table.c's own, but for `count` and `seed`.
 *
 * Invariants: base is a power of two, base <= buckets < 2 * base, count <= 5 * buckets; the
 * segments there are hold the first lines of all buckets, and at most one segment more (reserved).
 */
struct table {
	size_t count; /* elements */
	size_t buckets;
	size_t base;
	struct table_segment **segments;
	size_t segment_count;
	size_t segment_room;	  /* in the array `segments` */
	struct table_line *spare; /* for a bucket whose lines are full; NULL: reserve makes one */
	table_hash hash;
	uint64_t seed;
	struct memory *memory;
};

/* An empty table, to be closed with hash_table_destroy(). False: no memory, and nothing to close. */
bool hash_table_init(struct table *table, struct memory *memory, table_hash hash, uint64_t seed);

/* Frees the lines. Elements still in it are left alone. */
void hash_table_destroy(struct table *table);

/* Makes sure that the next hash_table_insert() has its memory. False: there is none. */
bool hash_table_reserve_one(struct table *table);

/* What hash_table_reserve_one() would add to memory->used. The insert may give some of it back. */
size_t hash_table_reserve_cost(const struct table *table);

/*
 * Makes an empty table as large as `count` inserts would, but for the lines of crowded buckets.
 * False: no memory, and it may be a little larger.
 */
bool hash_table_reserve_total(struct table *table, size_t count);

/* Adds an element that is not in it; after hash_table_reserve_one(). */
void hash_table_insert(struct table *table, void *element);

/* Takes an element out that is in the table. Gives memory back as the table shrinks. */
void hash_table_remove(struct table *table, const void *element);

/* Puts `other`, of the same hash, in the place of an element that is in the table. */
void hash_table_replace(struct table *table, uint64_t hash, const void *element, void *other);

/* The element of this hash that `is_wanted` says true about. NULL: there is none. */
void *hash_table_find(const struct table *table, uint64_t hash, table_match is_wanted,
		 const void *wanted);

/*
 * Fetches into the processor's cache what hash_table_find() of this hash reads: the first line, which is
 * answered, and when that had its time, the elements in it that may be the one, `size` bytes each.
 * hash_table_prefetch_next() answers the next line, to be treated alike, or NULL. Until then the table stays
 * as it is.
 */
const struct table_line *hash_table_prefetch_bucket(const struct table *table, uint64_t hash);
const struct table_line *hash_table_prefetch_next(const struct table_line *line, uint64_t hash, size_t size);

/*
 * Shows each element, in no order, as long as `visit` answers true. False: it did not. Meanwhile
 * the table stays as it is.
 */
bool hash_table_foreach(const struct table *table, void *context,
		bool (*visit)(void *context, void *element));

/* Hands each element over, in no order, and leaves the table empty. `release` may free it. */
void hash_table_clear(struct table *table, void *context, void (*release)(void *context, void *element));

/* The hash of some bytes, for a table_hash: nobody who does not know the seed can guess it. */
uint64_t hash_bytes(uint64_t seed, const void *data, size_t size);

#endif

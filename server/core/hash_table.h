/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HASH_TABLE_H
#define HASH_TABLE_H

/*
 * hash_table.h - a hash table of pointers to elements, by linear hashing.
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

/* Returns whether it is the element wanted. */
typedef bool (*table_match)(const void *element, const void *wanted);

struct table_line;
struct table_segment;

/*
 * Laid out to be embedded; its fields are hash_table.c's own, but for `count` and `seed`.
 *
 * Invariants: base is a power of two, base <= buckets < 2 * base, count <= 6 * buckets; the
 * segments there are hold the first lines of all buckets, and at most one segment more (reserved).
 */
struct hash_table {
	size_t count; /* elements */
	size_t buckets;
	size_t base;
	struct table_segment **segments;
	size_t segment_count;
	size_t segment_room;	  /* in the array `segments` */
	struct table_line *spare; /* for buckets whose lines are full; NULL: reserve makes one */
	table_hash hash;
	uint64_t seed;
	struct mem_account *memory;
};

/* An empty table, to be closed with hash_table_destroy(). False: no memory, and nothing to close.
 */
bool hash_table_init(struct hash_table *table, struct mem_account *memory, table_hash hash,
		     uint64_t seed);

/* Frees the lines. Elements still in it are left alone. */
void hash_table_destroy(struct hash_table *table);

/* Makes sure that the next hash_table_insert() has its memory. False: there is none. */
bool hash_table_reserve_one(struct hash_table *table);

/* What hash_table_reserve_one() would add to memory->used. The insert may give some of it back. */
size_t hash_table_reserve_cost(const struct hash_table *table);

/*
 * Makes an empty table as large as `count` inserts would, but for the lines of crowded buckets.
 * False: no memory, and it may be a little larger.
 */
bool hash_table_reserve_total(struct hash_table *table, size_t count);

/* Adds an element that is not in it; after hash_table_reserve_one(). */
void hash_table_insert(struct hash_table *table, void *element);

/* Takes an element out that is in the table. Gives memory back as the table shrinks. */
void hash_table_remove(struct hash_table *table, const void *element);

/* Puts `other`, of the same hash, in the place of an element that is in the table. */
void hash_table_replace(struct hash_table *table, uint64_t hash, const void *element, void *other);

/* The element of this hash for which `is_wanted` returns true. NULL: there is none. */
void *hash_table_find(const struct hash_table *table, uint64_t hash, table_match is_wanted,
		      const void *wanted);

/*
 * Fetches into the processor's cache what hash_table_find() of this hash reads: the first line,
 * which it returns; and once that is there, the elements in it that may be the one, `size`
 * bytes each. hash_table_prefetch_next() returns the next line, to be treated alike, or NULL. Until
 * then the table stays as it is.
 */
const struct table_line *hash_table_prefetch_bucket(const struct hash_table *table, uint64_t hash);
const struct table_line *hash_table_prefetch_next(const struct table_line *line, uint64_t hash,
						  size_t size);

/*
 * Calls `visit` for each element, in no order, until it returns false, which is returned then.
 * Meanwhile the table stays as it is.
 */
bool hash_table_foreach(const struct hash_table *table, void *context,
			bool (*visit)(void *context, void *element));

/* Hands each element over, in no order, and leaves the table empty. `release` may free it. */
void hash_table_clear(struct hash_table *table, void *context,
		      void (*release)(void *context, void *element));

/* The hash of some bytes, for a table_hash: it cannot be guessed without the seed. */
uint64_t hash_bytes(uint64_t seed, const void *data, size_t size);

#endif

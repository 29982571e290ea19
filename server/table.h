/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TABLE_H
#define TABLE_H

/*
 * table.h - a hash table of elements that carry their own link.
 *
 * It grows and shrinks one bucket at a time (linear hashing, Litwin 1980), so that no insert takes
 * long, however many elements there are. It owns its buckets, never the elements.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

/* Part of an element, which is in one table by this link at a time. */
struct table_link {
	struct table_link *next;
};

/* The hash of the element that the link is part of; its low bits must be good ones. */
typedef uint64_t (*table_hash)(uint64_t seed, const struct table_link *link);

struct table_segment;

/*
 * Laid out for those who embed it; its fields are table.c's own, but for `count`.
 *
 * Invariants: base is a power of two, base <= buckets < 2 * base, count <= 2 * buckets; the
 * segments there are hold all buckets, and at most one segment more (reserved).
 */
struct table {
	size_t count; /* elements */
	size_t buckets;
	size_t base;
	struct table_segment **segments;
	size_t segment_count;
	size_t segment_room; /* in the array `segments` */
	table_hash hash;
	uint64_t seed;
	struct memory *memory;
};

/* An empty table, to be closed with table_close(). False: no memory, and nothing to close. */
bool table_open(struct table *table, struct memory *memory, table_hash hash, uint64_t seed);

/* Frees the buckets. Elements still in it are left alone. */
void table_close(struct table *table);

/* Makes sure that the next table_insert() has its memory. False: there is none. */
bool table_reserve(struct table *table);

/* What table_reserve() would add to memory->used. */
size_t table_growth(const struct table *table);

/*
 * Makes an empty table as large as `count` inserts would, so that they need not. False: no memory,
 * and it may be a little larger.
 */
bool table_presize(struct table *table, size_t count);

/* Adds an element; after table_reserve(). */
void table_insert(struct table *table, struct table_link *link);

/* Takes an element out that is in the table. Gives memory back as the table shrinks. */
void table_remove(struct table *table, struct table_link *link);

/*
 * The first link of the bucket where an element of this hash would be, or NULL: follow `next` and
 * compare, for others may be there too.
 */
struct table_link *table_bucket(const struct table *table, uint64_t hash);

/*
 * Shows each element, in no order, as long as `visit` answers true. False: it did not. Meanwhile
 * the table stays as it is.
 */
bool table_each(const struct table *table, void *context,
		bool (*visit)(void *context, const struct table_link *link));

/* Hands each element over, in no order, and leaves the table empty. `release` may free it. */
void table_drain(struct table *table, void *context,
		 void (*release)(void *context, struct table_link *link));

/* The hash of some bytes, for a table_hash: nobody who does not know the seed can guess it. */
uint64_t table_hash_bytes(uint64_t seed, const void *data, size_t size);

#endif

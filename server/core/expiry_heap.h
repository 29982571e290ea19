/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXPIRY_HEAP_H
#define EXPIRY_HEAP_H

/*
 * expiry_heap.h - entries that have a ttl, the one that expires first in front: a 4-ary heap, and
 * a hash table that finds the place of an entry in it. An entry without a ttl costs nothing.
 *
 * The heap owns its nodes, never the entries; it sets ENTRY_HAS_TTL in those that it holds.
 */

#include "core/hash_table.h"

struct entry;

struct expiry {
	uint64_t at_ms;
	struct entry *entry;
	size_t place; /* in the heap */
};

/* Invariant: nodes[n]->place == n; nodes[n]->at_ms is not before that of its parent. */
struct expiry_heap {
	size_t count;
	size_t capacity;
	struct expiry **nodes;
	struct hash_table places; /* of nodes, by their entry */
	struct mem_account *memory;
};

/* An empty heap, to be freed with expiry_heap_destroy(). False: no memory, and nothing to free. */
bool expiry_heap_init(struct expiry_heap *heap, struct mem_account *memory, uint64_t seed);
void expiry_heap_destroy(struct expiry_heap *heap);

/* Adds the entry, or moves it to this time. Returns false, and changes nothing, without memory. */
bool expiry_heap_set(struct expiry_heap *heap, struct entry *entry, uint64_t at_ms);

/* Removes the entry if it is there. */
void expiry_heap_remove(struct expiry_heap *heap, struct entry *entry);

/* `other` takes the place of an entry, if that is there. Needs no memory. */
void expiry_heap_replace(struct expiry_heap *heap, struct entry *entry, struct entry *other);

/* When the entry expires; 0: it has no ttl. */
uint64_t expiry_heap_at(const struct expiry_heap *heap, const struct entry *entry);

/* The entry that expires first. NULL: none does. */
struct entry *expiry_heap_first(const struct expiry_heap *heap);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KEY_INDEX_H
#define KEY_INDEX_H

/*
 * key_index.h - ordered index of elements by their keys: a B+tree of pointers.
 *
 * A leaf holds pointers only, and an inner node separators (the shortest bytes that keep its
 * children apart), so that a key costs little more than its pointer: full leaves share with their
 * neighbours before two of them become three (a B*-tree, Knuth 6.2.4), and keys that come in order
 * fill the leaves completely. The index owns its nodes, never the elements.
 *
 * Keys are bytes in the order of memcmp(3), a prefix before what it begins.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "core/mem_account.h"

enum {
	KEY_INDEX_KEY_MAX = 1024,  /* bytes in a key */
	KEY_INDEX_HEIGHT_MAX = 16, /* levels of inner nodes */
};

/* The key of an element; valid as long as the element is. */
typedef struct kv_bytes (*key_index_key)(const void *element);

/*
 * Laid out for structs that embed it; its fields belong to key_index.c, but for `count`.
 *
 * Invariants: every leaf is `height` inner nodes below the root; elements stand in the order of
 * their keys; the keys below child n of an inner node are at or behind its separator n - 1, and
 * before its separator n; no node but a root leaf is empty.
 */
struct key_index {
	size_t count; /* elements */
	void *root;   /* a leaf, if height is 0 */
	unsigned height;
	key_index_key key_of;
	struct mem_account *memory;
	/* What key_index_reserve_one() keeps for the next insert. */
	void *spare_leaf;
	void *spare_inner[KEY_INDEX_HEIGHT_MAX + 1];
	unsigned spare_inner_count;
	void *spare_separator[2];
};

/* The order of keys: less than 0, 0, or more. */
static inline int key_index_compare(struct kv_bytes a, struct kv_bytes b) {
	size_t size = a.size < b.size ? a.size : b.size;
	int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

	if (order != 0)
		return order;
	return a.size < b.size ? -1 : a.size > b.size;
}

/* An empty index, to be freed with key_index_destroy(). False: no memory, and nothing to free. */
bool key_index_init(struct key_index *index, struct mem_account *memory, key_index_key key_of);

/* Frees the nodes. Elements still in it are left alone. */
void key_index_destroy(struct key_index *index);

/* Ensures that the next insert, of this key, has its memory. False: there is none. */
bool key_index_reserve_one(struct key_index *index, struct kv_bytes key);

/* What key_index_reserve_one() would add to memory->used. */
size_t key_index_reserve_cost(const struct key_index *index, struct kv_bytes key);

/* Adds an element whose key is not in the index; after key_index_reserve_one() of that key. */
void key_index_insert(struct key_index *index, void *element);

/* Removes an element that is in the index. Frees nodes as they empty. */
void key_index_remove(struct key_index *index, const void *element);

/* Replaces an element that is in the index by another one with the same key. */
void key_index_replace(struct key_index *index, const void *element, void *other);

/*
 * Shows each element whose key is at or behind `from` (behind it only, if `is_after`), in order,
 * until `visit` returns false. Returns false if it did. The index must not change meanwhile.
 */
bool key_index_foreach(const struct key_index *index, struct kv_bytes from, bool is_after,
		       bool (*visit)(void *context, void *element), void *context);

#endif

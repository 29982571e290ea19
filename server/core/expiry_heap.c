/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/expiry_heap.h"

#include "core/store.h"

enum {
	CHILDREN = 4,
	CAPACITY_MIN = 64,
};

/* By the key, so that an entry can be replaced by another with the same key. */
static uint64_t hash_node(uint64_t seed, const void *element) {
	const struct expiry *node = element;
	struct kv_bytes key = entry_key(node->entry);

	return hash_bytes(seed, key.data, key.size);
}

static bool is_of_entry(const void *element, const void *wanted) {
	return ((const struct expiry *)element)->entry == wanted;
}

static struct expiry *find(const struct expiry_heap *heap, const struct entry *entry) {
	struct kv_bytes key = entry_key(entry);

	if ((entry->value.flags & ENTRY_HAS_TTL) == 0)
		return NULL;
	return hash_table_find(&heap->places, hash_bytes(heap->places.seed, key.data, key.size),
			       is_of_entry, entry);
}

bool expiry_heap_init(struct expiry_heap *heap, struct mem_account *memory, uint64_t seed) {
	*heap = (struct expiry_heap){.memory = memory};
	return hash_table_init(&heap->places, memory, hash_node, seed);
}

void expiry_heap_destroy(struct expiry_heap *heap) {
	for (size_t i = 0; i < heap->count; i++)
		mem_account_free(heap->memory, heap->nodes[i], sizeof(*heap->nodes[i]));
	mem_account_free(heap->memory, heap->nodes, heap->capacity * sizeof(heap->nodes[0]));
	hash_table_destroy(&heap->places);
}

/* False: no memory, and nothing is changed. */
static bool resize(struct expiry_heap *heap, size_t capacity) {
	struct expiry **nodes =
	    mem_account_realloc(heap->memory, heap->nodes, heap->capacity * sizeof(nodes[0]),
				capacity * sizeof(nodes[0]));

	if (nodes == NULL)
		return false;
	heap->nodes = nodes;
	heap->capacity = capacity;
	return true;
}

static void put(struct expiry_heap *heap, size_t place, struct expiry *node) {
	heap->nodes[place] = node;
	node->place = place;
}

/* Moves a node from where it is to where its time belongs. */
static void sift(struct expiry_heap *heap, struct expiry *node) {
	size_t place = node->place;

	while (place > 0 && heap->nodes[(place - 1) / CHILDREN]->at_ms > node->at_ms) {
		put(heap, place, heap->nodes[(place - 1) / CHILDREN]);
		place = (place - 1) / CHILDREN;
	}
	for (;;) {
		size_t first = CHILDREN * place + 1;
		struct expiry *earliest = node;

		for (size_t i = first; i < first + CHILDREN && i < heap->count; i++)
			if (heap->nodes[i]->at_ms < earliest->at_ms)
				earliest = heap->nodes[i];
		if (earliest == node)
			break;
		size_t next = earliest->place;
		put(heap, place, earliest);
		place = next;
	}
	put(heap, place, node);
}

bool expiry_heap_set(struct expiry_heap *heap, struct entry *entry, uint64_t at_ms) {
	struct expiry *node = find(heap, entry);

	if (node == NULL) {
		if (heap->count == heap->capacity &&
		    !resize(heap,
			    heap->capacity < CAPACITY_MIN ? CAPACITY_MIN : heap->capacity * 3 / 2))
			return false;
		if (!hash_table_reserve_one(&heap->places))
			return false;
		node = mem_account_alloc(heap->memory, sizeof(*node));
		if (node == NULL)
			return false;
		*node = (struct expiry){.entry = entry, .place = heap->count++};
		entry->value.flags |= ENTRY_HAS_TTL;
		hash_table_insert(&heap->places, node);
	}
	node->at_ms = at_ms;
	sift(heap, node);
	return true;
}

void expiry_heap_remove(struct expiry_heap *heap, struct entry *entry) {
	struct expiry *node = find(heap, entry);
	struct expiry *last;

	if (node == NULL)
		return;
	hash_table_remove(&heap->places, node);
	entry->value.flags &= (uint16_t)~ENTRY_HAS_TTL;
	last = heap->nodes[--heap->count];
	if (last != node) {
		last->place = node->place;
		sift(heap, last);
	}
	mem_account_free(heap->memory, node, sizeof(*node));
	if (heap->capacity > CAPACITY_MIN && heap->count < heap->capacity / 4)
		(void)resize(heap, heap->capacity / 2);
}

void expiry_heap_replace(struct expiry_heap *heap, struct entry *entry, struct entry *other) {
	struct expiry *node = find(heap, entry);

	if (node == NULL)
		return;
	node->entry = other;
	entry->value.flags &= (uint16_t)~ENTRY_HAS_TTL;
	other->value.flags |= ENTRY_HAS_TTL;
}

uint64_t expiry_heap_at(const struct expiry_heap *heap, const struct entry *entry) {
	const struct expiry *node = find(heap, entry);

	return node == NULL ? 0 : node->at_ms;
}

struct entry *expiry_heap_first(const struct expiry_heap *heap) {
	return heap->count == 0 ? NULL : heap->nodes[0]->entry;
}

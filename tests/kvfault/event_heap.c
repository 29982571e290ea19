/* SPDX-License-Identifier: BSD-3-Clause */
#include "event_heap.h"

#include <stdlib.h>

enum { CAPACITY_LEAST = 64 };

static bool is_before(const struct parcel *a, const struct parcel *b) {
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->number < b->number;
}

static void swap(struct parcel **heap, size_t a, size_t b) {
	struct parcel *parcel = heap[a];

	heap[a] = heap[b];
	heap[b] = parcel;
}

bool heap_add(struct network *network, struct parcel *parcel) {
	size_t at = network->heap_size;

	if (at == network->heap_capacity) {
		size_t capacity = at < CAPACITY_LEAST ? CAPACITY_LEAST : 2 * at;
		struct parcel **heap = realloc(network->heap, capacity * sizeof *heap);

		if (heap == NULL)
			return false;
		network->heap = heap;
		network->heap_capacity = capacity;
	}
	network->heap[network->heap_size++] = parcel;
	for (; at > 0 && is_before(network->heap[at], network->heap[(at - 1) / 2]);
	     at = (at - 1) / 2)
		swap(network->heap, at, (at - 1) / 2);
	return true;
}

struct parcel *heap_take(struct network *network) {
	struct parcel **heap = network->heap;
	struct parcel *first = heap[0];
	size_t size = --network->heap_size;
	size_t at = 0;

	heap[0] = heap[size];
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < size; child++)
			if (is_before(heap[child], heap[least]))
				least = child;
		if (least == at)
			return first;
		swap(heap, at, least);
		at = least;
	}
}

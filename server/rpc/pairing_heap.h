/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PAIRING_HEAP_H
#define PAIRING_HEAP_H

/*
 * pairing_heap.h - priority queue that needs no memory of its own: a pairing heap (Fredman,
 * Sedgewick, Sleator, Tarjan 1986) of nodes that are embedded in their elements. An insert takes
 * constant time, a removal logarithmic time, amortized. It never owns the elements.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: in no heap. */
struct heap_node {
	uint64_t key; /* set before the insert; stays as it is while in the heap */
	struct heap_node *child;
	struct heap_node *next;	 /* sibling */
	struct heap_node **link; /* what points here; NULL: in no heap */
};

/* All zero: empty. */
struct pairing_heap {
	struct heap_node *first; /* the one with the lowest key; NULL: empty */
};

/* Adds a node that is in no heap. */
void pairing_heap_insert(struct pairing_heap *heap, struct heap_node *node);

/* Removes the node if it is in the heap. */
void pairing_heap_remove(struct pairing_heap *heap, struct heap_node *node);

static inline bool heap_node_is_listed(const struct heap_node *node) {
	return node->link != NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/pairing_heap.h"

/* The node becomes what *link points to. */
static void set_link(struct heap_node **link, struct heap_node *node) {
	*link = node;
	if (node != NULL)
		node->link = link;
}

/* One heap of two roots without siblings; either may be NULL. */
static struct heap_node *meld(struct heap_node *one, struct heap_node *other) {
	if (one == NULL || other == NULL)
		return one == NULL ? other : one;
	if (other->key < one->key) {
		struct heap_node *lower = other;

		other = one;
		one = lower;
	}
	set_link(&other->next, one->child);
	set_link(&one->child, other);
	return one;
}

/* One heap of these siblings: melded in pairs from the left, then all from the right. */
static struct heap_node *meld_all(struct heap_node *node) {
	struct heap_node *pairs = NULL;
	struct heap_node *root = NULL;

	while (node != NULL) {
		struct heap_node *other = node->next;
		struct heap_node *rest = other == NULL ? NULL : other->next;

		node->next = NULL;
		if (other != NULL)
			other->next = NULL;
		node = meld(node, other);
		node->next = pairs;
		pairs = node;
		node = rest;
	}
	while (pairs != NULL) {
		struct heap_node *rest = pairs->next;

		pairs->next = NULL;
		root = meld(root, pairs);
		pairs = rest;
	}
	return root;
}

void pairing_heap_insert(struct pairing_heap *heap, struct heap_node *node) {
	node->child = NULL;
	node->next = NULL;
	set_link(&heap->first, meld(heap->first, node));
}

void pairing_heap_remove(struct pairing_heap *heap, struct heap_node *node) {
	struct heap_node *rest;

	if (node->link == NULL)
		return;
	rest = meld_all(node->child);
	set_link(node->link, node->next);
	set_link(&heap->first, meld(heap->first, rest));
	node->child = NULL;
	node->next = NULL;
	node->link = NULL;
}

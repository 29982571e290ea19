/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/pairing_heap.h"
#include "test.h"

CASE(heap, .setup = NULL);

TEST(a_heap_yields_its_nodes_in_order) {
	enum { NODES = 500 };
	struct pairing_heap heap = {NULL};
	struct heap_node nodes[NODES] = {{0}};
	uint64_t state = 1;
	unsigned count = 0;

	for (unsigned step = 0; step < 20000; step++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		struct heap_node *node = &nodes[(state >> 33) % NODES];

		if (heap_node_is_listed(node)) {
			pairing_heap_remove(&heap, node);
			count--;
		} else {
			node->key = state >> 50;
			pairing_heap_insert(&heap, node);
			count++;
		}
		uint64_t least = UINT64_MAX;
		for (unsigned i = 0; i < NODES; i++)
			if (heap_node_is_listed(&nodes[i]) && nodes[i].key < least)
				least = nodes[i].key;
		if (count > 0)
			ck_assert_uint_eq(heap.first->key, least);
		else
			ck_assert_ptr_null(heap.first);
	}
	uint64_t last = 0;
	for (; heap.first != NULL; count--) {
		ck_assert_uint_ge(heap.first->key, last);
		last = heap.first->key;
		pairing_heap_remove(&heap, heap.first);
	}
	ck_assert_uint_eq(count, 0);
}

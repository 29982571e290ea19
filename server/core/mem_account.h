/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_ACCOUNT_H
#define MEM_ACCOUNT_H

/*
 * mem_account.h - the count of bytes that the store, the sessions and their replies hold, and the
 * slabs that their blocks come from, but for those above SLAB_BLOCK_MAX.
 *
 * A block of at most SLAB_BLOCK_MAX bytes counts as what its slab has for it (slab.h). A
 * larger one counts as what glibc's malloc(3) takes for it on a 64-bit machine: the bytes asked for
 * and a header of 8, rounded up to 16. Not counted: the rounding of large blocks to pages, holes
 * between blocks, and what of a slab is free.
 *
 * The limit is not checked here, but where a call can be refused (store_has_memory_for()).
 */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/slab.h"

enum {
	MEMORY_HEADER = 8,
	MEMORY_ROUND = 16,
};

struct mem_account {
	size_t used;  /* bytes */
	size_t limit; /* bytes */

	/* Bytes that were refused since connections were last dropped for it; 0: none. At most
	   `limit`, because dropping connections cannot free more. */
	size_t wanted;

	/* For tests: the allocation that comes this many from now finds no memory; 0: none. */
	unsigned fail_in;

	struct slabs slabs;
};

/*
 * A block of `size` bytes from malloc() that may be adopted with mem_account_adopt(), which sets
 * `data` to NULL.
 */
struct owned_block {
	void *data;
	size_t size;
};

static inline size_t mem_account_round_to(size_t size, size_t step) {
	return (size + step - 1) / step * step;
}

/* What a block of `size` bytes counts. */
static inline size_t mem_account_cost(size_t size) {
	return size <= SLAB_BLOCK_MAX ? slab_block_size(size)
				      : mem_account_round_to(size + MEMORY_HEADER, MEMORY_ROUND);
}

/* The size, `size` or a little more, of the largest block that counts no more. */
static inline size_t mem_account_round_up(size_t size) {
	return mem_account_cost(size) - (size <= SLAB_BLOCK_MAX ? 0 : MEMORY_HEADER);
}

static inline int memory_fails(struct mem_account *memory) {
	return memory->fail_in != 0 && --memory->fail_in == 0;
}

/*
 * `size` bytes, 1 or more, not zeroed, to be freed with mem_account_free() of the same account.
 * NULL: there are none.
 */
static inline void *mem_account_alloc(struct mem_account *memory, size_t size) {
	void *block;

	if (memory_fails(memory))
		return NULL;
	block = size <= SLAB_BLOCK_MAX ? slab_alloc(&memory->slabs, size) : malloc(size);
	if (block != NULL)
		memory->used += mem_account_cost(size);
	return block;
}

/* Adopts the block, of more than SLAB_BLOCK_MAX bytes, and counts it; as if allocated here. */
static inline void *mem_account_adopt(struct mem_account *memory, struct owned_block *block) {
	void *data = block->data;

	memory->used += mem_account_cost(block->size);
	block->data = NULL;
	return data;
}

/* `size` is what was allocated. NULL does nothing. */
static inline void mem_account_free(struct mem_account *memory, void *block, size_t size) {
	if (block == NULL)
		return;
	memory->used -= mem_account_cost(size);
	if (size <= SLAB_BLOCK_MAX)
		slab_free(&memory->slabs, block, size);
	else
		free(block);
}

/*
 * Makes a block of `from` bytes one of `to` bytes; it may move. NULL: there is no memory, and the
 * block is as it was. `block` may be NULL, whatever `from` is.
 */
static inline void *mem_account_realloc(struct mem_account *memory, void *block, size_t from,
					size_t to) {
	void *resized;

	if (block != NULL && from > SLAB_BLOCK_MAX && to > SLAB_BLOCK_MAX) {
		resized = memory_fails(memory) ? NULL : realloc(block, to);
		if (resized != NULL)
			memory->used += mem_account_cost(to) - mem_account_cost(from);
		return resized;
	}
	resized = mem_account_alloc(memory, to);
	if (resized == NULL || block == NULL)
		return resized;
	memcpy(resized, block, from < to ? from : to);
	mem_account_free(memory, block, from);
	return resized;
}

#endif

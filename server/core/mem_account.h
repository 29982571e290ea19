/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMORY_H
#define MEMORY_H

/*
 * memory.h - counts what the store, the sessions and the answers hold, so that it can be limited.
 *
 * A block counts as what glibc's malloc(3) takes for it on a 64-bit machine: the bytes asked for
 * and a header of 8, rounded up to 16, at least 32. Not counted: the rounding of large blocks to
 * pages, and holes between blocks.
 *
 * Here is the counting; the limit is looked at by whoever may refuse (store_has_memory_for()).
 */

#include <stddef.h>
#include <stdlib.h>

enum {
	MEMORY_HEADER = 8,
	MEMORY_ROUND = 16,
	MEMORY_LEAST = 32,
};

struct memory {
	size_t used;  /* bytes */
	size_t limit; /* bytes */

	/* Bytes that somebody was refused since peers were last asked to let go of theirs; 0: none.
	   Never more than `limit`, for that no peer can help. */
	size_t wanted;

	/* For tests: the allocation that comes this many from now finds no memory; 0: none. */
	unsigned fail_in;
};

/*
 * A block of malloc's, `size` bytes, that its owner lets others have. Whoever takes it sets `data`
 * to NULL, and counts it with mem_account_adopt().
 */
struct block {
	void *data;
	size_t size;
};

/* What a block of `size` bytes counts. */
static inline size_t mem_account_cost(size_t size) {
	size_t cost = (size + MEMORY_HEADER + MEMORY_ROUND - 1) / MEMORY_ROUND * MEMORY_ROUND;

	return cost < MEMORY_LEAST ? MEMORY_LEAST : cost;
}

/* The size, `size` or a little more, of the largest block that counts no more. */
static inline size_t mem_account_round_up(size_t size) {
	return mem_account_cost(size) - MEMORY_HEADER;
}

static inline int memory_fails(struct memory *memory) {
	return memory->fail_in != 0 && --memory->fail_in == 0;
}

/* `size` bytes, not zeroed, to be freed with mem_account_free(). NULL: there are none. */
static inline void *mem_account_alloc(struct memory *memory, size_t size) {
	void *block = memory_fails(memory) ? NULL : malloc(size);

	if (block != NULL)
		memory->used += mem_account_cost(size);
	return block;
}

/* What is in the block is ours from now on; to be freed with mem_account_free(). */
static inline void *mem_account_adopt(struct memory *memory, struct block *block) {
	void *data = block->data;

	memory->used += mem_account_cost(block->size);
	block->data = NULL;
	return data;
}

/* `size` is what was allocated. NULL does nothing. */
static inline void mem_account_free(struct memory *memory, void *block, size_t size) {
	if (block == NULL)
		return;
	memory->used -= mem_account_cost(size);
	free(block);
}

/*
 * Makes a block of `from` bytes one of `to` bytes; it may move. NULL: there is no memory, and the
 * block is as it was. `block` may be NULL, whatever `from` is.
 */
static inline void *mem_account_realloc(struct memory *memory, void *block, size_t from, size_t to) {
	void *resized = memory_fails(memory) ? NULL : realloc(block, to);

	if (resized == NULL)
		return NULL;
	if (block != NULL)
		memory->used -= mem_account_cost(from);
	memory->used += mem_account_cost(to);
	return resized;
}

#endif

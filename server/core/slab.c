/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum {
	SLAB_SIZE =
	    32 * 1024,	    /* bytes; the alignment of a slab, too: so a block leads to its slab */
	MALLOC_HEADER = 16, /* bytes; left to malloc, so that slabs follow without a gap */
	HEAD_SIZE = 64,	    /* bytes; a cache line, so that blocks of 64 bytes are lines */
};

/* Invariant: on the list of its class exactly while it has a free block. */
struct slab {
	struct slab *next;
	struct slab *previous;
	void *free;	/* blocks that were used; each begins with a pointer to the next */
	uint32_t fresh; /* offset of the first block that was never used */
	uint32_t used;	/* blocks */
};

_Static_assert(sizeof(struct slab) <= HEAD_SIZE, "the head has its place");

static struct slab **list_for(struct slabs *slabs, size_t size) {
	assert(size > 0 && size <= SLAB_BLOCK_MAX);
	return &slabs->available[(size - 1) / SLAB_STEP];
}

static size_t block_size_for(size_t size) {
	return (size + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;
}

static bool is_full(const struct slab *slab, size_t block_size) {
	return slab->free == NULL && slab->fresh + block_size > SLAB_SIZE - MALLOC_HEADER;
}

static void link_first(struct slab **list, struct slab *slab) {
	slab->previous = NULL;
	slab->next = *list;
	if (*list != NULL)
		(*list)->previous = slab;
	*list = slab;
}

static void unlink_slab(struct slab **list, struct slab *slab) {
	if (slab->previous != NULL)
		slab->previous->next = slab->next;
	else
		*list = slab->next;
	if (slab->next != NULL)
		slab->next->previous = slab->previous;
}

static struct slab *make_slab(struct slab **list) {
	void *block;

	if (posix_memalign(&block, SLAB_SIZE, SLAB_SIZE - MALLOC_HEADER) != 0)
		return NULL;
	struct slab *slab = block;
	*slab = (struct slab){.fresh = HEAD_SIZE};
	link_first(list, slab);
	return slab;
}

void *slab_alloc(struct slabs *slabs, size_t size) {
	struct slab **list = list_for(slabs, size);
	size_t block_size = block_size_for(size);
	struct slab *slab = *list;
	void *block;

	if (SLAB_IS_MALLOC)
		return malloc(size);
	if (slab == NULL && (slab = make_slab(list)) == NULL)
		return NULL;
	block = slab->free;
	if (block != NULL) {
		slab->free = *(void **)block;
	} else {
		block = (char *)slab + slab->fresh;
		slab->fresh += (uint32_t)block_size;
	}
	slab->used++;
	if (is_full(slab, block_size))
		unlink_slab(list, slab);
	return block;
}

void slab_free(struct slabs *slabs, void *block, size_t size) {
	struct slab *slab = (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_SIZE - 1));
	struct slab **list = list_for(slabs, size);

	if (SLAB_IS_MALLOC) {
		free(block);
		return;
	}
	bool was_full = is_full(slab, block_size_for(size));
	assert(slab->used > 0);
	*(void **)block = slab->free;
	slab->free = block;
	slab->used--;
	if (was_full)
		link_first(list, slab);
	if (slab->used == 0) {
		unlink_slab(list, slab);
		free(slab);
	}
}

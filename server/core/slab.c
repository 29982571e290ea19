/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Invariant: a slab is on the list of its class exactly while it has a free block. */

static struct slab **list_for(struct slabs *slabs, size_t size) {
	if (__builtin_expect(size - 1 < SLAB_SMALL_MAX, 1))
		return &slabs->available[(size - 1) / SLAB_STEP];
	assert(size > 0 && size <= SLAB_BLOCK_MAX);
	/* 10 for the first doubling, of which 8 steps come before it. */
	unsigned bits = (unsigned)(64 - __builtin_clzl(size - 1));
	return &slabs->available[SLAB_SMALL_CLASSES + (bits - 10) * 8 + ((size - 1) >> (bits - 4)) -
				 8];
}

static bool is_full(const struct slab *slab, size_t block_size) {
	return slab->free == NULL && (size_t)(slab->end - slab->fresh) < block_size;
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

static struct slab *add_slab(struct slabs *slabs, struct slab **list) {
	struct slab *slab = regions_take_slab(slab_regions(slabs));

	if (slab != NULL)
		link_first(list, slab);
	return slab;
}

static void *alloc_aligned(size_t size) {
	return size % SLAB_LINE == 0 ? aligned_alloc(SLAB_LINE, size) : malloc(size);
}

void *slab_alloc(struct slabs *slabs, size_t size) {
	struct slab **list = list_for(slabs, size);
	size_t block_size = slab_block_size(size);
	struct slab *slab = *list;
	void *block;

	if (SLAB_IS_MALLOC)
		return alloc_aligned(size);
	if (slab == NULL && (slab = add_slab(slabs, list)) == NULL)
		return NULL;
	block = slab->free;
	if (block != NULL) {
		slab->free = *(void **)block;
	} else {
		block = slab->fresh;
		slab->fresh += block_size;
	}
	slab->used++;
	if (is_full(slab, block_size))
		unlink_slab(list, slab);
	return block;
}

void slab_free(struct slabs *slabs, void *block, size_t size) {
	struct slab **list = list_for(slabs, size);

	if (SLAB_IS_MALLOC) {
		free(block);
		return;
	}
	struct slab *slab = regions_slab_of(block);
	bool was_full = is_full(slab, slab_block_size(size));
	assert(slab->used > 0);
	*(void **)block = slab->free;
	slab->free = block;
	slab->used--;
	if (was_full)
		link_first(list, slab);
	if (slab->used == 0) {
		unlink_slab(list, slab);
		regions_return_slab(slab_regions(slabs), slab);
	}
}

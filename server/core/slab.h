/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SLAB_H
#define SLAB_H

/*
 * slab.h - allocator of small blocks: a size class for each multiple of 8 bytes, slabs of one class
 * each (Bonwick 1994). A block has no header and is rounded up to 8 bytes, where malloc(3) takes a
 * header of 8 and rounds up to 16.
 *
 * The caller knows the size of a block when it frees it. Slabs come from malloc and go back when
 * their last block is freed. One thread uses the slabs; nothing here locks.
 *
 * With a sanitizer every block is malloc's own, so that it sees each one.
 */

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLAB_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SLAB_IS_MALLOC 1
#endif
#endif
#ifndef SLAB_IS_MALLOC
#define SLAB_IS_MALLOC 0
#endif

enum {
	SLAB_STEP = 8,	      /* bytes between two size classes, and the alignment of a block */
	SLAB_BLOCK_MAX = 512, /* bytes */
	SLAB_CLASSES = SLAB_BLOCK_MAX / SLAB_STEP,
};

struct slab;

/* All zero: none is there. By size class, those slabs that have a free block. */
struct slabs {
	struct slab *available[SLAB_CLASSES];
};

/* A block of 1 to SLAB_BLOCK_MAX bytes, to be freed with slab_free(). NULL: there is no memory. */
void *slab_alloc(struct slabs *slabs, size_t size);

/* `size` is what was allocated, and `slabs` those that it was allocated from. */
void slab_free(struct slabs *slabs, void *block, size_t size);

#endif

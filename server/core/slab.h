/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SLAB_H
#define SLAB_H

/*
 * slab.h - allocator of blocks of up to 8 KiB: slabs of one size class each (Bonwick 1994). A block
 * has no header, where malloc(3) takes one of 8 bytes.
 *
 * The caller knows the size of a block when it frees it. Slabs come from regions (regions.h) and go
 * back when their last block is freed. One thread uses the slabs; nothing here locks.
 *
 * With a sanitizer every block is malloc's own, so that it sees each one.
 */

#include <stddef.h>

#include "core/regions.h"

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

/*
 * A size class for each multiple of 8 bytes up to 512, and above that eight for each doubling, so
 * that a block is at most an eighth larger than asked for.
 */
enum {
	SLAB_STEP = 8,	      /* bytes between two small classes, and the alignment of a block */
	SLAB_LINE = 64,	      /* the alignment of a block whose size is a multiple of this */
	SLAB_SMALL_MAX = 512, /* bytes */
	SLAB_BLOCK_MAX = 8192,
	SLAB_SMALL_CLASSES = SLAB_SMALL_MAX / SLAB_STEP,
	SLAB_CLASSES = SLAB_SMALL_CLASSES + 4 * 8,
};

/* All zero: none is there. */
struct slabs {
	struct slab *available[SLAB_CLASSES]; /* by class, those that have a free block */
	struct regions own;
	struct regions *shared; /* those of other slabs, which live longer; NULL: its own */
};

/* Where slabs come from and go back to. */
static inline struct regions *slab_regions(struct slabs *slabs) {
	return slabs->shared != NULL ? slabs->shared : &slabs->own;
}

/* The bytes that a block of `size` takes. */
static inline size_t slab_block_size(size_t size) {
	if (__builtin_expect(size <= SLAB_SMALL_MAX, 1))
		return (size + SLAB_STEP - 1) & ~(size_t)(SLAB_STEP - 1);
	size_t step = (size_t)1 << (60 - __builtin_clzl(size - 1));
	return (size + step - 1) & ~(step - 1);
}

/* A block of 1 to SLAB_BLOCK_MAX bytes, to be freed with slab_free(). NULL: there is no memory. */
void *slab_alloc(struct slabs *slabs, size_t size);

/* `size` is what was allocated, and `slabs` those that it was allocated from. */
void slab_free(struct slabs *slabs, void *block, size_t size);

#endif

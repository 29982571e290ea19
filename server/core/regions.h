/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REGIONS_H
#define REGIONS_H

/*
 * regions.h - where slabs (slab.h) get their memory: regions of the size of a huge page, which hold
 * 64 slabs each and go back to the system, in slices, when they are not used.
 *
 * A region begins with its head, so that the address of a block leads to its region and its slab,
 * and a slab has no head of its own. A region with no slab in use goes back whole. Of one with few
 * of them in use (REGIONS_SPARSE_MAX) the others are discarded: else a few blocks that stay would
 * hold all memory. What goes back was not needed for a whole REGIONS_PERIOD_MS.
 *
 * One thread uses regions; nothing here locks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	REGION_SIZE = 2 << 20, /* bytes; the alignment, too */
	REGION_SLAB_SIZE = 32 << 10,
	REGION_SLABS = REGION_SIZE / REGION_SLAB_SIZE,
	REGION_HEAD_SIZE = 4096,

	/* Slabs in use up to which a region gives back the others: half of it. */
	REGIONS_SPARSE_MAX = REGION_SLABS / 2,
	/* What a store needs again within this time stays: getting it anew means to clear it. */
	REGIONS_PERIOD_MS = 1000,
};

/*
 * Where regions come from, since the core makes no system calls: mmap(2) in kvd (region_map.h).
 */
struct region_source {
	void *context;
	/* REGION_SIZE bytes, aligned to it. NULL: there is no memory. *is_whole: they are one page,
	   which is there as soon as any of them is used. */
	void *(*map)(void *context, bool *is_whole);
	void (*unmap)(void *context, void *region);
	/* These bytes, whole slabs but for the head, lose their contents; they stay usable. */
	void (*discard)(void *context, void *bytes, size_t size);
	/* All of a region that was discarded from is used again: it may become one page. */
	void (*refill)(void *context, void *region);
};

/* Fields `free` to `used` belong to slab.c. */
struct slab {
	struct slab *next;
	struct slab *previous;
	void *free;	      /* blocks that were used; each begins with a pointer to the next */
	unsigned char *fresh; /* the first byte that was never used ... */
	unsigned char *end;   /* ... and the one behind the slab */
	uint32_t used;	      /* blocks */
};

struct region;

/* Its fields belong to regions.c. All zero: there are none. */
struct regions {
	const struct region_source *source; /* borrowed; NULL: malloc(3), and nothing is kept */
	struct region *available;	    /* they have a free slab; empty ones are last */
	struct region *available_last;
	struct region *idle; /* they have something to give back */
	size_t idle_slabs;   /* that could go back */
	size_t idle_least;   /* the fewest of them in this period */
	size_t budget;	     /* slabs that go back now */
	uint64_t period_ends_ms;
	size_t count; /* regions */
};

/* Frees the regions that are kept and empty. Nothing else may be done with the others then. */
void regions_destroy(struct regions *regions);

/* A slab, whose fields `fresh` and `end` say where it is. NULL: there is no memory. */
struct slab *regions_take_slab(struct regions *regions);

/* The slab has no blocks any more. */
void regions_return_slab(struct regions *regions, struct slab *slab);

/* The slab in which a block is. */
struct slab *regions_slab_of(const void *block);

/*
 * Gives back what was idle for a period, in at most `max` calls of the source. Returns in how many
 * milliseconds to call again: 0: there is more to give back now; UINT64_MAX: nothing is idle.
 */
uint64_t regions_give_back(struct regions *regions, unsigned max, uint64_t now_ms);

#endif

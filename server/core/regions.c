/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/regions.h"

#include <assert.h>
#include <stdlib.h>

/*
 * Invariants: on the list of available ones exactly while a slab is free; on that of idle ones
 * exactly while idle_in() is not 0; a bit of `resident` is set if its slab was in use since it was
 * mapped or discarded, or came with the page of the region.
 */
struct region {
	struct region *next; /* available */
	struct region *previous;
	struct region *idle_next;
	struct region *idle_previous;
	uint64_t free;	   /* a bit for each slab */
	uint64_t resident; /* likewise */
	bool is_split;	   /* some of it was discarded */
	struct slab slabs[REGION_SLABS];
};

_Static_assert(sizeof(struct region) <= REGION_HEAD_SIZE, "the head has its place");
_Static_assert(REGION_SLABS == 64, "a bit for each slab");

static struct region *region_of(const void *address) {
	return (struct region *)((uintptr_t)address & ~(uintptr_t)(REGION_SIZE - 1));
}

struct slab *regions_slab_of(const void *block) {
	size_t offset = (uintptr_t)block & (REGION_SIZE - 1);

	return &region_of(block)->slabs[offset / REGION_SLAB_SIZE];
}

/* Where a slab begins: the first one behind the head. */
static unsigned char *bytes_of(struct region *region, size_t place) {
	return (unsigned char *)region + (place == 0 ? REGION_HEAD_SIZE : place * REGION_SLAB_SIZE);
}

static unsigned bits(uint64_t mask) {
	return (unsigned)__builtin_popcountll(mask);
}

static bool is_empty(const struct region *region) {
	return region->free == UINT64_MAX;
}

/* Slabs that would go back. */
static size_t idle_in(const struct region *region) {
	return REGION_SLABS - bits(region->free) > REGIONS_SPARSE_MAX
		   ? 0
		   : bits(region->free & region->resident);
}

/* --- Lists --------------------------------------------------------------------------------- */

static void link_first(struct regions *regions, struct region *region) {
	region->previous = NULL;
	region->next = regions->available;
	if (regions->available != NULL)
		regions->available->previous = region;
	else
		regions->available_last = region;
	regions->available = region;
}

static void link_last(struct regions *regions, struct region *region) {
	region->next = NULL;
	region->previous = regions->available_last;
	if (regions->available_last != NULL)
		regions->available_last->next = region;
	else
		regions->available = region;
	regions->available_last = region;
}

static void unlink_region(struct regions *regions, struct region *region) {
	if (region->previous != NULL)
		region->previous->next = region->next;
	else
		regions->available = region->next;
	if (region->next != NULL)
		region->next->previous = region->previous;
	else
		regions->available_last = region->previous;
}

static void link_idle(struct regions *regions, struct region *region) {
	region->idle_previous = NULL;
	region->idle_next = regions->idle;
	if (regions->idle != NULL)
		regions->idle->idle_previous = region;
	regions->idle = region;
}

static void unlink_idle(struct regions *regions, struct region *region) {
	if (region->idle_previous != NULL)
		region->idle_previous->idle_next = region->idle_next;
	else
		regions->idle = region->idle_next;
	if (region->idle_next != NULL)
		region->idle_next->idle_previous = region->idle_previous;
}

static void set_idle(struct regions *regions, size_t slabs) {
	regions->idle_slabs = slabs;
	if (slabs < regions->idle_least)
		regions->idle_least = slabs;
}

/* `before` is what was idle in it before it changed. */
static void count_idle(struct regions *regions, struct region *region, size_t before) {
	size_t idle = idle_in(region);

	if (regions->source == NULL)
		return;
	if (before == 0 && idle > 0)
		link_idle(regions, region);
	else if (before > 0 && idle == 0)
		unlink_idle(regions, region);
	set_idle(regions, regions->idle_slabs - before + idle);
}

/* --- Regions ------------------------------------------------------------------------------- */

static struct region *make_region(struct regions *regions) {
	void *memory = NULL;
	bool is_whole = false;

	if (regions->source != NULL)
		memory = regions->source->map(regions->source->context, &is_whole);
	else if (posix_memalign(&memory, REGION_SIZE, REGION_SIZE) != 0)
		memory = NULL;
	if (memory == NULL)
		return NULL;
	struct region *region = memory;
	*region = (struct region){.free = UINT64_MAX, .resident = is_whole ? UINT64_MAX : 0};
	link_first(regions, region);
	count_idle(regions, region, 0);
	regions->count++;
	return region;
}

static void free_region(struct regions *regions, struct region *region) {
	assert(is_empty(region));
	unlink_region(regions, region);
	regions->count--;
	if (regions->source != NULL)
		regions->source->unmap(regions->source->context, region);
	else
		free(region);
}

void regions_destroy(struct regions *regions) {
	while (regions->available_last != NULL && is_empty(regions->available_last))
		free_region(regions, regions->available_last);
	regions->idle = NULL;
}

struct slab *regions_take_slab(struct regions *regions) {
	struct region *region = regions->available;

	if (region == NULL && (region = make_region(regions)) == NULL)
		return NULL;
	size_t idle = idle_in(region);
	/* Rather one whose memory is there. */
	uint64_t wanted = region->free & region->resident;
	size_t place = (size_t)__builtin_ctzll(wanted != 0 ? wanted : region->free);
	uint64_t bit = (uint64_t)1 << place;
	region->free &= ~bit;
	region->resident |= bit;
	count_idle(regions, region, idle);
	if (region->free == 0) {
		unlink_region(regions, region);
		if (region->is_split)
			regions->source->refill(regions->source->context, region);
		region->is_split = false;
	}
	region->slabs[place] = (struct slab){
	    .fresh = bytes_of(region, place),
	    .end = bytes_of(region, place + 1),
	};
	return &region->slabs[place];
}

void regions_return_slab(struct regions *regions, struct slab *slab) {
	struct region *region = region_of(slab);
	size_t idle = idle_in(region);

	if (region->free == 0)
		link_first(regions, region);
	region->free |= (uint64_t)1 << (slab - region->slabs);
	if (is_empty(region) && regions->source == NULL) {
		free_region(regions, region);
		return;
	}
	count_idle(regions, region, idle);
	if (is_empty(region)) {
		/* Others are filled up first, so that this one may go back. */
		unlink_region(regions, region);
		link_last(regions, region);
	}
}

/* --- Giving back --------------------------------------------------------------------------- */

/* One call of the source. Returns how many slabs went back. */
static size_t give_back(struct regions *regions, struct region *region) {
	size_t idle = idle_in(region);
	uint64_t mask = region->free & region->resident;

	if (is_empty(region)) {
		unlink_idle(regions, region);
		set_idle(regions, regions->idle_slabs - idle);
		free_region(regions, region);
		return idle;
	}
	/* The first ones in a row. */
	size_t from = (size_t)__builtin_ctzll(mask);
	size_t to = from;
	while (to < REGION_SLABS && (mask >> to & 1) != 0)
		region->resident &= ~((uint64_t)1 << to++);
	regions->source->discard(regions->source->context, bytes_of(region, from),
				 (size_t)(bytes_of(region, to) - bytes_of(region, from)));
	region->is_split = true;
	count_idle(regions, region, idle);
	return to - from;
}

uint64_t regions_give_back(struct regions *regions, unsigned max, uint64_t now_ms) {
	if (regions->idle == NULL)
		return UINT64_MAX;
	if (now_ms >= regions->period_ends_ms) {
		regions->budget = regions->idle_least;
		regions->idle_least = regions->idle_slabs;
		regions->period_ends_ms = now_ms + REGIONS_PERIOD_MS;
	}
	for (; max > 0 && regions->budget > 0 && regions->idle != NULL; max--) {
		/* A region goes back whole or, if some of it was needed, in the next period. */
		if (idle_in(regions->idle) > regions->budget)
			break;
		regions->budget -= give_back(regions, regions->idle);
	}
	if (regions->idle != NULL && max > 0)
		regions->budget = 0;
	if (regions->idle == NULL)
		return UINT64_MAX;
	return regions->budget > 0 ? 0 : regions->period_ends_ms - now_ms;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/region_map.h"

#include <stdint.h>
#include <sys/mman.h>

/* All advice may be refused: then pages are as the system has them, and memory comes back later. */

static void *map_bytes(size_t size) {
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return bytes == MAP_FAILED ? NULL : bytes;
}

static size_t bytes_to_boundary(const void *address) {
	return -(uintptr_t)address & (REGION_SIZE - 1);
}

/* The kernel places it below the region before, or at a boundary of huge pages (Linux 6.7). */
static void *map_aligned(void) {
	unsigned char *bytes = map_bytes(REGION_SIZE);

	if (bytes == NULL || bytes_to_boundary(bytes) == 0)
		return bytes;
	(void)munmap(bytes, REGION_SIZE);
	bytes = map_bytes((size_t)2 * REGION_SIZE);
	if (bytes == NULL)
		return NULL;
	size_t before = bytes_to_boundary(bytes);
	if (before > 0)
		(void)munmap(bytes, before);
	(void)munmap(bytes + before + REGION_SIZE, REGION_SIZE - before);
	return bytes + before;
}

static void *map_region(void *context, bool *is_whole) {
	struct region_map *map = context;
	void *region = map_aligned();

	if (region == NULL)
		return NULL;
	*is_whole =
	    map->mapped > map->left_small && madvise(region, REGION_SIZE, MADV_HUGEPAGE) == 0;
	map->mapped += REGION_SIZE;
	return region;
}

static void unmap_region(void *context, void *region) {
	struct region_map *map = context;

	(void)munmap(region, REGION_SIZE);
	map->mapped -= REGION_SIZE;
}

static void discard(void *context, void *bytes, size_t size) {
	void *region = (void *)((uintptr_t)bytes & ~(uintptr_t)(REGION_SIZE - 1));

	(void)context;
	(void)madvise(region, REGION_SIZE, MADV_NOHUGEPAGE);
	(void)madvise(bytes, size, MADV_DONTNEED);
}

static void refill(void *context, void *region) {
	struct region_map *map = context;

	if (map->mapped > map->left_small)
		(void)madvise(region, REGION_SIZE, MADV_HUGEPAGE);
}

void region_map_init(struct region_map *map, size_t left_small) {
	*map = (struct region_map){.left_small = left_small};
}

struct region_source region_map_source(struct region_map *map) {
	return (struct region_source){
	    .context = map,
	    .map = map_region,
	    .unmap = unmap_region,
	    .discard = discard,
	    .refill = refill,
	};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REGION_MAP_H
#define REGION_MAP_H

/*
 * region_map.h - regions (core/regions.h) from mmap(2), in huge pages, with what huge_pages.h says
 * of these. The first ones stay in small pages, for a small store would not fill a huge one; so
 * does a region that is mostly unused, because the kernel would join its pages to a huge one again.
 */

#include "core/regions.h"

/* Its fields are private. */
struct region_map {
	size_t left_small;
	size_t mapped; /* bytes */
};

/* Regions beyond the first one and `left_small` bytes are in huge pages. */
void region_map_init(struct region_map *map, size_t left_small);

/* For a service. It refers to `map`. */
struct region_source region_map_source(struct region_map *map);

#endif

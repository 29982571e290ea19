/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOT_PLACE_H
#define SNAPSHOT_PLACE_H

/* snapshot_place.h - the fixture of tests of snapshot files: a real directory, and a service. */

#include "temp_directory.h"

enum { CHUNK_MAX = 256 * 1024 };

static struct place place;
static struct world world;
static struct bytes file;
static char why[SNAPSHOT_WHY_SIZE];

static inline void start(void) {
	place_open(&place);
	world_open(&world, usual_limits(), false);
}

static inline void stop(void) {
	bytes_free(&file);
	world_close(&world);
	place_close(&place);
}

static inline void take(uint64_t position) {
	take_snapshot(&place, world.service, position);
}

static inline bool check(uint64_t position) {
	struct snapshot snapshot;

	return snapshot_check(&place.disk, position, NULL, NULL, &snapshot, why);
}

static inline bool loads(uint64_t position) {
	struct service *service = another(world.service);
	bool loaded = snapshot_load(&place.disk, position, NULL, NULL, service, why);

	service_free(service);
	return loaded;
}

static inline bool says(const char *what) {
	return strstr(why, what) != NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_DISK_H
#define FAKE_DISK_H

/*
 * fake_disk.h - a disk in memory that fails, and loses what a real one may lose.
 *
 * It holds everything twice: as the cache shows it to readers, and as the disk has it. A write
 * reaches the cache, and is *pending* until a sync of its file succeeds. When the power is lost,
 * each pending write is kept or lost, sector by sector, and so is each file's new size; a name
 * made, renamed or removed is kept or lost until the names are synced. A rename is atomic.
 *
 * A sync that fails answers -EIO. From then on what was pending counts as clean: the cache shows
 * it, no later sync writes it, and what the disk has of it is unknown. The same for names, but that
 * all later syncs of names fail until the process ends, as vfs.h says.
 *
 * What is left open in this picture is drawn from the disk's own chance: the same seed and the same
 * calls make the same run. Many threads may call its functions (struct vfs) and fake_disk_plan();
 * all else is for one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/vfs.h"

enum { FAKE_SECTOR = 512 };

struct fake_disk;

/* Calls are the functions of struct vfs but close; changes those that are no mere reading. */
struct fake_plan {
	/*
	 * This change (the first is 1) and all later calls answer -EIO, as if the process died in
	 * it: of a write, the first `crash_bytes` bytes reach the cache; anything else happened if
	 * they are not 0. 0: never.
	 */
	uint64_t crash_at;
	uint64_t crash_bytes;

	/* This call answers `error`, and so do all later ones if `is_lasting`. 0: none. */
	uint64_t fail_at;
	/* The same, counting changes. */
	uint64_t fail_change;
	int error; /* negative */
	/* What fails did nothing; else it did what chance gives. */
	bool does_nothing;
	bool is_lasting;

	/* From this call on the cache has dropped what it believed to be clean. 0: never. */
	uint64_t evict_at;

	/* Bytes in all files; more is -ENOSPC. 0: no limit. */
	uint64_t capacity;
	/* Bytes that replace others need as much again, unless the file was made to be filled in
	   advance (VFS_PREALLOCATE). */
	bool is_copy_on_write;

	/* Called before each change; it may copy the disk. NULL: none. */
	void (*before)(void *context, struct fake_disk *disk, uint64_t change);
	void *context;
};

/* They end the test program if there is no memory. */
struct fake_disk *fake_disk_new(uint64_t seed);
/* As it is now, with the same chance, and without a plan. */
struct fake_disk *fake_disk_copy(const struct fake_disk *disk);
void fake_disk_free(struct fake_disk *disk);

/* The functions of it; they live as long as it does. */
struct vfs *fake_disk_of(struct fake_disk *disk);

/* Counts calls and changes anew. NULL: nothing is planned. */
void fake_disk_plan(struct fake_disk *disk, const struct fake_plan *plan);
uint64_t fake_disk_calls(const struct fake_disk *disk);
uint64_t fake_disk_changes(const struct fake_disk *disk);
/* Whether the planned crash or failure came. */
bool fake_disk_struck(const struct fake_disk *disk);
/* What the last call was, and what struck: "sync journal-0000000000000001". */
const char *fake_disk_last(const struct fake_disk *disk);

/* The process died: its files are closed, the cache stays. Ends the plan. */
void fake_disk_kill(struct fake_disk *disk);

/* Of how many things each is kept or lost if the power is lost now. */
size_t fake_disk_pending(const struct fake_disk *disk);

/* The power is lost; `keep` is asked of things 0 .. pending - 1 in the order in which they came. */
void fake_disk_lose_power(struct fake_disk *disk, bool (*keep)(void *context, size_t thing),
			  void *context);

/* A file's bytes as readers see them, until the next call; NULL: there is none. */
const uint8_t *fake_disk_bytes(const struct fake_disk *disk, const char *name, size_t *size);
/* Changes a file, or its size, in cache and disk alike. */
void fake_disk_poke(struct fake_disk *disk, const char *name, size_t offset, const void *data,
		    size_t size);
void fake_disk_resize(struct fake_disk *disk, const char *name, size_t size);
/* A file more, empty, durable at once. */
void fake_disk_add(struct fake_disk *disk, const char *name);

/* Files that are open now: none may be when all was closed. */
size_t fake_disk_open_files(const struct fake_disk *disk);

#endif

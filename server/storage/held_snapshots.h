/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HELD_SNAPSHOTS_H
#define HELD_SNAPSHOTS_H

/*
 * held_snapshots.h - snapshots that clients read page by page, as backups. A file stays open, and
 * with it its bytes, when a newer snapshot takes its place in the directory.
 */

#include "storage/vfs.h"

enum {
	HELD_SNAPSHOTS_MAX = 4,		   /* at once; many clients may read one */
	HELD_SNAPSHOT_IDLE_MS = 60 * 1000, /* then it is closed */
	/* So often a page that is not in the page cache is not waited for. Then it is. */
	HELD_SNAPSHOT_MISSES_MAX = 64,
};

struct held_snapshot {
	int file; /* -1: none */
	uint64_t position;
	uint64_t size;	  /* bytes */
	uint64_t read_ms; /* last */
	unsigned misses;  /* in a row */
};

/* All zero but `vfs`, which is borrowed, is none yet. */
struct held_snapshots {
	struct vfs *vfs;
	unsigned count;
	struct held_snapshot list[HELD_SNAPSHOTS_MAX];
};

/*
 * Reads up to `size` bytes at `offset` of the snapshot at `position`, which has *total bytes.
 * Returns how many, 0 at its end; or a negative errno: -ENOENT, it is neither held nor in the
 * directory; -EMFILE, as many as can be are held; -EAGAIN, the disk reads that page now: ask again.
 */
int64_t held_snapshots_read(struct held_snapshots *held, uint64_t position, uint64_t offset,
			    void *data, size_t size, uint64_t now_ms, uint64_t *total);

/*
 * Closes those that are not read any more. Returns in how many milliseconds to call it again;
 * UINT64_MAX: none is held.
 */
uint64_t held_snapshots_expire(struct held_snapshots *held, uint64_t now_ms);

void held_snapshots_close(struct held_snapshots *held);

#endif

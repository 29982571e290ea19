/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

/*
 * snapshot.h - the file that holds the complete state of a service, so that the journal before it
 * can be removed.
 *
 * "snapshot-P" (P: 16 hexadecimal digits) holds all operations up to position P. It is written as
 * "snapshot.tmp" and renamed when it is complete and synced: so an incomplete snapshot is damage,
 * never the trace of a crash.
 *
 *	header:	"kvdsnap1", checksum (4), format (4), store id (16), position (8), time in
 *		milliseconds (8), entries (8), sessions (8)
 *	chunk:	size (4), checksum (4), bytes of the state (see state_codec.h), max 256 KiB
 *	...
 *	end:	zero (4), checksum (4), sum of the sizes (8)
 *
 * Numbers are little-endian. Checksums are CRC32C of what follows them, a chunk's size included,
 *and each begins with the one before it: so chunks that were lost, swapped or taken from another
 * snapshot are found. The header and its checksum stay like this in later formats.
 *
 * Messages go to the caller's `why`.
 */

#include "core/service.h"
#include "snapshot_format.h"
#include "storage/vfs.h"

enum {
	SNAPSHOT_WHY_SIZE = 512,
	SNAPSHOTS_MAX = 16, /* looked at, of those in a directory; one is usual */
};

/* What a snapshot says of itself. */
struct snapshot {
	uint8_t store[STORE_ID_SIZE];
	uint64_t position; /* of the last operation in it */
	uint64_t time_ms;  /* the latest time that the service had seen */
	uint64_t entries;
	uint64_t sessions;
	uint64_t size; /* of the file, in bytes */
	uint32_t format;
};

/* Called with `done` bytes of `size` (0: unknown). May be NULL. */
typedef void snapshot_progress(void *context, uint64_t done, uint64_t size);

/* --- Writing --- */

/*
 * Writes "snapshot.tmp" and syncs it. Changes nothing in the service: so a forked child can do it.
 * 0, or a negative errno, and then the file is gone again, as far as the disk lets it.
 */
int snapshot_write(struct vfs *vfs, const struct service *service, uint64_t position,
		   snapshot_progress *progress, void *context);

/*
 * The same under another name, which must be free, as a snapshot at position 0 of another store: a
 * store whose history begins with this state.
 */
int snapshot_write_origin(struct vfs *vfs, const char *name, const struct service *service,
			  const uint8_t store[STORE_ID_SIZE], snapshot_progress *progress,
			  void *context);

enum snapshot_publication {
	PUBLISH_DONE,
	PUBLISH_REFUSED, /* it has no name, or has it and is whole: nothing depends on it */
	/*
	 * The names could not be synced, those that the journal made meanwhile neither: the process
	 * must stop, and a restart recovers.
	 */
	PUBLISH_UNKNOWN,
};

/*
 * "snapshot.tmp", which is whole, becomes "snapshot-P". Only once the journal is durable up to
 * `position`: a snapshot beyond its end cannot be distinguished from a journal that lost something.
 * *error is a negative errno unless it is done.
 */
enum snapshot_publication snapshot_publish(struct vfs *vfs, uint64_t position, int *error);

/* Removes "snapshot.tmp". 0 (also if there is none), or a negative errno. */
int snapshot_discard(struct vfs *vfs);

/*
 * Removes all snapshots but that one, which this process published: the name of one that was found
 * may be in the cache and not on the disk, and then the older one is needed still. 0, or a negative
 * errno: some are left, which does no harm.
 */
int snapshot_remove_others(struct vfs *vfs, uint64_t position);

/*
 * The rule for taking one: replaying the journal since the last one would take longer than loading
 * that one did, about. So what is written for snapshots is at most as much as for the journal.
 */
bool snapshot_is_due(uint64_t journal_bytes, uint64_t snapshot_bytes);

/* --- Reading --- */

/* The name of a snapshot; and back: false if `name` is none. */
void snapshot_name(uint64_t position, char name[VFS_NAME_MAX]);
bool snapshot_position(const char *name, uint64_t *position);

/* Positions, the newest first. How many; or a negative errno. */
int snapshot_list(struct vfs *vfs, uint64_t positions[SNAPSHOTS_MAX]);

/* Verifies one from end to end, all but what its bytes mean. False: `why` says what is wrong. */
bool snapshot_check(struct vfs *vfs, uint64_t position, snapshot_progress *progress, void *context,
		    struct snapshot *snapshot, char why[SNAPSHOT_WHY_SIZE]);

/*
 * The same of a snapshot that is a file by itself, as a backup is: `name` is what messages call it,
 * and the position may be any.
 */
bool snapshot_check_file(struct vfs *vfs, const char *name, snapshot_progress *progress,
			 void *context, struct snapshot *snapshot, char why[SNAPSHOT_WHY_SIZE]);

enum snapshot_search {
	SEARCH_NONE,  /* there are no snapshots */
	SEARCH_FOUND, /* verified as by snapshot_check() */
	SEARCH_BAD,   /* there are, and none can be used: `why` */
};

/*
 * The newest one that is sound. If newer ones are damaged, `why` names the newest, else it is "":
 * the older one may be used only if the journal is whole from its position. If one cannot be judged
 * (it cannot be read, its format is newer), no older one is taken for it.
 */
enum snapshot_search snapshot_find_latest(struct vfs *vfs, snapshot_progress *progress,
					  void *context, struct snapshot *snapshot,
					  char why[SNAPSHOT_WHY_SIZE]);

/*
 * Loads one into a service that is as service_new() made it, with the store id of the snapshot.
 * False: `why` says what is wrong, and the service is only fit for service_free().
 */
bool snapshot_load(struct vfs *vfs, uint64_t position, snapshot_progress *progress, void *context,
		   struct service *service, char why[SNAPSHOT_WHY_SIZE]);
bool snapshot_load_file(struct vfs *vfs, const char *name, snapshot_progress *progress,
			void *context, struct service *service, char why[SNAPSHOT_WHY_SIZE]);

#endif

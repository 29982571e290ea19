/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_FILE_H
#define JOURNAL_FILE_H

/*
 * journal_file.h - the writer of a journal: batches of operations, one behind the other, in
 * segments.
 *
 * Operations are numbered 1, 2, ...: an operation's *position*. A batch is written and synced
 * before the next one is written, so after a crash only the very last one can be torn. (It is
 * assumed that writing the same bytes over a part of the disk never harms them: the next batch
 * shares a page with the one before, and recovery writes the last one again.)
 *
 * Files: "journal-N" (N: 16 hexadecimal digits, without a gap) are the segments (their bytes:
 * journal_format.h); "spare" is the next one while it is made; "manifest" says which one is the
 * newest. A segment has its size from the start, filled with zeros, because writing over blocks
 * that are there is twice as quick as growing a file.
 *
 * One thread at a time; nothing here locks. Messages go to the caller's `why`.
 */

#include "storage/journal_scan.h"

struct journal_file_options {
	uint64_t segment_size;	  /* bytes; at least a batch of the largest operation */
	uint64_t (*chance)(void); /* random bits, for the salts */
};

struct journal_file;

/*
 * Reads the journal in `disk`, as journal_read() does, and makes it ready to go on: what was read
 * is made durable, and a new segment begins. An empty directory gets `store` as its store id; else
 * `store` becomes the one found.
 *
 * NULL: `why` says which file is damaged at which offset, or what failed, and what to do. Nothing
 * that was there is changed then.
 */
struct journal_file *journal_file_open(struct vfs *vfs, const struct journal_file_options *options,
				       uint8_t store[STORE_ID_SIZE], uint64_t after,
				       journal_apply *apply, void *context,
				       struct journal_found *found, char why[JOURNAL_WHY_SIZE]);

/*
 * Reads the journal without changing it, as journal_read() does; `store` becomes the one found, if
 * there is one. For `kvd --check`.
 */
bool journal_file_check(struct vfs *vfs, uint8_t store[STORE_ID_SIZE], uint64_t after,
			journal_apply *apply, journal_segment *segment, void *context,
			struct journal_found *found, char why[JOURNAL_WHY_SIZE]);

/* Bytes left in the segment in use, and in an empty one. */
uint64_t journal_file_room(const struct journal_file *file);
uint64_t journal_file_segment_room(const struct journal_file *file);

enum journal_spare {
	SPARE_READY,   /* the next segment is there */
	SPARE_BEGUN,   /* call again: it is being filled */
	SPARE_NO_ROOM, /* the disk or a quota is full: call again later */
	SPARE_FAILED,  /* the disk fails: call again later */
};

/*
 * Does a piece of the work of making the next segment, about a MiB. It is not begun unless the disk
 * has space for it and an eighth more; one that others leave no space for is removed. So a full
 * disk is neither written to nor filled completely. Where there is space and writing is refused (a
 * quota), what was filled is kept.
 */
enum journal_spare journal_file_make_spare(struct journal_file *file);

/* Why the last journal_file_make_spare() did not succeed: a negative errno. */
int journal_file_spare_error(const struct journal_file *file);

/*
 * Writes and syncs a batch of `count` operations, those behind the last. Goes on in the spare
 * segment (which must be there) if it does not fit. `batch` has BATCH_HEADER_SIZE bytes to be
 * written to, then the payload, which is operation_encode()'s bytes, then BATCH_ALIGNMENT bytes to
 * be written to. False and *is_full: the disk has no space, and the same batch may be appended
 * later. False otherwise: it may or may not be there, and `why` says what failed: the process must
 * stop, and a restart finds out.
 */
bool journal_file_append(struct journal_file *file, uint8_t *batch, size_t payload_size,
			 uint32_t count, bool *is_full, char why[JOURNAL_WHY_SIZE]);

/* False: a file that is in use was removed or replaced (`why`), so nothing that is written
 * survives. */
bool journal_file_is_there(const struct journal_file *file, char why[JOURNAL_WHY_SIZE]);

/*
 * A snapshot that is durable holds everything up to `position`: removes segments that hold nothing
 * else.
 */
void journal_file_truncate(struct journal_file *file, uint64_t position);

/*
 * Marks a clean stop (unless the last append failed, or the mark is there) and frees. NULL is fine.
 */
void journal_file_close(struct journal_file *file, bool is_clean);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_FILE_H
#define JOURNAL_FILE_H

/*
 * journal_file.h - the journal on a disk: batches of operations, one after another, in segments.
 *
 * Operations are numbered 1, 2, ...: an operation's *position*. A batch is written and synced
 * before the next one is written, so after a crash only the very last one can be torn. (It is
 * taken for granted that writing the same bytes over a part of the disk harms them at no time: the
 * next batch shares a page with the one before, and recovery writes the last one anew.)
 *
 * Files: "journal-N" (N: 16 hexadecimal digits, without a gap) are the segments; "spare" is the
 * next one while it is made. A segment has its size from the start, filled with zeros, since
 * writing over blocks that are there is twice as quick as growing a file. So the end of the file
 * says nothing; a batch says for itself where it belongs:
 *
 *	segment: header (4096 bytes), batch, batch, ... anything
 *	header:	 "kvdjrnl1", checksum (4), format (4), store id (16), N (8), first position (8),
 *		 salt (8), size of the file (8), zeros
 *	batch:	 magic (4), checksum (4), payload size (4), kind (4), salt (8), N (8), offset in the
 *		 file (8), first position (8), count of operations (4), zeros (4); payload; zeros to
 *		 a multiple of 8
 *
 * Numbers are little-endian. Checksums are CRC32C (RFC 3720, B.4) of what stands behind them. The
 * salt is random, new for each segment: nobody can write a value that looks like a batch.
 *
 * One thread at a time; nothing here locks. Lines for people go to the caller's `why`.
 */

#include "storage/vfs.h"
#include "core/operation.h"

enum {
	JOURNAL_FORMAT = 1,
	JOURNAL_HEADER_SIZE = 4096,
	JOURNAL_BATCH_HEADER_SIZE = 56,
	JOURNAL_WHY_SIZE = 512,
};

struct journal_file_options {
	uint64_t segment_size; /* bytes; at least a batch of the largest operation */
	/* Random bits for the salts. */
	uint64_t (*chance)(void);
};

/* One recorded operation, in order. False: no memory; reading stops. */
typedef bool journal_apply(void *context, uint64_t position, const struct operation *operation,
			   uint64_t time_ms);

/* What reading a journal found. */
struct journal_found {
	uint64_t first; /* position of the first operation that is there; 0: none */
	uint64_t last;	/* of the last one; `after` if there is none */
	uint64_t segments;
	uint64_t first_segment; /* its number; 0: there are no segments */
	uint64_t last_segment;
	uint64_t operations; /* handed to the caller */
	bool was_stopped;    /* the end mark of a clean stop is the last thing */
	uint64_t torn;	  /* bytes at the end that were cut off: a batch that a crash cut short */
	uint64_t missing; /* bytes that the last segment lacks. No crash does that: somebody cut it,
			     and what was answered may be lost with them */
};

struct journal_file;

/*
 * Reads the journal in `disk`, handing over the operations behind position `after`, and makes it
 * ready to go on: what was read is made durable, and a new segment begins. An empty directory gets
 * `store` as its store id; else `store` becomes the one found.
 *
 * NULL: `why` says which file is damaged at which offset, or what failed, and what to do. Nothing
 * that was there is changed then.
 */
struct journal_file *journal_file_open(struct disk *disk,
				       const struct journal_file_options *options,
				       uint8_t store[STORE_ID_SIZE], uint64_t after,
				       journal_apply *apply, void *context,
				       struct journal_found *found, char why[JOURNAL_WHY_SIZE]);

/* A segment that was found good: its size in bytes; `last` is below `first` if it is empty. */
typedef void journal_segment(void *context, const char *name, uint64_t size, uint64_t first,
			     uint64_t last);

/*
 * Only reads, and says what is there: for `kvd --check`. `segment` is told each one, in order; it
 * may be NULL. False: `why` says what is wrong.
 */
bool journal_file_check(struct disk *disk, uint8_t store[STORE_ID_SIZE], uint64_t after,
			journal_apply *apply, journal_segment *segment, void *context,
			struct journal_found *found, char why[JOURNAL_WHY_SIZE]);

/* Bytes that a batch with such a payload takes. */
uint64_t journal_file_batch_size(size_t payload_size);

/* Bytes left in the segment in use, and in an empty one. */
uint64_t journal_file_room(const struct journal_file *file);
uint64_t journal_file_segment_room(const struct journal_file *file);

enum journal_spare {
	SPARE_READY,   /* the next segment is there */
	SPARE_BEGUN,   /* call again: it is being filled */
	SPARE_NO_ROOM, /* the disk is full: call again later */
};

/*
 * Does a piece of the work of making the next segment, about a MiB. It is not begun unless the disk
 * has room for it and an eighth more; one that others leave no room for is given back. So a disk
 * that is full is looked at, and neither written to nor filled to the brim. Where there is room and
 * writing is refused (a quota), what was filled is kept, to go on from there.
 */
enum journal_spare journal_file_make_spare(struct journal_file *file);

/*
 * Writes and syncs a batch of `count` operations, those behind the last. Goes on in the spare
 * segment (which must be there) if it does not fit. `batch` has JOURNAL_BATCH_HEADER_SIZE bytes to
 * be written to, then the payload, which is operation_encode()'s bytes, then 8 bytes to be written to.
 * False: it may or may not be there, and `why` says what failed: the process must stop, and a
 * restart finds out.
 */
bool journal_file_append(struct journal_file *file, uint8_t *batch, size_t payload_size,
			 uint32_t count, char why[JOURNAL_WHY_SIZE]);

/*
 * A snapshot that is durable holds everything up to `position`: segments that hold nothing else go.
 */
void journal_file_truncate(struct journal_file *file, uint64_t position);

/*
 * Marks a clean stop (unless the last append failed, or the mark is there) and frees. NULL is fine.
 */
void journal_file_close(struct journal_file *file, bool is_clean);

#endif

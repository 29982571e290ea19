/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal_file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/journal_format.h"
#include "storage/journal_scan.h"

enum {
	SPARE_PIECE = 1 << 20,
	SPARE_MARGIN = 8, /* so many times less is left to others, and to the disk's own needs */
};

static const char spare_name[] = "spare";

/*
 * Invariants: `current` is -1 until the first append, and from a failure on; `offset` is where the
 * next batch goes. `spare` is -1 or the file "spare", filled up to spare_filled; it is ready once
 * it was filled and synced. `firsts` has the first position of each segment from first_segment to
 * last_segment, which is one less if there is none.
 */
struct journal_file {
	struct disk *disk;
	struct journal_file_options options;
	uint8_t store[STORE_ID_SIZE];
	struct segment_header header; /* of the segment in use */
	int current;
	uint64_t offset;
	uint64_t next; /* position */
	uint64_t first_segment;
	uint64_t last_segment;
	uint64_t *firsts;
	int spare;
	uint64_t spare_filled;
	bool is_spare_ready;
	bool needs_mark; /* the last batch is there, and is no mark of a clean stop */
};

/* Never written; not const, for then they would be in the program's file. */
static uint8_t zeros[SPARE_PIECE];

uint64_t journal_file_batch_size(size_t payload_size) {
	return batch_size(payload_size);
}

static bool failed(char why[JOURNAL_WHY_SIZE], const char *what, const char *name, int error) {
	(void)snprintf(why, JOURNAL_WHY_SIZE, "cannot %s %s: %s", what, name, strerror(-error));
	return false;
}

/* --- Opening ------------------------------------------------------------------------------------
 */

/*
 * "What was read from the cache is not yet durable": a sync may have failed before, and the cache
 * calls itself clean since. So the last batch, the only one that may not have reached the disk, is
 * written again: the bytes that were found good, for the cache may drop its own and read others.
 */
static bool make_durable(struct disk *disk, const struct last_batch *last,
			 char why[JOURNAL_WHY_SIZE]) {
	char name[DISK_NAME_MAX];
	int error;
	int file;

	if (last->size == 0)
		return true;
	segment_name(last->segment, name);
	file = disk->open(disk->context, name, DISK_WRITE);
	if (file < 0)
		return failed(why, "write", name, file);
	error = disk->write(disk->context, file, last->bytes, last->size, last->offset);
	if (error == 0)
		error = disk->sync(disk->context, file);
	disk->close(disk->context, file);
	return error == 0 || failed(why, "write", name, error);
}

/* Removes what no journal needs: a segment that was not ready, and those before a gap. */
static bool clean_up(struct disk *disk, const struct journal_end *end, char why[JOURNAL_WHY_SIZE]) {
	int error = disk->remove(disk->context, spare_name);

	for (size_t i = 0; i < end->stale_count && (error == 0 || error == -ENOENT); i++) {
		char name[DISK_NAME_MAX];

		segment_name(end->stale[i], name);
		error = disk->remove(disk->context, name);
	}
	if (error == 0 || error == -ENOENT)
		error = disk->sync_names(disk->context);
	return error == 0 || failed(why, "write in", "the directory", error);
}

bool journal_file_check(struct disk *disk, uint8_t store[STORE_ID_SIZE], uint64_t after,
			journal_apply *apply, journal_segment *segment, void *context,
			struct journal_found *found, char why[JOURNAL_WHY_SIZE]) {
	struct journal_end end;
	bool good = journal_read(disk, after, apply, segment, context, found, &end, why);

	if (good && end.has_store)
		memcpy(store, end.store, STORE_ID_SIZE);
	journal_scan_free(&end);
	return good;
}

struct journal_file *journal_file_open(struct disk *disk,
				       const struct journal_file_options *options,
				       uint8_t store[STORE_ID_SIZE], uint64_t after,
				       journal_apply *apply, void *context,
				       struct journal_found *found, char why[JOURNAL_WHY_SIZE]) {
	struct journal_file *file = calloc(1, sizeof(*file));
	struct journal_end end;

	if (file == NULL) {
		(void)failed(why, "open", "the journal", -ENOMEM);
		return NULL;
	}
	if (!journal_read(disk, after, apply, NULL, context, found, &end, why) ||
	    !make_durable(disk, &end.last_batch, why) || !clean_up(disk, &end, why)) {
		journal_scan_free(&end);
		free(file);
		return NULL;
	}
	if (end.has_store)
		memcpy(store, end.store, STORE_ID_SIZE);
	memcpy(file->store, store, STORE_ID_SIZE);
	file->disk = disk;
	file->options = *options;
	file->current = file->spare = -1;
	file->next = end.next;
	file->needs_mark = end.last_batch.size > 0 && !found->was_stopped;
	file->first_segment = end.first_segment == 0 ? 1 : end.first_segment;
	/*
	 * A segment without a batch is begun anew, under its number: nobody waited for its name to
	 * be durable, and a sync of the names that failed may have left it in the cache alone.
	 */
	file->last_segment = end.last_segment - (end.is_last_empty ? 1 : 0);
	file->firsts = end.firsts;
	end.firsts = NULL;
	journal_scan_free(&end);
	return file;
}

/* --- Room ---------------------------------------------------------------------------------------
 */

uint64_t journal_file_room(const struct journal_file *file) {
	return file->current < 0 ? 0 : file->header.size - file->offset;
}

uint64_t journal_file_segment_room(const struct journal_file *file) {
	return file->options.segment_size - SEGMENT_HEADER_SIZE;
}

/* Also true if nobody knows. */
static bool has_room(const struct journal_file *file, uint64_t size) {
	int64_t room = file->disk->room(file->disk->context);

	return room < 0 || (uint64_t)room >= size;
}

static enum journal_spare give_spare_back(struct journal_file *file) {
	struct disk *disk = file->disk;

	if (file->spare >= 0) {
		disk->close(disk->context, file->spare);
		(void)disk->remove(disk->context, spare_name);
	}
	file->spare = -1;
	file->spare_filled = 0;
	return SPARE_NO_ROOM;
}

enum journal_spare journal_file_make_spare(struct journal_file *file) {
	struct disk *disk = file->disk;
	uint64_t left;

	if (file->is_spare_ready)
		return SPARE_READY;
	if (file->spare < 0) {
		uint64_t size = file->options.segment_size;

		if (!has_room(file, size + size / SPARE_MARGIN))
			return SPARE_NO_ROOM;
		/* One that could not be removed when it was given back. */
		(void)disk->remove(disk->context, spare_name);
		file->spare = disk->open(disk->context, spare_name, DISK_CREATE);
		if (file->spare < 0)
			return SPARE_NO_ROOM;
	}
	left = file->options.segment_size - file->spare_filled;
	if (left > SPARE_PIECE)
		left = SPARE_PIECE;
	if (disk->write(disk->context, file->spare, zeros, left, file->spare_filled) < 0)
		return has_room(file, file->options.segment_size - file->spare_filled)
			   ? SPARE_NO_ROOM
			   : give_spare_back(file);
	file->spare_filled += left;
	if (file->spare_filled < file->options.segment_size)
		return SPARE_BEGUN;
	/* Nobody knows what is there: it is made anew. */
	if (disk->sync(disk->context, file->spare) < 0)
		return give_spare_back(file);
	file->is_spare_ready = true;
	return SPARE_READY;
}

/* --- Writing ------------------------------------------------------------------------------------
 */

static void close_current(struct journal_file *file) {
	if (file->current >= 0)
		file->disk->close(file->disk->context, file->current);
	file->current = -1;
}

/* Remembers a new segment. The array is made before anything is written. */
static bool keep_first(struct journal_file *file, uint64_t first) {
	uint64_t count = file->last_segment - file->first_segment + 1;
	uint64_t *firsts = realloc(file->firsts, (count + 1) * sizeof(*firsts));

	if (firsts == NULL)
		return false;
	file->firsts = firsts;
	firsts[count] = first;
	return true;
}

/*
 * Goes on in the spare. Its header is durable before its name is, and its name before anything is
 * written to it that somebody waits for.
 */
static bool begin_segment(struct journal_file *file, uint64_t first, char why[JOURNAL_WHY_SIZE]) {
	struct disk *disk = file->disk;
	struct segment_header header = {.format = JOURNAL_FORMAT,
					.number = file->last_segment + 1,
					.first = first,
					.salt = file->options.chance(),
					.size = file->options.segment_size};
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	char name[DISK_NAME_MAX];
	int error;

	assert(file->is_spare_ready);
	memcpy(header.store, file->store, STORE_ID_SIZE);
	segment_name(header.number, name);
	segment_header_encode(bytes, &header);
	if (!keep_first(file, first))
		return failed(why, "begin", name, -ENOMEM);
	error = disk->write(disk->context, file->spare, bytes, sizeof(bytes), 0);
	if (error == 0)
		error = disk->sync(disk->context, file->spare);
	if (error == 0)
		error = disk->rename(disk->context, spare_name, name);
	if (error == 0)
		error = disk->sync_names(disk->context);
	close_current(file);
	if (error < 0)
		return failed(why, "begin", name, error);
	file->current = file->spare;
	file->spare = -1;
	file->spare_filled = 0;
	file->is_spare_ready = false;
	file->header = header;
	file->offset = SEGMENT_HEADER_SIZE;
	file->last_segment = header.number;
	return true;
}

/* `batch` has room for the header in front of the payload, and its padding behind it. */
static bool write_batch(struct journal_file *file, enum batch_kind kind, uint8_t *batch,
			size_t payload_size, uint32_t count, char why[JOURNAL_WHY_SIZE]) {
	struct disk *disk = file->disk;
	uint64_t size = batch_size(payload_size);
	struct batch_header header = {.kind = kind,
				      .payload_size = (uint32_t)payload_size,
				      .salt = file->header.salt,
				      .segment = file->header.number,
				      .offset = file->offset,
				      .first = file->next,
				      .count = count};
	char name[DISK_NAME_MAX];
	int error;

	memset(batch + BATCH_HEADER_SIZE + payload_size, 0,
	       size - BATCH_HEADER_SIZE - payload_size);
	batch_header_encode(batch, &header);
	error = disk->write(disk->context, file->current, batch, size, file->offset);
	if (error == 0)
		error = disk->sync(disk->context, file->current);
	file->needs_mark = error == 0 && kind == BATCH_OPERATIONS;
	if (error < 0) {
		segment_name(file->header.number, name);
		close_current(file);
		return failed(why, "write", name, error);
	}
	file->offset += size;
	file->next += count;
	return true;
}

bool journal_file_append(struct journal_file *file, uint8_t *batch, size_t payload_size,
			 uint32_t count, char why[JOURNAL_WHY_SIZE]) {
	assert(batch_size(payload_size) <= journal_file_segment_room(file));
	if (batch_size(payload_size) > journal_file_room(file) &&
	    !begin_segment(file, file->next, why)) {
		file->needs_mark = false;
		return false;
	}
	return write_batch(file, BATCH_OPERATIONS, batch, payload_size, count, why);
}

/* --- The end of segments, and of it all ---------------------------------------------------------
 */

void journal_file_truncate(struct journal_file *file, uint64_t position) {
	struct disk *disk = file->disk;

	/* A segment is no longer needed once the next one begins at or before what is needed. */
	while (file->first_segment < file->last_segment && file->firsts[1] <= position + 1) {
		uint64_t count = file->last_segment - file->first_segment;
		char name[DISK_NAME_MAX];

		segment_name(file->first_segment, name);
		if (disk->remove(disk->context, name) < 0)
			break;
		memmove(file->firsts, file->firsts + 1, count * sizeof(*file->firsts));
		file->first_segment++;
	}
	(void)disk->sync_names(disk->context);
}

void journal_file_close(struct journal_file *file, bool is_clean) {
	uint8_t end[BATCH_HEADER_SIZE + BATCH_ALIGNMENT];
	char why[JOURNAL_WHY_SIZE];

	if (file == NULL)
		return;
	/* Without room for the mark the next start takes the stop for a crash, and loses nothing.
	 */
	if (is_clean && file->needs_mark &&
	    (journal_file_room(file) >= batch_size(0) ||
	     (file->is_spare_ready && begin_segment(file, file->next, why))))
		(void)write_batch(file, BATCH_END, end, 0, 0, why);
	close_current(file);
	if (file->spare >= 0)
		file->disk->close(file->disk->context, file->spare);
	(void)file->disk->remove(file->disk->context, spare_name);
	free(file->firsts);
	free(file);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal_file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SPARE_PIECE = 1 << 20,
	SPARE_MARGIN = 8, /* so many times less is left to others, and to the disk's own needs */
};

static const char spare_name[] = "spare";

/*
 * Invariants: `current` is -1 until the first append, and from a failure on; `offset` is where the
 * next batch goes. `spare` is -1 or the file "spare", filled up to spare_filled; it is ready once
 * it was filled and synced. `firsts` has the first position of each segment from first_segment to
 * last_segment, which is one less if there is none. There is a manifest before there is a spare,
 * and it names the segment in use before a batch is written there.
 */
struct journal_file {
	struct vfs *vfs;
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
	int spare_error;
	struct manifest manifest; /* as the file has it, or gets it when it is made */
	int manifest_file;	  /* -1: there is none yet */
	bool is_manifest_due;
	bool needs_mark; /* the last batch is there, and is no mark of a clean stop */
};

/* Never written; not const, for then they would be in the program's file. */
static uint8_t zeros[SPARE_PIECE];

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
static bool make_durable(struct vfs *vfs, const struct last_batch *last,
			 char why[JOURNAL_WHY_SIZE]) {
	char name[VFS_NAME_MAX];
	int error;
	int file;

	if (last->size == 0)
		return true;
	segment_name(last->segment, name);
	file = vfs->open(vfs->context, name, VFS_WRITE);
	if (file < 0)
		return failed(why, "write", name, file);
	error = vfs->write(vfs->context, file, last->bytes, last->size, last->offset);
	if (error == 0)
		error = vfs->sync(vfs->context, file);
	vfs->close(vfs->context, file);
	return error == 0 || failed(why, "write", name, error);
}

/* As remove(), and all is well if there is no such file. */
static int remove_any(struct vfs *vfs, const char *name) {
	int error = vfs->remove(vfs->context, name);

	return error == -ENOENT ? 0 : error;
}

/* Removes what no journal needs: files that were not finished, and segments before a gap. */
static bool clean_up(struct vfs *vfs, const struct journal_end *end, char why[JOURNAL_WHY_SIZE]) {
	int error = remove_any(vfs, spare_name);

	if (error == 0)
		error = remove_any(vfs, manifest_temporary_name);
	for (size_t i = 0; i < end->stale_count && error == 0; i++) {
		char name[VFS_NAME_MAX];

		segment_name(end->stale[i], name);
		error = remove_any(vfs, name);
	}
	if (error == 0)
		error = vfs->sync_names(vfs->context);
	return error == 0 || failed(why, "write in", "the directory", error);
}

/* False, with -1 in *opened: it is there and cannot be opened. */
static bool open_manifest(struct vfs *vfs, const struct journal_end *end, int *opened,
			  char why[JOURNAL_WHY_SIZE]) {
	*opened = -1;
	if (end->manifest.sequence == 0)
		return true;
	*opened = vfs->open(vfs->context, manifest_name, VFS_WRITE);
	return *opened >= 0 || failed(why, "write", manifest_name, *opened);
}

bool journal_file_check(struct vfs *vfs, uint8_t store[STORE_ID_SIZE], uint64_t after,
			journal_apply *apply, journal_segment *segment, void *context,
			struct journal_found *found, char why[JOURNAL_WHY_SIZE]) {
	struct journal_end end;
	bool good = journal_read(vfs, after, apply, segment, context, found, &end, why);

	if (good && end.has_store)
		memcpy(store, end.store, STORE_ID_SIZE);
	journal_scan_free(&end);
	return good;
}

struct journal_file *journal_file_open(struct vfs *vfs, const struct journal_file_options *options,
				       uint8_t store[STORE_ID_SIZE], uint64_t after,
				       journal_apply *apply, void *context,
				       struct journal_found *found, char why[JOURNAL_WHY_SIZE]) {
	struct journal_file *file = calloc(1, sizeof(*file));
	struct journal_end end;

	if (file == NULL) {
		(void)failed(why, "open", "the journal", -ENOMEM);
		return NULL;
	}
	if (!journal_read(vfs, after, apply, NULL, context, found, &end, why) ||
	    !make_durable(vfs, &end.last_batch, why) || !clean_up(vfs, &end, why) ||
	    !open_manifest(vfs, &end, &file->manifest_file, why)) {
		journal_scan_free(&end);
		free(file);
		return NULL;
	}
	if (end.has_store)
		memcpy(store, end.store, STORE_ID_SIZE);
	memcpy(file->store, store, STORE_ID_SIZE);
	file->vfs = vfs;
	file->options = *options;
	file->current = file->spare = -1;
	file->next = end.next;
	file->needs_mark = end.last_batch.size > 0 && !found->was_stopped;
	file->first_segment = end.first_segment == 0 ? 1 : end.first_segment;
	/*
	 * A segment without a batch is made again, under its number, because its name may be in the
	 * cache alone: a sync of the names may have failed.
	 */
	file->last_segment = end.last_segment - (end.is_last_empty ? 1 : 0);
	file->firsts = end.firsts;
	end.firsts = NULL;
	file->manifest = end.manifest;
	memcpy(file->manifest.store, store, STORE_ID_SIZE);
	if (end.manifest.sequence == 0) {
		file->manifest.segment = file->last_segment;
		file->manifest.end = found->was_stopped ? end.end : 0;
	}
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

/* Also true if the disk cannot tell. */
static bool has_room(const struct journal_file *file, uint64_t size) {
	int64_t room = file->vfs->room(file->vfs->context);

	return room < 0 || (uint64_t)room >= size;
}

static enum journal_spare no_spare(struct journal_file *file, int error) {
	file->spare_error = error;
	return vfs_is_full(error) ? SPARE_NO_ROOM : SPARE_FAILED;
}

static enum journal_spare remove_spare(struct journal_file *file, int error) {
	struct vfs *vfs = file->vfs;

	vfs->close(vfs->context, file->spare);
	(void)vfs->remove(vfs->context, spare_name);
	file->spare = -1;
	file->spare_filled = 0;
	return no_spare(file, error);
}

/* SPARE_BEGUN, or why it could not be begun. */
static enum journal_spare begin_spare(struct journal_file *file) {
	struct vfs *vfs = file->vfs;
	uint64_t size = file->options.segment_size;
	int opened;

	if (!has_room(file, size + size / SPARE_MARGIN))
		return no_spare(file, -ENOSPC);
	if (file->manifest_file < 0) {
		opened = manifest_create(vfs, &file->manifest);
		if (opened < 0)
			return no_spare(file, opened);
		file->manifest_file = opened;
	}
	/* One that could not be removed before. */
	(void)vfs->remove(vfs->context, spare_name);
	opened = vfs->open(vfs->context, spare_name, VFS_PREALLOCATE);
	if (opened < 0)
		return no_spare(file, opened);
	file->spare = opened;
	return SPARE_BEGUN;
}

enum journal_spare journal_file_make_spare(struct journal_file *file) {
	struct vfs *vfs = file->vfs;
	uint64_t left;
	int error;

	if (file->is_spare_ready)
		return SPARE_READY;
	if (file->spare < 0) {
		enum journal_spare begun = begin_spare(file);

		if (begun != SPARE_BEGUN)
			return begun;
	}
	left = file->options.segment_size - file->spare_filled;
	if (left > SPARE_PIECE)
		left = SPARE_PIECE;
	error = vfs->write(vfs->context, file->spare, zeros, left, file->spare_filled);
	if (error < 0)
		return has_room(file, file->options.segment_size - file->spare_filled)
			   ? no_spare(file, error)
			   : remove_spare(file, error);
	file->spare_filled += left;
	if (file->spare_filled < file->options.segment_size)
		return SPARE_BEGUN;
	/* After a failed sync its bytes are unknown: another one is made. */
	error = vfs->sync(vfs->context, file->spare);
	if (error < 0)
		return remove_spare(file, error);
	file->is_spare_ready = true;
	return SPARE_READY;
}

int journal_file_spare_error(const struct journal_file *file) {
	return file->spare_error;
}

/* Errors of a write or a rename that changed nothing that counts, and may succeed later. */
static bool can_retry(int error) {
	return error == -ENOSPC || error == -EDQUOT;
}

/* --- Writing ------------------------------------------------------------------------------------
 */

static void close_current(struct journal_file *file) {
	if (file->current >= 0)
		file->vfs->close(file->vfs->context, file->current);
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
 * Goes on in the spare. Its header is durable before its name is, its name before the manifest says
 * that it must be there, and the manifest before a batch is written to it.
 */
static bool begin_segment(struct journal_file *file, uint64_t first, bool *is_full,
			  char why[JOURNAL_WHY_SIZE]) {
	struct vfs *vfs = file->vfs;
	struct segment_header header = {.format = JOURNAL_FORMAT,
					.number = file->last_segment + 1,
					.first = first,
					.salt = file->options.chance(),
					.size = file->options.segment_size};
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	char name[VFS_NAME_MAX];
	int error;

	assert(file->is_spare_ready);
	memcpy(header.store, file->store, STORE_ID_SIZE);
	segment_name(header.number, name);
	segment_header_encode(bytes, &header);
	if (!keep_first(file, first))
		return failed(why, "begin", name, -ENOMEM);
	error = vfs->write(vfs->context, file->spare, bytes, sizeof(bytes), 0);
	*is_full = can_retry(error);
	if (error == 0)
		error = vfs->sync(vfs->context, file->spare);
	if (error == 0) {
		error = vfs->rename(vfs->context, spare_name, name);
		*is_full = can_retry(error);
	}
	if (error == 0)
		error = vfs->sync_names(vfs->context);
	if (*is_full)
		return failed(why, "begin", name, error);
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
	file->is_manifest_due = true;
	return true;
}

/* Says that the segment in use must be there, and where a clean stop ends it; 0: none yet. */
static bool write_manifest(struct journal_file *file, uint64_t end, bool *is_full,
			   char why[JOURNAL_WHY_SIZE]) {
	int error = manifest_write(file->vfs, file->manifest_file, &file->manifest,
				   file->header.number, end);

	*is_full = can_retry(error);
	file->is_manifest_due = error < 0;
	return error == 0 || failed(why, "write", manifest_name, error);
}

/* `batch` has space for the header in front of the payload, and for the padding behind it. */
static bool write_batch(struct journal_file *file, enum batch_kind kind, uint8_t *batch,
			size_t payload_size, uint32_t count, bool *is_full,
			char why[JOURNAL_WHY_SIZE]) {
	struct vfs *vfs = file->vfs;
	uint64_t size = batch_size(payload_size);
	struct batch_header header = {.kind = kind,
				      .payload_size = (uint32_t)payload_size,
				      .salt = file->header.salt,
				      .segment = file->header.number,
				      .offset = file->offset,
				      .first = file->next,
				      .count = count};
	char name[VFS_NAME_MAX];
	int error;

	segment_name(file->header.number, name);
	memset(batch + BATCH_HEADER_SIZE + payload_size, 0,
	       size - BATCH_HEADER_SIZE - payload_size);
	batch_header_encode(batch, &header);
	error = vfs->write(vfs->context, file->current, batch, size, file->offset);
	*is_full = can_retry(error);
	if (*is_full)
		return failed(why, "write", name, error);
	if (error == 0)
		error = vfs->sync(vfs->context, file->current);
	file->needs_mark = error == 0 && kind == BATCH_OPERATIONS;
	if (error < 0) {
		close_current(file);
		return failed(why, "write", name, error);
	}
	file->offset += size;
	file->next += count;
	return true;
}

bool journal_file_append(struct journal_file *file, uint8_t *batch, size_t payload_size,
			 uint32_t count, bool *is_full, char why[JOURNAL_WHY_SIZE]) {
	bool has_begun;

	*is_full = false;
	assert(batch_size(payload_size) <= journal_file_segment_room(file));
	has_begun = batch_size(payload_size) <= journal_file_room(file) ||
		    begin_segment(file, file->next, is_full, why);
	if (has_begun && (!file->is_manifest_due || write_manifest(file, 0, is_full, why)))
		return write_batch(file, BATCH_OPERATIONS, batch, payload_size, count, is_full,
				   why);
	if (!*is_full)
		file->needs_mark = false;
	return false;
}

/* False: `why`. */
static bool is_linked(const struct journal_file *file, int opened, const char *name,
		      char why[JOURNAL_WHY_SIZE]) {
	if (opened < 0 || file->vfs->is_linked(file->vfs->context, opened, name))
		return true;
	(void)snprintf(why, JOURNAL_WHY_SIZE,
		       "%s was removed or replaced, or its directory was, while kvd runs", name);
	return false;
}

bool journal_file_is_there(const struct journal_file *file, char why[JOURNAL_WHY_SIZE]) {
	char name[VFS_NAME_MAX];

	segment_name(file->header.number, name);
	return is_linked(file, file->manifest_file, manifest_name, why) &&
	       is_linked(file, file->current, name, why);
}

/* --- The end of segments, and of it all ---------------------------------------------------------
 */

void journal_file_truncate(struct journal_file *file, uint64_t position) {
	struct vfs *vfs = file->vfs;

	/* A segment is no longer needed once the next one begins at or before what is needed. */
	while (file->first_segment < file->last_segment && file->firsts[1] <= position + 1) {
		uint64_t count = file->last_segment - file->first_segment;
		char name[VFS_NAME_MAX];

		segment_name(file->first_segment, name);
		if (vfs->remove(vfs->context, name) < 0)
			break;
		memmove(file->firsts, file->firsts + 1, count * sizeof(*file->firsts));
		file->first_segment++;
	}
	(void)vfs->sync_names(vfs->context);
}

/*
 * Without space for the mark the next start takes the stop for a crash, and nothing is lost; so the
 * errors do not matter.
 */
static void mark_stop(struct journal_file *file) {
	uint8_t end[BATCH_HEADER_SIZE + BATCH_ALIGNMENT];
	char why[JOURNAL_WHY_SIZE];
	bool is_full;

	if (journal_file_room(file) < batch_size(0) &&
	    (!file->is_spare_ready || !begin_segment(file, file->next, &is_full, why)))
		return;
	if (!write_batch(file, BATCH_END, end, 0, 0, &is_full, why))
		return;
	(void)write_manifest(file, file->offset, &is_full, why);
}

static void close_file(struct vfs *vfs, int file) {
	if (file >= 0)
		vfs->close(vfs->context, file);
}

void journal_file_close(struct journal_file *file, bool is_clean) {
	if (file == NULL)
		return;
	if (is_clean && file->needs_mark)
		mark_stop(file);
	close_current(file);
	close_file(file->vfs, file->spare);
	close_file(file->vfs, file->manifest_file);
	(void)file->vfs->remove(file->vfs->context, spare_name);
	free(file->firsts);
	free(file);
}

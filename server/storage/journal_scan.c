/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage/numbered_files.h"

enum {
	READ_AHEAD = 1 << 20, /* bytes */
};

/*
 * The segment that is being read. After a crash there is little in one: what lies behind its
 * batches is not read unless it is looked at.
 */
struct segment {
	char name[VFS_NAME_MAX];
	struct segment_header header;
	int file;	/* open while this one is read, or -1 */
	uint8_t *bytes; /* room for all of it ... */
	uint64_t have;	/* ... and so many have been read ... */
	uint64_t used;	/* ... of which those behind this are zeros */
	uint64_t size;	/* of the file */
	int64_t error;	/* of the first read that failed: negative errno; else 0 */
};

struct reader {
	struct vfs *vfs;
	uint64_t after;
	journal_apply *apply;
	journal_segment *segment_found; /* may be NULL */
	void *context;
	struct journal_found *found;
	struct journal_end *end;
	char *why;

	/* Where the segment before this one ends. */
	char before[VFS_NAME_MAX];
	uint64_t before_offset;
};

static bool no_memory(const struct reader *reader) {
	(void)snprintf(reader->why, JOURNAL_WHY_SIZE, "no memory for what the journal holds");
	return false;
}

/* --- Which segments there are -------------------------------------------------------------------
 */

/* Segments have numbers from 1. */
static int list_segments(struct vfs *vfs, struct number_list *list) {
	int error = numbered_list(vfs, segment_prefix, list);

	if (list->count > 0 && list->numbers[0] == 0)
		memmove(list->numbers, list->numbers + 1, --list->count * sizeof(*list->numbers));
	return error;
}

/*
 * The segments that follow each other up to the last. What stands before a gap was forgotten: of
 * the names removed then, the directory may have lost some and kept others. If more is missing
 * than that, the positions tell.
 */
static bool choose_segments(struct reader *reader) {
	struct journal_end *end = reader->end;
	struct number_list listing;
	int error = list_segments(reader->vfs, &listing);
	size_t first = listing.count;

	end->stale = listing.numbers;
	if (error < 0) {
		(void)snprintf(reader->why, JOURNAL_WHY_SIZE, "cannot list the directory: %s",
			       strerror(-error));
		return false;
	}
	end->firsts = calloc(listing.count + 1, sizeof(*end->firsts));
	if (end->firsts == NULL)
		return no_memory(reader);
	if (listing.count == 0)
		return true;
	do
		first--;
	while (first > 0 && listing.numbers[first - 1] + 1 == listing.numbers[first]);
	end->stale_count = first;
	end->first_segment = listing.numbers[first];
	end->last_segment = listing.numbers[listing.count - 1];
	reader->found->segments = listing.count - first;
	reader->found->first_segment = end->first_segment;
	reader->found->last_segment = end->last_segment;
	return true;
}

/* The manifest, before the segments are read. */
static bool check_manifest(struct reader *reader) {
	struct journal_end *end = reader->end;
	const struct manifest *manifest = &end->manifest;
	char name[VFS_NAME_MAX];

	if (!manifest_read(reader->vfs, &end->manifest, reader->why))
		return false;
	if (manifest->sequence == 0)
		return true;
	end->has_store = true;
	memcpy(end->store, manifest->store, STORE_ID_SIZE);
	if (end->last_segment >= manifest->segment)
		return true;
	segment_name(manifest->segment, name);
	(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
		       "%s is missing, and with it acknowledged writes: put it back, or restore a "
		       "copy of the directory",
		       name);
	return false;
}

/* --- One segment --------------------------------------------------------------------------------
 */

static bool damaged(const struct reader *reader, const char *name, uint64_t offset,
		    const char *what) {
	(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
		       "%s is damaged at offset %" PRIu64 ": %s; restore a copy of the directory",
		       name, offset, what);
	return false;
}

/* `size` bytes of it were there, and the file has `file_size`. */
static bool check_header(struct reader *reader, uint64_t number, struct segment *segment,
			 const uint8_t bytes[SEGMENT_HEADER_SIZE], int64_t size,
			 int64_t file_size) {
	struct journal_end *end = reader->end;

	if (size < SEGMENT_HEADER_SIZE || !segment_header_decode(bytes, &segment->header))
		return damaged(reader, segment->name, 0, "its header is not what was written");
	if (segment->header.format < JOURNAL_FORMAT_MIN ||
	    segment->header.format > JOURNAL_FORMAT) {
		(void)snprintf(
		    reader->why, JOURNAL_WHY_SIZE,
		    "%s has format %" PRIu32 ", and this kvd knows %d to %d: use the kvd "
		    "that wrote it",
		    segment->name, segment->header.format, JOURNAL_FORMAT_MIN, JOURNAL_FORMAT);
		return false;
	}
	if (segment->header.number != number)
		return damaged(reader, segment->name, 0, "it is another segment under this name");
	if (end->has_store && memcmp(end->store, segment->header.store, STORE_ID_SIZE) != 0)
		return damaged(reader, segment->name, 0,
			       number == end->first_segment
				   ? "it belongs to another store than the manifest"
				   : "it belongs to another store than the one before it");
	if ((uint64_t)file_size > segment->header.size)
		return damaged(reader, segment->name, segment->header.size,
			       "the file goes on behind its end");
	end->has_store = true;
	memcpy(end->store, segment->header.store, STORE_ID_SIZE);
	return true;
}

static bool unreadable(const struct reader *reader, const struct segment *segment, int64_t error) {
	(void)snprintf(reader->why, JOURNAL_WHY_SIZE, "cannot read %s: %s", segment->name,
		       strerror((int)-error));
	return false;
}

/* The header is judged first, because a file that is not a segment may have any size. */
static bool load_header(struct reader *reader, uint64_t number, struct segment *segment) {
	const struct vfs *vfs = reader->vfs;
	uint8_t header[SEGMENT_HEADER_SIZE];
	int64_t size = vfs->size(vfs->context, segment->file);
	int64_t got =
	    size < 0 ? size : vfs->read(vfs->context, segment->file, header, sizeof(header), 0);

	if (got < 0)
		return unreadable(reader, segment, got);
	if (!check_header(reader, number, segment, header, got, size))
		return false;
	segment->bytes = malloc((size_t)size + 1);
	if (segment->bytes == NULL)
		return unreadable(reader, segment, -ENOMEM);
	segment->size = (uint64_t)size;
	return true;
}

static bool segment_open(struct reader *reader, uint64_t number, struct segment *segment) {
	const struct vfs *vfs = reader->vfs;

	*segment = (struct segment){.bytes = NULL};
	segment_name(number, segment->name);
	segment->file = vfs->open(vfs->context, segment->name, VFS_READ);
	if (segment->file < 0)
		return unreadable(reader, segment, segment->file);
	return load_header(reader, number, segment);
}

static void segment_close(const struct reader *reader, struct segment *segment) {
	if (segment->file >= 0)
		reader->vfs->close(reader->vfs->context, segment->file);
	free(segment->bytes);
}

/*
 * Zeros fill the rest of the last segment: their pages, which read as zeros again, are given back,
 * so that a start needs no memory for them. False: there is another byte.
 */
static bool drop_zeros(uint8_t *bytes, size_t size) {
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t before = (page - (uintptr_t)bytes % page) % page;
	size_t whole = size > before ? (size - before) / page * page : 0;

	if (size > 0 && (bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0))
		return false;
	if (whole > 0)
		(void)madvise(bytes + before, whole, MADV_DONTNEED);
	return true;
}

/* Has the bytes before `end` in memory. False: the file ends sooner, or `segment->error`. */
static bool reach(const struct reader *reader, struct segment *segment, uint64_t end) {
	const struct vfs *vfs = reader->vfs;

	while (end > segment->have && end <= segment->size && segment->error == 0) {
		uint64_t left = segment->size - segment->have;
		uint64_t size = READ_AHEAD < left ? READ_AHEAD : left;
		int64_t got = vfs->read(vfs->context, segment->file, segment->bytes + segment->have,
					size, segment->have);

		if (got < 0)
			segment->error = got;
		else {
			bool is_zero = drop_zeros(segment->bytes + segment->have, (size_t)got);
			segment->have += (uint64_t)got;
			if (!is_zero)
				segment->used = segment->have;
		}
		/* Cut off since it was asked for its size. */
		if (got >= 0 && (uint64_t)got < size)
			segment->size = segment->have;
	}
	return end <= segment->have;
}

/* The header of a batch of this segment at an offset. False also after a `segment->error`. */
static bool find_header(const struct reader *reader, struct segment *segment, uint64_t offset,
			struct batch_header *header) {
	return reach(reader, segment, offset + BATCH_HEADER_SIZE) &&
	       batch_header_decode(segment->bytes + offset, header) &&
	       header->salt == segment->header.salt && header->segment == segment->header.number &&
	       header->offset == offset;
}

/* A complete batch. False also after a `segment->error`. */
static bool find_batch(const struct reader *reader, struct segment *segment, uint64_t offset,
		       struct batch_header *header) {
	return find_header(reader, segment, offset, header) &&
	       reach(reader, segment, offset + batch_size(header->payload_size)) &&
	       batch_checksum_ok(segment->bytes + offset, header);
}

/* Hands over the operations of a batch that the caller does not know yet. */
static bool read_batch(struct reader *reader, const struct segment *segment, uint64_t offset,
		       const struct batch_header *header) {
	struct kv_bytes left = {segment->bytes + offset + BATCH_HEADER_SIZE, header->payload_size};

	for (uint32_t i = 0; i < header->count; i++) {
		uint64_t position = header->first + i;
		struct operation operation;
		struct decoded_txn txn;
		uint64_t time_ms;
		size_t size = operation_decode(left, &operation, &txn, &time_ms);

		if (size == 0)
			return damaged(reader, segment->name, offset,
				       "a batch holds what is no operation");
		left = (struct kv_bytes){(const uint8_t *)left.data + size, left.size - size};
		if (position <= reader->after)
			continue;
		if (!reader->apply(reader->context, position, &operation, time_ms))
			return no_memory(reader);
		reader->found->operations++;
	}
	return left.size == 0 ||
	       damaged(reader, segment->name, offset, "a batch holds more than it says");
}

/* Remembers where the last batch lies. */
static void note_batch(struct reader *reader, const struct segment *segment, uint64_t offset,
		       const struct batch_header *header) {
	reader->found->was_stopped = header->kind == BATCH_END;
	reader->end->next += header->count;
	reader->end->last_batch.segment = segment->header.number;
	reader->end->last_batch.offset = offset;
	reader->end->last_batch.size = batch_size(header->payload_size);
}

/*
 * Reads batches as far as they follow each other. Answers in *offset where the first one that is
 * not whole would be.
 */
static bool read_batches(struct reader *reader, struct segment *segment, uint64_t *offset) {
	struct batch_header header;

	*offset = SEGMENT_HEADER_SIZE;
	while (find_batch(reader, segment, *offset, &header)) {
		if (header.first != reader->end->next)
			return damaged(reader, segment->name, *offset,
				       "a batch does not follow the one before it");
		if (header.kind == BATCH_OPERATIONS &&
		    !read_batch(reader, segment, *offset, &header))
			return false;
		note_batch(reader, segment, *offset, &header);
		*offset += batch_size(header.payload_size);
	}
	return segment->error == 0 || unreadable(reader, segment, segment->error);
}

/* Keeps the bytes of the last batch, if it lies in this segment. */
static bool keep_last(struct reader *reader, const struct segment *segment) {
	struct last_batch *last = &reader->end->last_batch;

	reader->end->is_last_empty = last->size == 0 || last->segment != segment->header.number;
	if (reader->end->is_last_empty)
		return true;
	free(last->bytes);
	last->bytes = malloc(last->size);
	if (last->bytes == NULL)
		return no_memory(reader);
	memcpy(last->bytes, segment->bytes + last->offset, last->size);
	return true;
}

/* Behind the last byte of a segment, from `offset` on, that is not zero; or `offset`. */
static uint64_t end_of_bytes(const struct segment *segment, uint64_t offset) {
	uint64_t end = segment->used > offset ? segment->used : offset;

	while (end > offset && segment->bytes[end - 1] == 0)
		end--;
	return end;
}

/*
 * What the last segment holds behind its batches. A crash leaves part of one batch, on zeros,
 * because each is durable before the next one is written; after a clean stop there is nothing. All
 * else is damage.
 */
static bool check_rest(struct reader *reader, struct segment *segment, uint64_t offset) {
	const struct batch_header expected = {.salt = segment->header.salt,
					      .segment = segment->header.number,
					      .offset = offset,
					      .first = reader->end->next};
	enum batch_trace trace = TRACE_NONE;
	struct batch_header header;
	uint64_t end;

	if (!reach(reader, segment, segment->size) && segment->error != 0)
		return unreadable(reader, segment, segment->error);
	if (segment->size < segment->header.size)
		reader->found->missing = segment->header.size - segment->size;
	end = end_of_bytes(segment, offset);
	reader->found->torn = end - offset;
	if (end == offset)
		return true;
	if (reader->found->was_stopped)
		return damaged(reader, segment->name, offset,
			       "something was written behind the mark of a clean stop");
	for (uint64_t at = offset + BATCH_ALIGNMENT; at + BATCH_HEADER_SIZE <= end;
	     at += BATCH_ALIGNMENT)
		if (find_header(reader, segment, at, &header))
			return damaged(reader, segment->name, offset,
				       "a batch is not whole, and a later one was begun");
	if (offset + BATCH_HEADER_SIZE <= segment->size)
		trace = batch_header_trace(segment->bytes + offset, &expected);
	if (trace == TRACE_OTHER)
		return damaged(reader, segment->name, offset,
			       "the header of a batch is not what was written");
	if (trace == TRACE_COMPLETE && (!batch_header_decode(segment->bytes + offset, &header) ||
					end > offset + batch_size(header.payload_size)))
		return damaged(reader, segment->name, offset,
			       "a batch is not whole, and something was written behind it");
	return true;
}

/* Of the first segment: nothing is handed over if what comes before it is missing. */
static bool check_begins(const struct reader *reader) {
	uint64_t first = reader->found->first;
	char name[VFS_NAME_MAX];

	if (first <= reader->after + 1)
		return true;
	segment_name(reader->end->first_segment - 1, name);
	(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
		       "%s is missing, and with it the operations up to %" PRIu64
		       ": put it back, or restore a copy of the directory",
		       name, first - 1);
	return false;
}

static bool check_follows(struct reader *reader, const struct segment *segment) {
	uint64_t first = segment->header.first;
	uint64_t next = reader->end->next;

	if (first == next)
		return true;
	return first > next
		   ? damaged(reader, reader->before, reader->before_offset,
			     "a batch is not whole, and the next segment goes on behind it")
		   : damaged(reader, segment->name, 0, "it begins before the one before it ends");
}

/* Of the segment that a clean stop ended: its batches end where they ended then. */
static bool check_stop(struct reader *reader, const struct segment *segment, uint64_t offset) {
	const struct manifest *manifest = &reader->end->manifest;

	return manifest->segment != segment->header.number || manifest->end == 0 ||
	       manifest->end == offset ||
	       damaged(reader, segment->name, offset,
		       "kvd was stopped cleanly, and more had been written by then");
}

static bool read_segment(struct reader *reader, uint64_t number) {
	struct journal_end *end = reader->end;
	struct segment segment;
	uint64_t offset = 0;
	bool good = segment_open(reader, number, &segment);

	if (good && number == end->first_segment) {
		end->next = reader->found->first = segment.header.first;
		good = check_begins(reader);
	}
	if (good)
		end->firsts[number - end->first_segment] = segment.header.first;
	/* A mark in the segment before does not count any more. */
	reader->found->was_stopped = false;
	good = good && check_follows(reader, &segment) && read_batches(reader, &segment, &offset) &&
	       check_stop(reader, &segment, offset) && keep_last(reader, &segment);
	end->end = offset;
	if (good && number == end->last_segment)
		good = check_rest(reader, &segment, offset);
	if (good && reader->segment_found != NULL)
		reader->segment_found(reader->context, segment.name, segment.size,
				      segment.header.first, end->next - 1);
	memcpy(reader->before, segment.name, sizeof(reader->before));
	reader->before_offset = offset;
	segment_close(reader, &segment);
	return good;
}

/* A snapshot is made of a journal that goes at least as far. */
static bool check_reaches(const struct reader *reader) {
	const struct journal_found *found = reader->found;
	char segment[VFS_NAME_MAX];

	segment_name(found->last_segment, segment);
	if (reader->after > 0 && found->segments == 0)
		(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
			       "there is a snapshot up to operation %" PRIu64
			       ", and no journal: restore a copy of the directory",
			       reader->after);
	else if (found->last < reader->after)
		(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
			       "the journal ends at operation %" PRIu64
			       " (%s), and the snapshot goes up to %" PRIu64
			       ": restore a copy of the directory",
			       found->last, segment, reader->after);
	else
		return true;
	return false;
}

bool journal_read(struct vfs *vfs, uint64_t after, journal_apply *apply, journal_segment *segment,
		  void *context, struct journal_found *found, struct journal_end *end,
		  char why[JOURNAL_WHY_SIZE]) {
	struct reader reader = {.vfs = vfs,
				.after = after,
				.apply = apply,
				.segment_found = segment,
				.context = context,
				.found = found,
				.end = end,
				.why = why};

	*found = (struct journal_found){.last = after};
	*end = (struct journal_end){.next = after + 1};
	if (!choose_segments(&reader) || !check_manifest(&reader))
		return false;
	for (uint64_t i = 0; i < found->segments; i++) {
		if (!read_segment(&reader, end->first_segment + i))
			return false;
		found->last = end->next - 1;
	}
	return check_reaches(&reader);
}

void journal_scan_free(struct journal_end *end) {
	free(end->firsts);
	free(end->stale);
	free(end->last_batch.bytes);
	end->firsts = end->stale = NULL;
	end->last_batch.bytes = NULL;
}

static bool read_manifest_store_id(struct vfs *vfs, uint8_t store[STORE_ID_SIZE]) {
	struct manifest manifest;
	char why[MANIFEST_WHY_SIZE];

	if (!manifest_read(vfs, &manifest, why) || manifest.sequence == 0)
		return false;
	memcpy(store, manifest.store, STORE_ID_SIZE);
	return true;
}

bool journal_read_store_id(struct vfs *vfs, uint8_t store[STORE_ID_SIZE]) {
	struct number_list list;
	struct segment_header header;
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	char name[VFS_NAME_MAX];
	int64_t got = 0;
	int file = -ENOENT;

	if (list_segments(vfs, &list) == 0 && list.count > 0) {
		segment_name(list.numbers[list.count - 1], name);
		file = vfs->open(vfs->context, name, VFS_READ);
	}
	free(list.numbers);
	if (file >= 0) {
		got = vfs->read(vfs->context, file, bytes, sizeof(bytes), 0);
		vfs->close(vfs->context, file);
	}
	if (got != (int64_t)sizeof(bytes) || !segment_header_decode(bytes, &header))
		return read_manifest_store_id(vfs, store);
	memcpy(store, header.store, STORE_ID_SIZE);
	return true;
}

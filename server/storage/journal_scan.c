/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/operation_codec.h"
#include "storage/snapshot.h"

enum {
	NUMBER_DIGITS = 16,
	READ_AHEAD = 1 << 20, /* bytes */
};

static const char name_start[] = "journal-";

void segment_name(uint64_t number, char name[DISK_NAME_MAX]) {
	(void)snprintf(name, DISK_NAME_MAX, "%s%016" PRIx64, name_start, number);
}

bool segment_number(const char *name, uint64_t *number) {
	const char *digits = name + strlen(name_start);
	char again[DISK_NAME_MAX];

	if (strncmp(name, name_start, strlen(name_start)) != 0 || strlen(digits) != NUMBER_DIGITS)
		return false;
	*number = strtoull(digits, NULL, 16);
	segment_name(*number, again);
	return *number > 0 && strcmp(name, again) == 0;
}

/*
 * The segment that is being read. After a crash there is little in one: what lies behind its
 * batches is not read unless it is looked at.
 */
struct segment {
	char name[DISK_NAME_MAX];
	struct segment_header header;
	int file;	/* open while this one is read, or -1 */
	uint8_t *bytes; /* room for all of it ... */
	uint64_t have;	/* ... and so many have been read */
	uint64_t size;	/* of the file */
	int64_t error;	/* of the first read that failed: negative errno; else 0 */
};

struct reader {
	struct disk *disk;
	uint64_t after;
	journal_apply *apply;
	journal_segment *tell; /* may be NULL */
	void *context;
	struct journal_found *found;
	struct journal_end *end;
	char *why;

	/* Where the segment before this one ends, for whoever finds that too soon. */
	char before[DISK_NAME_MAX];
	uint64_t before_offset;
};

static bool no_memory(const struct reader *reader) {
	(void)snprintf(reader->why, JOURNAL_WHY_SIZE, "no memory for what the journal holds");
	return false;
}

/* --- Which segments there are -------------------------------------------------------------------
 */

struct listing {
	uint64_t *numbers; /* owned */
	size_t count;
	size_t capacity;
	bool is_short; /* of memory */
};

static bool add_name(void *context, const char *name) {
	struct listing *listing = context;
	uint64_t number;

	if (!segment_number(name, &number))
		return true;
	if (listing->count == listing->capacity) {
		size_t capacity = 2 * listing->capacity + 16;
		uint64_t *numbers = realloc(listing->numbers, capacity * sizeof(*listing->numbers));

		listing->is_short = numbers == NULL;
		if (numbers == NULL)
			return false;
		listing->numbers = numbers;
		listing->capacity = capacity;
	}
	listing->numbers[listing->count++] = number;
	return true;
}

static int compare_numbers(const void *one, const void *other) {
	uint64_t a = *(const uint64_t *)one;
	uint64_t b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

/* In order. 0, or a negative errno; `listing->numbers` is to be freed in any case. */
static int list_segments(struct disk *disk, struct listing *listing) {
	int error = disk->list(disk->context, add_name, listing);

	if (error == 0 && listing->is_short)
		error = -ENOMEM;
	if (error == 0 && listing->count > 0)
		qsort(listing->numbers, listing->count, sizeof(*listing->numbers), compare_numbers);
	return error;
}

/*
 * The segments that follow each other up to the last. What stands before a gap was forgotten: of
 * the names removed then, the directory may have lost some and kept others. If more is missing
 * than that, the positions tell.
 */
static bool choose_segments(struct reader *reader) {
	struct journal_end *end = reader->end;
	struct listing listing = {.numbers = NULL};
	int error = list_segments(reader->disk, &listing);
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
	if (segment->header.format != JOURNAL_FORMAT) {
		(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
			       "%s has format %" PRIu32
			       ", and this kvd knows format %d: use the kvd "
			       "that wrote it",
			       segment->name, segment->header.format, JOURNAL_FORMAT);
		return false;
	}
	if (segment->header.number != number)
		return damaged(reader, segment->name, 0, "it is another segment under this name");
	if (end->has_store && memcmp(end->store, segment->header.store, STORE_ID_SIZE) != 0)
		return damaged(reader, segment->name, 0,
			       "it belongs to another store than the one before it");
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

/* The header is judged first: who knows how large a file is that is no segment. */
static bool load_header(struct reader *reader, uint64_t number, struct segment *segment) {
	const struct disk *disk = reader->disk;
	uint8_t header[SEGMENT_HEADER_SIZE];
	int64_t size = disk->size(disk->context, segment->file);
	int64_t got =
	    size < 0 ? size : disk->read(disk->context, segment->file, header, sizeof(header), 0);

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
	const struct disk *disk = reader->disk;

	*segment = (struct segment){.bytes = NULL};
	segment_name(number, segment->name);
	segment->file = disk->open(disk->context, segment->name, DISK_READ);
	if (segment->file < 0)
		return unreadable(reader, segment, segment->file);
	return load_header(reader, number, segment);
}

static void segment_close(const struct reader *reader, struct segment *segment) {
	if (segment->file >= 0)
		reader->disk->close(reader->disk->context, segment->file);
	free(segment->bytes);
}

/* Has the bytes before `end` in memory. False: the file ends sooner, or `segment->error`. */
static bool reach(const struct reader *reader, struct segment *segment, uint64_t end) {
	const struct disk *disk = reader->disk;

	while (end > segment->have && end <= segment->size && segment->error == 0) {
		uint64_t left = segment->size - segment->have;
		uint64_t wanted =
		    end - segment->have > READ_AHEAD ? end - segment->have : READ_AHEAD;
		uint64_t size = wanted < left ? wanted : left;
		int64_t got = disk->read(disk->context, segment->file,
					 segment->bytes + segment->have, size, segment->have);

		if (got < 0)
			segment->error = got;
		else
			segment->have += (uint64_t)got;
		/* Cut off since it was asked for its size. */
		if (got >= 0 && (uint64_t)got < size)
			segment->size = segment->have;
	}
	return end <= segment->have;
}

/*
 * The batch of this segment at an offset, if a whole one lies there; false also if it cannot be
 * read (`segment->error`).
 */
static bool find_batch(const struct reader *reader, struct segment *segment, uint64_t offset,
		       struct batch_header *header) {
	return reach(reader, segment, offset + BATCH_HEADER_SIZE) &&
	       batch_header_decode(segment->bytes + offset, header) &&
	       header->salt == segment->header.salt && header->segment == segment->header.number &&
	       header->offset == offset &&
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
		uint64_t time_ms;
		size_t size = operation_decode(left, &operation, &time_ms);

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

/*
 * One batch is on its way at a time, and none after the end mark: so a whole batch behind one that
 * is not means damage, and not a crash, and so does a torn one behind an end mark.
 */
static bool check_rest(struct reader *reader, struct segment *segment, uint64_t offset) {
	struct batch_header header;
	uint64_t left;

	for (uint64_t at = offset + BATCH_ALIGNMENT; at + BATCH_HEADER_SIZE <= segment->size;
	     at += BATCH_ALIGNMENT)
		if (find_batch(reader, segment, at, &header))
			return damaged(reader, segment->name, offset,
				       "a batch is not whole, and a later one is");
	if (segment->error != 0)
		return unreadable(reader, segment, segment->error);
	left = segment->size - offset;
	if (left >= BATCH_HEADER_SIZE && batch_header_decode(segment->bytes + offset, &header) &&
	    header.salt == segment->header.salt && header.offset == offset) {
		uint64_t torn = batch_size(header.payload_size);

		if (reader->found->was_stopped)
			return damaged(reader, segment->name, offset,
				       "something was written behind the mark of a clean stop");
		reader->found->torn = torn < left ? torn : left;
	}
	if (segment->size < segment->header.size)
		reader->found->missing = segment->header.size - segment->size;
	return true;
}

/* Of the first segment: nothing is handed over if what comes before it is missing. */
static bool check_begins(const struct reader *reader) {
	uint64_t first = reader->found->first;
	char name[DISK_NAME_MAX];

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
	/* Whoever began another segment went on behind the mark. */
	reader->found->was_stopped = false;
	good = good && check_follows(reader, &segment) && read_batches(reader, &segment, &offset) &&
	       keep_last(reader, &segment);
	if (good && number == end->last_segment)
		good = check_rest(reader, &segment, offset);
	if (good && reader->tell != NULL)
		reader->tell(reader->context, segment.name, segment.size, segment.header.first,
			     end->next - 1);
	memcpy(reader->before, segment.name, sizeof(reader->before));
	reader->before_offset = offset;
	segment_close(reader, &segment);
	return good;
}

/* A snapshot comes from a journal that goes at least as far. */
static bool check_ends(const struct reader *reader) {
	const struct journal_found *found = reader->found;
	char snapshot[DISK_NAME_MAX];
	char segment[DISK_NAME_MAX];

	snapshot_name(reader->after, snapshot);
	segment_name(found->last_segment, segment);
	if (reader->after > 0 && found->segments == 0)
		(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
			       "there is %s, and no journal: restore a copy of the directory",
			       snapshot);
	else if (found->last < reader->after)
		(void)snprintf(reader->why, JOURNAL_WHY_SIZE,
			       "the journal ends at operation %" PRIu64
			       " (%s), before the snapshot's %" PRIu64
			       " (%s): restore a copy of the directory",
			       found->last, segment, reader->after, snapshot);
	else
		return true;
	return false;
}

bool journal_read(struct disk *disk, uint64_t after, journal_apply *apply, journal_segment *segment,
		  void *context, struct journal_found *found, struct journal_end *end,
		  char why[JOURNAL_WHY_SIZE]) {
	struct reader reader = {.disk = disk,
				.after = after,
				.apply = apply,
				.tell = segment,
				.context = context,
				.found = found,
				.end = end,
				.why = why};

	*found = (struct journal_found){.last = after};
	*end = (struct journal_end){.next = after + 1};
	if (!choose_segments(&reader))
		return false;
	for (uint64_t i = 0; i < found->segments; i++) {
		if (!read_segment(&reader, end->first_segment + i))
			return false;
		found->last = end->next - 1;
	}
	return check_ends(&reader);
}

void journal_scan_free(struct journal_end *end) {
	free(end->firsts);
	free(end->stale);
	free(end->last_batch.bytes);
	end->firsts = end->stale = NULL;
	end->last_batch.bytes = NULL;
}

bool journal_read_store_id(struct disk *disk, uint8_t store[STORE_ID_SIZE]) {
	struct listing listing = {.numbers = NULL};
	struct segment_header header;
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	char name[DISK_NAME_MAX];
	int64_t got;
	int file;

	if (list_segments(disk, &listing) < 0 || listing.count == 0) {
		free(listing.numbers);
		return false;
	}
	segment_name(listing.numbers[listing.count - 1], name);
	free(listing.numbers);
	file = disk->open(disk->context, name, DISK_READ);
	if (file < 0)
		return false;
	got = disk->read(disk->context, file, bytes, sizeof(bytes), 0);
	disk->close(disk->context, file);
	if (got != (int64_t)sizeof(bytes) || !segment_header_decode(bytes, &header))
		return false;
	memcpy(store, header.store, STORE_ID_SIZE);
	return true;
}

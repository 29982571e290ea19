/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/journal_format.h"
#include "le.h"

static const char magic[8] = {'k', 'v', 'd', 's', 'n', 'a', 'p', '1'};
static const char name_start[] = "snapshot-";
static const char temporary_name[] = "snapshot.tmp";

enum {
	NAME_DIGITS = 16,
	HEADER_SIZE = 64,
	AT_CHECKSUM = 8, /* in the header */
	AT_CHECKED = 12,
	CHUNK_HEAD_SIZE = 8,
	CHUNK_MAX = 256 * 1024,
	TOTAL_SIZE = 8,
	/* Written and not synced, at most: the journal's syncs must not wait behind more. */
	SYNC_EVERY = 16 << 20,
};

static const uint64_t journal_least = 64 << 20; /* bytes: see snapshot_is_due() */

/* --- Names --------------------------------------------------------------------------------------
 */

void snapshot_name(uint64_t position, char name[DISK_NAME_MAX]) {
	(void)snprintf(name, DISK_NAME_MAX, "%s%016" PRIx64, name_start, position);
}

bool snapshot_position(const char *name, uint64_t *position) {
	static const char digits[] = "0123456789abcdef";
	const char *next = name + sizeof(name_start) - 1;

	if (strncmp(name, name_start, sizeof(name_start) - 1) != 0 || strlen(next) != NAME_DIGITS ||
	    strspn(next, digits) != NAME_DIGITS)
		return false;
	*position = strtoull(next, NULL, 16);
	return true;
}

/* The newest ones, newest first; `kept` is left out. */
struct listing {
	uint64_t *positions;
	int count;
	bool leaves_out;
	uint64_t kept;
};

static bool list_name(void *context, const char *name) {
	struct listing *listing = context;
	uint64_t position;
	int at;

	if (!snapshot_position(name, &position) ||
	    (listing->leaves_out && position == listing->kept))
		return true;
	if (listing->count < SNAPSHOTS_MAX)
		listing->count++;
	else if (position < listing->positions[SNAPSHOTS_MAX - 1])
		return true;
	for (at = listing->count - 1; at > 0 && listing->positions[at - 1] < position; at--)
		listing->positions[at] = listing->positions[at - 1];
	listing->positions[at] = position;
	return true;
}

int snapshot_list(struct disk *disk, uint64_t positions[SNAPSHOTS_MAX]) {
	struct listing listing = {.positions = positions};
	int error = disk->list(disk->context, list_name, &listing);

	return error < 0 ? error : listing.count;
}

int snapshot_remove_others(struct disk *disk, uint64_t position) {
	uint64_t positions[SNAPSHOTS_MAX];
	struct listing listing;

	do {
		listing = (struct listing){
		    .positions = positions,
		    .leaves_out = true,
		    .kept = position,
		};
		int error = disk->list(disk->context, list_name, &listing);
		for (int i = 0; i < listing.count && error == 0; i++) {
			char name[DISK_NAME_MAX];

			snapshot_name(positions[i], name);
			error = disk->remove(disk->context, name);
		}
		if (error < 0)
			return error;
	} while (listing.count == SNAPSHOTS_MAX);
	return 0;
}

int snapshot_discard(struct disk *disk) {
	int error = disk->remove(disk->context, temporary_name);

	return error == -ENOENT ? 0 : error;
}

enum snapshot_publication snapshot_publish(struct disk *disk, uint64_t position, int *error) {
	char name[DISK_NAME_MAX];

	snapshot_name(position, name);
	*error = disk->rename(disk->context, temporary_name, name);
	/* After an input/output error nobody knows whether the name is there. */
	if (*error < 0)
		return *error == -EIO ? PUBLISH_UNKNOWN : PUBLISH_REFUSED;
	*error = disk->sync_names(disk->context);
	return *error < 0 ? PUBLISH_UNKNOWN : PUBLISH_DONE;
}

bool snapshot_is_due(uint64_t journal_bytes, uint64_t snapshot_bytes) {
	return journal_bytes > (snapshot_bytes > journal_least ? snapshot_bytes : journal_least);
}

/* --- Writing ------------------------------------------------------------------------------------
 */

/* `chunk` has room for a head and CHUNK_MAX bytes, of which `used` are there. */
struct writer {
	struct disk *disk;
	int file;
	int error; /* a negative errno, of the first thing that failed */
	uint64_t offset;
	uint64_t unsynced;
	uint64_t total; /* bytes of the state */
	uint32_t checksum;
	uint8_t *chunk;
	size_t used;
	snapshot_progress *progress;
	void *context;
};

static bool write_next(struct writer *writer, const void *data, size_t size) {
	struct disk *disk = writer->disk;

	writer->error = disk->write(disk->context, writer->file, data, size, writer->offset);
	if (writer->error < 0)
		return false;
	writer->offset += size;
	writer->unsynced += size;
	if (writer->unsynced >= SYNC_EVERY) {
		writer->error = disk->sync(disk->context, writer->file);
		writer->unsynced = 0;
	}
	if (writer->progress != NULL)
		writer->progress(writer->context, writer->offset, 0);
	return writer->error == 0;
}

static uint32_t chunk_checksum(uint32_t before, const uint8_t *chunk, size_t size) {
	return crc32c(crc32c(before, chunk, 4), chunk + CHUNK_HEAD_SIZE, size);
}

static bool write_chunk(struct writer *writer) {
	uint8_t *chunk = writer->chunk;
	size_t size = writer->used;

	le_put32(chunk, (uint32_t)size);
	writer->checksum = chunk_checksum(writer->checksum, chunk, size);
	le_put32(chunk + 4, writer->checksum);
	writer->total += size;
	writer->used = 0;
	return write_next(writer, chunk, CHUNK_HEAD_SIZE + size);
}

static bool put(void *context, const void *data, size_t size) {
	struct writer *writer = context;
	const uint8_t *next = data;

	while (size > 0) {
		size_t room = CHUNK_MAX - writer->used;
		size_t piece = size < room ? size : room;

		memcpy(writer->chunk + CHUNK_HEAD_SIZE + writer->used, next, piece);
		writer->used += piece;
		next += piece;
		size -= piece;
		if (writer->used == CHUNK_MAX && !write_chunk(writer))
			return false;
	}
	return true;
}

static bool write_header(struct writer *writer, const struct service *service, uint64_t position) {
	struct service_counters counters;
	uint8_t header[HEADER_SIZE];

	service_get_stats(service, &counters);
	memcpy(header, magic, sizeof(magic));
	le_put32(header + 12, SNAPSHOT_FORMAT);
	memcpy(header + 16, service_identity(service)->store, STORE_ID_SIZE);
	le_put64(header + 32, position);
	le_put64(header + 40, service_time(service));
	le_put64(header + 48, counters.keys);
	le_put64(header + 56, counters.sessions);
	writer->checksum = crc32c(0, header + AT_CHECKED, HEADER_SIZE - AT_CHECKED);
	le_put32(header + AT_CHECKSUM, writer->checksum);
	return write_next(writer, header, sizeof(header));
}

static bool write_end(struct writer *writer) {
	uint8_t *chunk = writer->chunk;

	if (writer->used > 0 && !write_chunk(writer))
		return false;
	le_put32(chunk, 0);
	le_put64(chunk + CHUNK_HEAD_SIZE, writer->total);
	le_put32(chunk + 4, chunk_checksum(writer->checksum, chunk, TOTAL_SIZE));
	if (!write_next(writer, chunk, CHUNK_HEAD_SIZE + TOTAL_SIZE))
		return false;
	writer->error = writer->disk->sync(writer->disk->context, writer->file);
	return writer->error == 0;
}

static void write_all(struct writer *writer, const struct service *service, uint64_t position) {
	if (!write_header(writer, service, position))
		return;
	switch (service_save(service, put, writer)) {
	case STATE_DONE:
		(void)write_end(writer);
		break;
	case STATE_INVALID:
		/* put() knows why. */
		break;
	case STATE_NO_MEMORY:
		writer->error = -ENOMEM;
		break;
	}
}

int snapshot_write(struct disk *disk, const struct service *service, uint64_t position,
		   snapshot_progress *progress, void *context) {
	struct writer writer = {.disk = disk, .progress = progress, .context = context};
	int error = snapshot_discard(disk);

	if (error < 0)
		return error;
	writer.chunk = malloc(CHUNK_HEAD_SIZE + CHUNK_MAX);
	if (writer.chunk == NULL)
		return -ENOMEM;
	writer.file = disk->open(disk->context, temporary_name, DISK_CREATE);
	if (writer.file < 0) {
		free(writer.chunk);
		return writer.file;
	}
	write_all(&writer, service, position);
	disk->close(disk->context, writer.file);
	free(writer.chunk);
	if (writer.error < 0)
		(void)snapshot_discard(disk);
	return writer.error;
}

/* --- Reading ------------------------------------------------------------------------------------
 */

enum verdict {
	SOUND,
	DAMAGED,    /* it is not what was written */
	NOT_JUDGED, /* it cannot be read, or not by this kvd */
};

/* Of the chunk read last, the bytes from `at` to `used` were not asked for yet. */
struct reader {
	struct disk *disk;
	int file;
	char name[DISK_NAME_MAX];
	uint64_t size;
	uint64_t offset;
	uint64_t total;
	uint32_t checksum;
	uint8_t *chunk;
	size_t used;
	size_t at;
	bool is_at_end;
	enum verdict verdict; /* SOUND as long as nothing was wrong */
	char *why;
	snapshot_progress *progress;
	void *context;
};

static bool damaged(struct reader *reader, uint64_t offset, const char *what) {
	(void)snprintf(reader->why, SNAPSHOT_WHY_SIZE,
		       "%s is damaged at offset %" PRIu64 ": %s; restore a copy of the directory",
		       reader->name, offset, what);
	reader->verdict = DAMAGED;
	return false;
}

static bool unreadable(struct reader *reader, int error) {
	(void)snprintf(reader->why, SNAPSHOT_WHY_SIZE, "cannot read %s: %s", reader->name,
		       strerror(-error));
	reader->verdict = NOT_JUDGED;
	return false;
}

static bool read_at(struct reader *reader, void *data, size_t size, uint64_t offset) {
	struct disk *disk = reader->disk;
	int64_t got = disk->read(disk->context, reader->file, data, size, offset);

	if (got < 0)
		return unreadable(reader, (int)got);
	return got == (int64_t)size || damaged(reader, offset, "it is cut short");
}

static bool read_header(struct reader *reader, uint64_t position, struct snapshot *snapshot) {
	uint8_t header[HEADER_SIZE];

	if (!read_at(reader, header, sizeof(header), 0))
		return false;
	reader->offset = HEADER_SIZE;
	reader->checksum = crc32c(0, header + AT_CHECKED, HEADER_SIZE - AT_CHECKED);
	*snapshot = (struct snapshot){
	    .position = le_get64(header + 32),
	    .time_ms = le_get64(header + 40),
	    .entries = le_get64(header + 48),
	    .sessions = le_get64(header + 56),
	    .size = reader->size,
	};
	memcpy(snapshot->store, header + 16, STORE_ID_SIZE);
	if (memcmp(header, magic, sizeof(magic)) != 0 ||
	    le_get32(header + AT_CHECKSUM) != reader->checksum)
		return damaged(reader, 0, "its header is not what was written");
	uint32_t format = le_get32(header + 12);
	if (format != SNAPSHOT_FORMAT) {
		(void)snprintf(reader->why, SNAPSHOT_WHY_SIZE,
			       "%s has format %" PRIu32 ", and this kvd knows %d: use the kvd "
			       "that wrote it",
			       reader->name, format, (int)SNAPSHOT_FORMAT);
		reader->verdict = NOT_JUDGED;
		return false;
	}
	return snapshot->position == position ||
	       damaged(reader, 0, "it is another snapshot under this name");
}

/* `there` bytes were read, of which the first 4 are zero. */
static bool read_end(struct reader *reader, size_t there) {
	const uint8_t *chunk = reader->chunk;

	if (there < CHUNK_HEAD_SIZE + TOTAL_SIZE)
		return damaged(reader, reader->offset, "it is cut short");
	if (le_get32(chunk + 4) != chunk_checksum(reader->checksum, chunk, TOTAL_SIZE) ||
	    le_get64(chunk + CHUNK_HEAD_SIZE) != reader->total)
		return damaged(reader, reader->offset, "its end is not what was written");
	if (there > CHUNK_HEAD_SIZE + TOTAL_SIZE)
		return damaged(reader, reader->offset + CHUNK_HEAD_SIZE + TOTAL_SIZE,
			       "something stands behind its end");
	reader->offset += there;
	reader->is_at_end = true;
	return true;
}

static bool read_chunk(struct reader *reader) {
	uint64_t left = reader->size - reader->offset;
	size_t there =
	    left < CHUNK_HEAD_SIZE + CHUNK_MAX ? (size_t)left : CHUNK_HEAD_SIZE + CHUNK_MAX;
	uint8_t *chunk = reader->chunk;

	if (there < CHUNK_HEAD_SIZE)
		return damaged(reader, reader->offset, "it is cut short");
	if (!read_at(reader, chunk, there, reader->offset))
		return false;
	uint32_t size = le_get32(chunk);
	if (size == 0)
		return read_end(reader, there);
	if (size > CHUNK_MAX || size > there - CHUNK_HEAD_SIZE)
		return damaged(reader, reader->offset, "a chunk has a wrong size, or is cut short");
	reader->checksum = chunk_checksum(reader->checksum, chunk, size);
	if (le_get32(chunk + 4) != reader->checksum)
		return damaged(reader, reader->offset, "a chunk is not what was written");
	reader->offset += CHUNK_HEAD_SIZE + size;
	reader->total += size;
	reader->used = size;
	reader->at = 0;
	if (reader->progress != NULL)
		reader->progress(reader->context, reader->offset, reader->size);
	return true;
}

static bool get(void *context, void *data, size_t size) {
	struct reader *reader = context;
	uint8_t *next = data;

	while (size > 0) {
		if (reader->at == reader->used && (!read_chunk(reader) || reader->is_at_end))
			return false;
		size_t there = reader->used - reader->at;
		size_t piece = size < there ? size : there;

		memcpy(next, reader->chunk + CHUNK_HEAD_SIZE + reader->at, piece);
		reader->at += piece;
		next += piece;
		size -= piece;
	}
	return true;
}

/* True: to be closed with reader_close(). */
static bool reader_open(struct reader *reader, struct disk *disk, uint64_t position, char *why) {
	*reader = (struct reader){.disk = disk, .why = why};
	snapshot_name(position, reader->name);
	why[0] = '\0';
	reader->file = disk->open(disk->context, reader->name, DISK_READ);
	if (reader->file < 0)
		return unreadable(reader, reader->file);
	int64_t size = disk->size(disk->context, reader->file);
	reader->chunk = malloc(CHUNK_HEAD_SIZE + CHUNK_MAX);
	if (size >= 0 && reader->chunk != NULL) {
		reader->size = (uint64_t)size;
		return true;
	}
	disk->close(disk->context, reader->file);
	free(reader->chunk);
	return unreadable(reader, size < 0 ? (int)size : -ENOMEM);
}

static void reader_close(struct reader *reader) {
	reader->disk->close(reader->disk->context, reader->file);
	free(reader->chunk);
}

static enum verdict judge(struct disk *disk, uint64_t position, snapshot_progress *progress,
			  void *context, struct snapshot *snapshot, char *why) {
	struct reader reader;

	*snapshot = (struct snapshot){.position = position};
	if (!reader_open(&reader, disk, position, why))
		return reader.verdict;
	reader.progress = progress;
	reader.context = context;
	if (read_header(&reader, position, snapshot))
		while (!reader.is_at_end && read_chunk(&reader))
			;
	reader_close(&reader);
	return reader.verdict;
}

bool snapshot_check(struct disk *disk, uint64_t position, snapshot_progress *progress,
		    void *context, struct snapshot *snapshot, char why[SNAPSHOT_WHY_SIZE]) {
	return judge(disk, position, progress, context, snapshot, why) == SOUND;
}

enum snapshot_search snapshot_find_latest(struct disk *disk, snapshot_progress *progress, void *context,
				     struct snapshot *snapshot, char why[SNAPSHOT_WHY_SIZE]) {
	uint64_t positions[SNAPSHOTS_MAX];
	int count = snapshot_list(disk, positions);
	char other_why[SNAPSHOT_WHY_SIZE];

	why[0] = '\0';
	if (count < 0) {
		(void)snprintf(why, SNAPSHOT_WHY_SIZE, "cannot list the directory: %s",
			       strerror(-count));
		return SEARCH_BAD;
	}
	for (int i = 0; i < count; i++) {
		switch (judge(disk, positions[i], progress, context, snapshot, other_why)) {
		case SOUND:
			return SEARCH_FOUND;
		case DAMAGED:
			if (i == 0)
				memcpy(why, other_why, sizeof(other_why));
			break;
		case NOT_JUDGED:
			memcpy(why, other_why, sizeof(other_why));
			return SEARCH_BAD;
		}
	}
	return count == 0 ? SEARCH_NONE : SEARCH_BAD;
}

/* Whether the state was the whole of it, and what the header says. */
static bool read_rest(struct reader *reader, const struct snapshot *snapshot,
		      const struct service *service) {
	struct service_counters counters;

	if (reader->at < reader->used)
		return damaged(reader, reader->offset, "it holds more than the state");
	if (!read_chunk(reader))
		return false;
	if (!reader->is_at_end)
		return damaged(reader, reader->offset, "it holds more than the state");
	service_get_stats(service, &counters);
	return (counters.keys == snapshot->entries && counters.sessions == snapshot->sessions) ||
	       damaged(reader, 0, "its header does not fit what it holds");
}

static bool load_state(struct reader *reader, uint64_t position, struct service *service) {
	struct snapshot snapshot;

	if (!read_header(reader, position, &snapshot))
		return false;
	if (memcmp(snapshot.store, service_identity(service)->store, STORE_ID_SIZE) != 0)
		return damaged(reader, 0, "it belongs to another store");
	switch (service_load(service, reader->size - reader->offset, get, reader)) {
	case STATE_DONE:
		return read_rest(reader, &snapshot, service);
	case STATE_INVALID:
		if (reader->verdict != SOUND)
			return false;
		return damaged(reader, reader->offset, "it makes no sense");
	case STATE_NO_MEMORY:
		return unreadable(reader, -ENOMEM);
	}
	return false;
}

bool snapshot_load(struct disk *disk, uint64_t position, snapshot_progress *progress, void *context,
		   struct service *service, char why[SNAPSHOT_WHY_SIZE]) {
	struct reader reader;

	if (!reader_open(&reader, disk, position, why))
		return false;
	reader.progress = progress;
	reader.context = context;
	bool loaded = load_state(&reader, position, service);
	reader_close(&reader);
	return loaded;
}

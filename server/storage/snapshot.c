/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"
#include "storage/crc32c.h"
#include "storage/numbered_files.h"

static const char magic[8] = {'k', 'v', 'd', 's', 'n', 'a', 'p', '1'};
static const char prefix[] = "snapshot-";
static const char temporary_name[] = "snapshot.tmp";

enum {
	HEADER_SIZE = 64,
	AT_CHECKSUM = 8, /* in the header */
	AT_CHECKED = 12,
	CHUNK_HEAD_SIZE = 8,
	CHUNK_MAX = 256 * 1024,
	TOTAL_SIZE = 8,
	/* Written and not synced, at most: the journal's syncs must not wait behind more. */
	SYNC_EVERY = 16 << 20,
};

#define ANY_POSITION UINT64_MAX

static const uint64_t journal_least = 64 << 20; /* bytes: see snapshot_is_due() */

/* --- Names --------------------------------------------------------------------------------------
 */

void snapshot_name(uint64_t position, char name[VFS_NAME_MAX]) {
	numbered_name(prefix, position, name);
}

bool snapshot_position(const char *name, uint64_t *position) {
	return numbered_parse(prefix, name, position);
}

int snapshot_list(struct vfs *vfs, uint64_t positions[SNAPSHOTS_MAX]) {
	struct number_list list;
	int error = numbered_list(vfs, prefix, &list);
	int count = 0;

	while (error == 0 && count < SNAPSHOTS_MAX && list.count > 0)
		positions[count++] = list.numbers[--list.count];
	free(list.numbers);
	return error < 0 ? error : count;
}

int snapshot_remove_others(struct vfs *vfs, uint64_t position) {
	struct number_list list;
	int error = numbered_list(vfs, prefix, &list);

	for (size_t i = 0; i < list.count && error == 0; i++) {
		char name[VFS_NAME_MAX];

		snapshot_name(list.numbers[i], name);
		if (list.numbers[i] != position)
			error = vfs->remove(vfs->context, name);
	}
	free(list.numbers);
	return error;
}

int snapshot_discard(struct vfs *vfs) {
	int error = vfs->remove(vfs->context, temporary_name);

	return error == -ENOENT ? 0 : error;
}

enum snapshot_publication snapshot_publish(struct vfs *vfs, uint64_t position, int *error) {
	char name[VFS_NAME_MAX];

	snapshot_name(position, name);
	*error = vfs->rename(vfs->context, temporary_name, name);
	/* After an input/output error it is unknown whether the name is there. */
	if (*error < 0)
		return *error == -EIO ? PUBLISH_UNKNOWN : PUBLISH_REFUSED;
	*error = vfs->sync_names(vfs->context);
	return *error < 0 ? PUBLISH_UNKNOWN : PUBLISH_DONE;
}

bool snapshot_is_due(uint64_t journal_bytes, uint64_t snapshot_bytes) {
	return journal_bytes > (snapshot_bytes > journal_least ? snapshot_bytes : journal_least);
}

/* --- Writing ------------------------------------------------------------------------------------
 */

/* `chunk` has room for a head and CHUNK_MAX bytes, of which `used` are there. */
struct writer {
	struct vfs *vfs;
	int file;
	int error; /* a negative errno, of the first thing that failed */
	const uint8_t *store;
	uint64_t position;
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
	struct vfs *vfs = writer->vfs;

	writer->error = vfs->write(vfs->context, writer->file, data, size, writer->offset);
	if (writer->error < 0)
		return false;
	writer->offset += size;
	writer->unsynced += size;
	if (writer->unsynced >= SYNC_EVERY) {
		writer->error = vfs->sync(vfs->context, writer->file);
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

static bool write_header(struct writer *writer, const struct service *service) {
	uint8_t header[HEADER_SIZE];

	memcpy(header, magic, sizeof(magic));
	le_put32(header + 12, SNAPSHOT_FORMAT);
	memcpy(header + 16, writer->store, STORE_ID_SIZE);
	le_put64(header + 32, writer->position);
	le_put64(header + 40, service_time(service));
	le_put64(header + 48, service_key_count(service));
	le_put64(header + 56, service_session_count(service));
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
	writer->error = writer->vfs->sync(writer->vfs->context, writer->file);
	return writer->error == 0;
}

static void write_all(struct writer *writer, const struct service *service) {
	if (!write_header(writer, service))
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

/* As snapshot_write(), without the file that a crash may have left. */
static int write_file(struct writer *writer, const char *name, const struct service *service) {
	struct vfs *vfs = writer->vfs;

	writer->chunk = malloc(CHUNK_HEAD_SIZE + CHUNK_MAX);
	if (writer->chunk == NULL)
		return -ENOMEM;
	writer->file = vfs->open(vfs->context, name, VFS_CREATE);
	if (writer->file < 0) {
		free(writer->chunk);
		return writer->file;
	}
	write_all(writer, service);
	vfs->close(vfs->context, writer->file);
	free(writer->chunk);
	if (writer->error < 0)
		(void)vfs->remove(vfs->context, name);
	return writer->error;
}

int snapshot_write(struct vfs *vfs, const struct service *service, uint64_t position,
		   snapshot_progress *progress, void *context) {
	struct writer writer = {.vfs = vfs,
				.store = service_identity(service)->store,
				.position = position,
				.progress = progress,
				.context = context};
	int error = snapshot_discard(vfs);

	return error < 0 ? error : write_file(&writer, temporary_name, service);
}

int snapshot_write_origin(struct vfs *vfs, const char *name, const struct service *service,
			  const uint8_t store[STORE_ID_SIZE], snapshot_progress *progress,
			  void *context) {
	struct writer writer = {
	    .vfs = vfs, .store = store, .progress = progress, .context = context};

	return write_file(&writer, name, service);
}

/* --- Reading ------------------------------------------------------------------------------------
 */

enum load_result {
	SOUND,
	DAMAGED,    /* it is not what was written */
	NOT_JUDGED, /* it cannot be read, or not by this kvd */
};

/* Of the chunk read last, the bytes from `at` to `used` were not asked for yet. */
struct reader {
	struct vfs *vfs;
	int file;
	const char *name;
	const char *remedy; /* of damage */
	uint64_t position;  /* the one that it must be at; ANY_POSITION: any */
	uint64_t size;
	uint64_t offset;
	uint64_t total;
	uint32_t checksum;
	uint8_t *chunk;
	size_t used;
	size_t at;
	bool is_at_end;
	enum load_result verdict; /* SOUND as long as nothing was wrong */
	char *why;
	snapshot_progress *progress;
	void *context;
};

static bool damaged(struct reader *reader, uint64_t offset, const char *what) {
	(void)snprintf(reader->why, SNAPSHOT_WHY_SIZE,
		       "%s is damaged at offset %" PRIu64 ": %s; %s", reader->name, offset, what,
		       reader->remedy);
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
	struct vfs *vfs = reader->vfs;
	int64_t got = vfs->read(vfs->context, reader->file, data, size, offset);

	if (got < 0)
		return unreadable(reader, (int)got);
	return got == (int64_t)size || damaged(reader, offset, "it is cut short");
}

static bool read_header(struct reader *reader, struct snapshot *snapshot) {
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
	snapshot->format = le_get32(header + 12);
	if (snapshot->format < SNAPSHOT_FORMAT_MIN || snapshot->format > SNAPSHOT_FORMAT) {
		(void)snprintf(
		    reader->why, SNAPSHOT_WHY_SIZE,
		    "%s has format %" PRIu32 ", and this kvd knows %d to %d: use the kvd "
		    "that wrote it",
		    reader->name, snapshot->format, (int)SNAPSHOT_FORMAT_MIN, (int)SNAPSHOT_FORMAT);
		reader->verdict = NOT_JUDGED;
		return false;
	}
	return reader->position == ANY_POSITION || snapshot->position == reader->position ||
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
static bool reader_open(struct reader *reader) {
	struct vfs *vfs = reader->vfs;

	reader->why[0] = '\0';
	reader->file = vfs->open(vfs->context, reader->name, VFS_READ);
	if (reader->file < 0)
		return unreadable(reader, reader->file);
	int64_t size = vfs->size(vfs->context, reader->file);
	reader->chunk = malloc(CHUNK_HEAD_SIZE + CHUNK_MAX);
	if (size >= 0 && reader->chunk != NULL) {
		reader->size = (uint64_t)size;
		return true;
	}
	vfs->close(vfs->context, reader->file);
	free(reader->chunk);
	return unreadable(reader, size < 0 ? (int)size : -ENOMEM);
}

static void reader_close(struct reader *reader) {
	reader->vfs->close(reader->vfs->context, reader->file);
	free(reader->chunk);
}

/* Of one in a directory; `name` is for the reader to keep. */
static struct reader reader_of(struct vfs *vfs, uint64_t position, char name[VFS_NAME_MAX],
			       char *why) {
	snapshot_name(position, name);
	return (struct reader){.vfs = vfs,
			       .name = name,
			       .remedy = "restore a copy of the directory",
			       .position = position,
			       .why = why};
}

static struct reader reader_of_file(struct vfs *vfs, const char *name, char *why) {
	return (struct reader){.vfs = vfs,
			       .name = name,
			       .remedy = "use another backup",
			       .position = ANY_POSITION,
			       .why = why};
}

static enum load_result judge(struct reader *reader, struct snapshot *snapshot) {
	*snapshot = (struct snapshot){.position = reader->position};
	if (!reader_open(reader))
		return reader->verdict;
	if (read_header(reader, snapshot))
		while (!reader->is_at_end && read_chunk(reader))
			;
	reader_close(reader);
	return reader->verdict;
}

static enum load_result judge_at(struct vfs *vfs, uint64_t position, snapshot_progress *progress,
				 void *context, struct snapshot *snapshot, char *why) {
	char name[VFS_NAME_MAX];
	struct reader reader = reader_of(vfs, position, name, why);

	reader.progress = progress;
	reader.context = context;
	return judge(&reader, snapshot);
}

bool snapshot_check(struct vfs *vfs, uint64_t position, snapshot_progress *progress, void *context,
		    struct snapshot *snapshot, char why[SNAPSHOT_WHY_SIZE]) {
	return judge_at(vfs, position, progress, context, snapshot, why) == SOUND;
}

bool snapshot_check_file(struct vfs *vfs, const char *name, snapshot_progress *progress,
			 void *context, struct snapshot *snapshot, char why[SNAPSHOT_WHY_SIZE]) {
	struct reader reader = reader_of_file(vfs, name, why);

	reader.progress = progress;
	reader.context = context;
	return judge(&reader, snapshot) == SOUND;
}

enum snapshot_search snapshot_find_latest(struct vfs *vfs, snapshot_progress *progress,
					  void *context, struct snapshot *snapshot,
					  char why[SNAPSHOT_WHY_SIZE]) {
	uint64_t positions[SNAPSHOTS_MAX];
	int count = snapshot_list(vfs, positions);
	char other_why[SNAPSHOT_WHY_SIZE];

	why[0] = '\0';
	if (count < 0) {
		(void)snprintf(why, SNAPSHOT_WHY_SIZE, "cannot list the directory: %s",
			       strerror(-count));
		return SEARCH_BAD;
	}
	for (int i = 0; i < count; i++) {
		switch (judge_at(vfs, positions[i], progress, context, snapshot, other_why)) {
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

	if (reader->at < reader->used)
		return damaged(reader, reader->offset, "it holds more than the state");
	if (!read_chunk(reader))
		return false;
	if (!reader->is_at_end)
		return damaged(reader, reader->offset, "it holds more than the state");
	return (service_key_count(service) == snapshot->entries &&
		service_session_count(service) == snapshot->sessions) ||
	       damaged(reader, 0, "its header does not fit what it holds");
}

static bool load_state(struct reader *reader, struct service *service) {
	struct snapshot snapshot;

	if (!read_header(reader, &snapshot))
		return false;
	if (memcmp(snapshot.store, service_identity(service)->store, STORE_ID_SIZE) != 0)
		return damaged(reader, 0, "it belongs to another store");
	switch (service_load(service, snapshot.format - SNAPSHOT_FORMAT_MIN + 1,
			     reader->size - reader->offset, get, reader)) {
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

static bool load(struct reader *reader, struct service *service) {
	if (!reader_open(reader))
		return false;
	bool loaded = load_state(reader, service);
	reader_close(reader);
	return loaded;
}

bool snapshot_load(struct vfs *vfs, uint64_t position, snapshot_progress *progress, void *context,
		   struct service *service, char why[SNAPSHOT_WHY_SIZE]) {
	char name[VFS_NAME_MAX];
	struct reader reader = reader_of(vfs, position, name, why);

	reader.progress = progress;
	reader.context = context;
	return load(&reader, service);
}

bool snapshot_load_file(struct vfs *vfs, const char *name, snapshot_progress *progress,
			void *context, struct service *service, char why[SNAPSHOT_WHY_SIZE]) {
	struct reader reader = reader_of_file(vfs, name, why);

	reader.progress = progress;
	reader.context = context;
	return load(&reader, service);
}

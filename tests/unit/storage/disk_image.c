/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"
#include "storage/crc32c.h"
#include "storage/journal_scan.h"
#include "storage/snapshot.h"

enum {
	HEAD_SIZE = 6,
	UNIT = 16,
	KIND_SEGMENT = 0,
	KIND_SNAPSHOT = 1,
	KIND_UNFINISHED = 2,
	KIND_SPARE = 3,
	KIND_MANIFEST = 4,
	KINDS = 5,
	/* See snapshot.h. */
	SNAPSHOT_HEADER_SIZE = 64,
	CHUNK_HEAD_SIZE = 8,
	TOTAL_SIZE = 8,
	/* See manifest.h. */
	MANIFEST_RECORD_SIZE = 64,
	MANIFEST_PLACE_SIZE = 4096,
};

static void file_name(unsigned kind, uint8_t number, char name[VFS_NAME_MAX]) {
	switch (kind) {
	case KIND_SEGMENT:
		segment_name(number, name);
		break;
	case KIND_SNAPSHOT:
		snapshot_name(number, name);
		break;
	case KIND_UNFINISHED:
		memcpy(name, "snapshot.tmp", sizeof("snapshot.tmp"));
		break;
	case KIND_MANIFEST:
		memcpy(name, "manifest", sizeof("manifest"));
		break;
	default:
		memcpy(name, "spare", sizeof("spare"));
	}
}

/* --- Checksums ------------------------------------------------------------------------------ */

static void mend_segment(uint8_t *bytes, size_t size) {
	struct segment_header segment;
	struct batch_header header;
	size_t at = SEGMENT_HEADER_SIZE;

	if (size < SEGMENT_HEADER_SIZE)
		return;
	(void)segment_header_decode(bytes, &segment);
	segment_header_encode(bytes, &segment);
	while (at + BATCH_HEADER_SIZE <= size && batch_header_decode(bytes + at, &header) &&
	       batch_size(header.payload_size) <= size - at) {
		batch_header_encode(bytes + at, &header);
		at += batch_size(header.payload_size);
	}
}

static void mend_snapshot(uint8_t *bytes, size_t size) {
	size_t at = SNAPSHOT_HEADER_SIZE;
	uint32_t checksum;

	if (size < SNAPSHOT_HEADER_SIZE)
		return;
	checksum = crc32c(0, bytes + 12, SNAPSHOT_HEADER_SIZE - 12);
	le_put32(bytes + 8, checksum);
	while (at + CHUNK_HEAD_SIZE <= size) {
		uint32_t chunk = le_get32(bytes + at);
		size_t covered = chunk == 0 ? TOTAL_SIZE : chunk;

		if (covered > size - at - CHUNK_HEAD_SIZE)
			return;
		checksum =
		    crc32c(crc32c(checksum, bytes + at, 4), bytes + at + CHUNK_HEAD_SIZE, covered);
		le_put32(bytes + at + 4, checksum);
		at += CHUNK_HEAD_SIZE + covered;
	}
}

/* Of the two records: see manifest.h. */
static void mend_manifest(uint8_t *bytes, size_t size) {
	for (size_t at = 0; at + MANIFEST_RECORD_SIZE <= size; at += MANIFEST_PLACE_SIZE)
		le_put32(bytes + at + 8, crc32c(0, bytes + at + 12, MANIFEST_RECORD_SIZE - 12));
}

/* --- Images --------------------------------------------------------------------------------- */

void image_read(struct fake_disk *disk, const uint8_t *data, size_t size) {
	while (size >= HEAD_SIZE) {
		unsigned kind = (data[0] & ~IMAGE_MENDED) % KINDS;
		size_t whole = (size_t)le_get16(data + 2) * UNIT;
		size_t stored = le_get16(data + 4);
		char name[VFS_NAME_MAX];
		uint8_t *bytes;
		size_t there;

		file_name(kind, data[1], name);
		if (stored > size - HEAD_SIZE || fake_disk_bytes(disk, name, &there) != NULL)
			return;
		if (kind == KIND_SNAPSHOT || whole < stored)
			whole = stored;
		bytes = calloc(1, whole + 1);
		assert(bytes != NULL);
		memcpy(bytes, data + HEAD_SIZE, stored);
		if ((data[0] & IMAGE_MENDED) != 0 && kind == KIND_SEGMENT)
			mend_segment(bytes, whole);
		if ((data[0] & IMAGE_MENDED) != 0 && kind == KIND_SNAPSHOT)
			mend_snapshot(bytes, whole);
		if ((data[0] & IMAGE_MENDED) != 0 && kind == KIND_MANIFEST)
			mend_manifest(bytes, whole);
		fake_disk_add(disk, name);
		fake_disk_poke(disk, name, 0, bytes, whole);
		free(bytes);
		data += HEAD_SIZE + stored;
		size -= HEAD_SIZE + stored;
	}
}

struct writing {
	struct fake_disk *disk;
	uint8_t *to;
	size_t size;
};

static bool write_file(void *context, const char *name) {
	struct writing *writing = context;
	uint8_t *to = writing->to + writing->size;
	uint64_t number = 0;
	unsigned kind = KIND_SPARE;
	const uint8_t *bytes;
	size_t size;
	size_t stored;

	if (segment_number(name, &number))
		kind = KIND_SEGMENT;
	else if (snapshot_position(name, &number))
		kind = KIND_SNAPSHOT;
	else if (strcmp(name, "snapshot.tmp") == 0)
		kind = KIND_UNFINISHED;
	else if (strcmp(name, manifest_name) == 0)
		kind = KIND_MANIFEST;
	bytes = fake_disk_bytes(writing->disk, name, &size);
	stored = size;
	while (kind != KIND_SNAPSHOT && stored > 0 && bytes[stored - 1] == 0)
		stored--;
	assert(number <= UINT8_MAX && size / UNIT <= UINT16_MAX && stored <= UINT16_MAX);
	assert(writing->size + HEAD_SIZE + stored <= IMAGE_MAX);
	to[0] = (uint8_t)(kind | IMAGE_MENDED);
	to[1] = (uint8_t)number;
	le_put16(to + 2, (uint16_t)(size / UNIT));
	le_put16(to + 4, (uint16_t)stored);
	memcpy(to + HEAD_SIZE, bytes, stored);
	writing->size += HEAD_SIZE + stored;
	return true;
}

size_t image_write(struct fake_disk *disk, uint8_t to[IMAGE_MAX]) {
	struct writing writing = {.disk = disk, .to = to};
	struct vfs *table = fake_disk_of(disk);

	(void)table->list(table->context, write_file, &writing);
	return writing.size;
}

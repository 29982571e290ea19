/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "le.h"
#include "storage/crc32c.h"

const char manifest_name[] = "manifest";
const char manifest_temporary_name[] = "manifest.tmp";

static const char magic[8] = {'k', 'v', 'd', 'm', 'n', 'f', 't', '1'};

enum {
	PLACES = 2,
	PLACE_SIZE = 4096,
	RECORD_SIZE = 64,
	AT_CHECKSUM = 8,
	AT_CHECKED = 12,
};

static void record_encode(uint8_t to[RECORD_SIZE], const struct manifest *manifest) {
	memset(to, 0, RECORD_SIZE);
	memcpy(to, magic, sizeof(magic));
	le_put32(to + 12, MANIFEST_FORMAT);
	memcpy(to + 16, manifest->store, STORE_ID_SIZE);
	le_put64(to + 32, manifest->sequence);
	le_put64(to + 40, manifest->segment);
	le_put64(to + 48, manifest->end);
	le_put32(to + AT_CHECKSUM, crc32c(0, to + AT_CHECKED, RECORD_SIZE - AT_CHECKED));
}

/* False: there is none, or a damaged one. */
static bool record_decode(const uint8_t from[RECORD_SIZE], struct manifest *manifest,
			  uint32_t *format) {
	*format = le_get32(from + 12);
	*manifest = (struct manifest){.sequence = le_get64(from + 32),
				      .segment = le_get64(from + 40),
				      .end = le_get64(from + 48)};
	memcpy(manifest->store, from + 16, STORE_ID_SIZE);
	return memcmp(from, magic, sizeof(magic)) == 0 &&
	       le_get32(from + AT_CHECKSUM) ==
		   crc32c(0, from + AT_CHECKED, RECORD_SIZE - AT_CHECKED);
}

static bool unreadable(int64_t error, char why[MANIFEST_WHY_SIZE]) {
	(void)snprintf(why, MANIFEST_WHY_SIZE, "cannot read %s: %s", manifest_name,
		       strerror((int)-error));
	return false;
}

/* The record with the highest sequence, of those that are good. */
static bool choose(const uint8_t *bytes, size_t size, struct manifest *manifest,
		   char why[MANIFEST_WHY_SIZE]) {
	for (size_t at = 0; at + RECORD_SIZE <= size; at += PLACE_SIZE) {
		struct manifest found;
		uint32_t format;

		if (!record_decode(bytes + at, &found, &format))
			continue;
		if (format != MANIFEST_FORMAT) {
			(void)snprintf(why, MANIFEST_WHY_SIZE,
				       "%s has format %" PRIu32 ", and this kvd knows format %d: "
				       "use the kvd that wrote it",
				       manifest_name, format, MANIFEST_FORMAT);
			return false;
		}
		if (found.sequence > manifest->sequence)
			*manifest = found;
	}
	if (manifest->sequence > 0)
		return true;
	(void)snprintf(why, MANIFEST_WHY_SIZE,
		       "%s is damaged at offset 0: it holds no record; restore a copy of the "
		       "directory",
		       manifest_name);
	return false;
}

bool manifest_read(struct vfs *vfs, struct manifest *manifest, char why[MANIFEST_WHY_SIZE]) {
	uint8_t bytes[PLACES * PLACE_SIZE];
	int64_t got;
	int file;

	*manifest = (struct manifest){.sequence = 0};
	file = vfs->open(vfs->context, manifest_name, VFS_READ);
	if (file == -ENOENT)
		return true;
	if (file < 0)
		return unreadable(file, why);
	got = vfs->read(vfs->context, file, bytes, sizeof(bytes), 0);
	vfs->close(vfs->context, file);
	return got < 0 ? unreadable(got, why) : choose(bytes, (size_t)got, manifest, why);
}

int manifest_create(struct vfs *vfs, struct manifest *manifest) {
	uint8_t bytes[PLACES * PLACE_SIZE] = {0};
	int error = vfs->remove(vfs->context, manifest_temporary_name);
	int file;

	if (error < 0 && error != -ENOENT)
		return error;
	/* Its records are written also when the disk is full. */
	file = vfs->open(vfs->context, manifest_temporary_name, VFS_PREALLOCATE);
	if (file < 0)
		return file;
	manifest->sequence++;
	record_encode(bytes + manifest->sequence % PLACES * PLACE_SIZE, manifest);
	error = vfs->write(vfs->context, file, bytes, sizeof(bytes), 0);
	if (error == 0)
		error = vfs->sync(vfs->context, file);
	if (error == 0)
		error = vfs->rename(vfs->context, manifest_temporary_name, manifest_name);
	if (error == 0)
		error = vfs->sync_names(vfs->context);
	manifest->is_durable = error == 0;
	if (error == 0)
		return file;
	manifest->sequence--;
	vfs->close(vfs->context, file);
	(void)vfs->remove(vfs->context, manifest_temporary_name);
	return error;
}

/* In its place, durably. */
static int write_record(struct vfs *vfs, int file, const struct manifest *manifest) {
	uint8_t record[RECORD_SIZE];
	int error;

	record_encode(record, manifest);
	error = vfs->write(vfs->context, file, record, sizeof(record),
			   manifest->sequence % PLACES * PLACE_SIZE);
	return error == 0 ? vfs->sync(vfs->context, file) : error;
}

int manifest_write(struct vfs *vfs, int file, struct manifest *manifest, uint64_t segment,
		   uint64_t end) {
	struct manifest next = *manifest;
	int error = manifest->is_durable ? 0 : write_record(vfs, file, manifest);

	if (error < 0)
		return error;
	manifest->is_durable = next.is_durable = true;
	next.sequence++;
	next.segment = segment;
	next.end = end;
	error = write_record(vfs, file, &next);
	if (error == 0)
		*manifest = next;
	return error;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/copy_mark.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "le.h"
#include "storage/crc32c.h"

const char copy_mark_name[] = "birth";
const char copy_mark_temporary_name[] = "birth.tmp";

static const char magic[8] = {'k', 'v', 'd', 'b', 'i', 'r', 't', 'h'};

enum {
	MARK_SIZE = 32,
	AT_CHECKSUM = 8,
	AT_CHECKED = 12,
	AT_FORMAT = 12,
	AT_BIRTH = 16,
};

static bool is_whole(const uint8_t mark[MARK_SIZE], int64_t got) {
	return got == MARK_SIZE && memcmp(mark, magic, sizeof(magic)) == 0 &&
	       le_get32(mark + AT_CHECKSUM) == crc32c(0, mark + AT_CHECKED, MARK_SIZE - AT_CHECKED);
}

static enum copy_mark judge(struct vfs *vfs, int file, char *why) {
	uint8_t mark[MARK_SIZE];
	int64_t got = vfs->read(vfs->context, file, mark, sizeof(mark), 0);
	uint64_t birth_ns;

	if (got < 0)
		(void)snprintf(why, COPY_MARK_WHY_SIZE, "cannot read %s: %s", copy_mark_name,
			       strerror((int)-got));
	else if (!is_whole(mark, got))
		(void)snprintf(why, COPY_MARK_WHY_SIZE,
			       "%s is damaged: if this directory is no copy, kvd -d DIR --moved "
			       "writes it anew",
			       copy_mark_name);
	else if (le_get32(mark + AT_FORMAT) != COPY_MARK_FORMAT)
		(void)snprintf(why, COPY_MARK_WHY_SIZE,
			       "%s has format %" PRIu32 ", and this kvd knows format %d: use the "
			       "kvd that wrote it",
			       copy_mark_name, le_get32(mark + AT_FORMAT), COPY_MARK_FORMAT);
	else if (!vfs->birth(vfs->context, file, &birth_ns) ||
		 birth_ns == le_get64(mark + AT_BIRTH))
		return COPY_MARK_OWN;
	else
		(void)snprintf(why, COPY_MARK_WHY_SIZE,
			       "this directory was copied: if the one that it was copied from is "
			       "gone and this is its last state, kvd -d DIR --moved; else kvd -d "
			       "DIR --restored makes it another store");
	return COPY_MARK_OTHER;
}

enum copy_mark copy_mark_check(struct vfs *vfs, char why[COPY_MARK_WHY_SIZE]) {
	int file = vfs->birth == NULL ? -ENOENT : vfs->open(vfs->context, copy_mark_name, VFS_READ);
	enum copy_mark verdict;

	if (file == -ENOENT)
		return COPY_MARK_NONE;
	if (file < 0) {
		(void)snprintf(why, COPY_MARK_WHY_SIZE, "cannot read %s: %s", copy_mark_name,
			       strerror(-file));
		return COPY_MARK_OTHER;
	}
	verdict = judge(vfs, file, why);
	vfs->close(vfs->context, file);
	return verdict;
}

static int write_mark(struct vfs *vfs, int file, uint64_t birth_ns) {
	uint8_t mark[MARK_SIZE] = {0};
	int error;

	memcpy(mark, magic, sizeof(magic));
	le_put32(mark + AT_FORMAT, COPY_MARK_FORMAT);
	le_put64(mark + AT_BIRTH, birth_ns);
	le_put32(mark + AT_CHECKSUM, crc32c(0, mark + AT_CHECKED, MARK_SIZE - AT_CHECKED));
	error = vfs->write(vfs->context, file, mark, sizeof(mark), 0);
	if (error == 0)
		error = vfs->sync(vfs->context, file);
	if (error == 0)
		error = vfs->rename(vfs->context, copy_mark_temporary_name, copy_mark_name);
	return error == 0 ? vfs->sync_names(vfs->context) : error;
}

int copy_mark_make(struct vfs *vfs) {
	uint64_t birth_ns;
	int error;
	int file;

	if (vfs->birth == NULL)
		return 0;
	error = vfs->remove(vfs->context, copy_mark_temporary_name);
	if (error < 0 && error != -ENOENT)
		return error;
	file = vfs->open(vfs->context, copy_mark_temporary_name, VFS_CREATE);
	if (file < 0)
		return file;
	if (vfs->birth(vfs->context, file, &birth_ns)) {
		error = write_mark(vfs, file, birth_ns);
	} else {
		error = vfs->remove(vfs->context, copy_mark_temporary_name);
	}
	vfs->close(vfs->context, file);
	if (error < 0)
		(void)vfs->remove(vfs->context, copy_mark_temporary_name);
	return error;
}

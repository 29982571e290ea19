/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/held_snapshots.h"

#include <errno.h>

#include "storage/snapshot.h"

static void let_go(struct held_snapshots *held, struct held_snapshot *snapshot) {
	held->vfs->close(held->vfs->context, snapshot->file);
	*snapshot = held->list[--held->count];
}

/* 0, or a negative errno. */
static int hold(struct held_snapshots *held, uint64_t position, struct held_snapshot **added) {
	struct vfs *vfs = held->vfs;
	char name[VFS_NAME_MAX];
	int64_t size;
	int file;

	if (held->count == HELD_SNAPSHOTS_MAX)
		return -EMFILE;
	snapshot_name(position, name);
	file = vfs->open(vfs->context, name, VFS_READ);
	if (file < 0)
		return file;
	size = vfs->size(vfs->context, file);
	if (size < 0) {
		vfs->close(vfs->context, file);
		return (int)size;
	}
	*added = &held->list[held->count++];
	**added =
	    (struct held_snapshot){.file = file, .position = position, .size = (uint64_t)size};
	return 0;
}

int64_t held_snapshots_read(struct held_snapshots *held, uint64_t position, uint64_t offset,
			    void *data, size_t size, uint64_t now_ms, uint64_t *total) {
	struct vfs *vfs = held->vfs;
	struct held_snapshot *snapshot = held->list;
	bool waits;
	int64_t got;

	while (snapshot < held->list + held->count && snapshot->position != position)
		snapshot++;
	if (snapshot == held->list + held->count) {
		int error = hold(held, position, &snapshot);

		if (error < 0)
			return error;
	}
	snapshot->read_ms = now_ms;
	*total = snapshot->size;
	if (offset >= snapshot->size)
		return 0;
	if (size > snapshot->size - offset)
		size = (size_t)(snapshot->size - offset);
	waits = vfs->read_cached == NULL || snapshot->misses >= HELD_SNAPSHOT_MISSES_MAX;
	got = (waits ? vfs->read : vfs->read_cached)(vfs->context, snapshot->file, data, size,
						     offset);
	snapshot->misses = got == -EAGAIN ? snapshot->misses + 1 : 0;
	/* It was cut while it is held. */
	return got == 0 ? -EIO : got;
}

uint64_t held_snapshots_expire(struct held_snapshots *held, uint64_t now_ms) {
	uint64_t due_ms = UINT64_MAX;

	for (unsigned i = held->count; i-- > 0;) {
		struct held_snapshot *snapshot = &held->list[i];
		uint64_t idle_ms = now_ms - snapshot->read_ms;

		if (idle_ms >= HELD_SNAPSHOT_IDLE_MS)
			let_go(held, snapshot);
		else if (HELD_SNAPSHOT_IDLE_MS - idle_ms < due_ms)
			due_ms = HELD_SNAPSHOT_IDLE_MS - idle_ms;
	}
	return due_ms;
}

void held_snapshots_close(struct held_snapshots *held) {
	while (held->count > 0)
		let_go(held, &held->list[0]);
}

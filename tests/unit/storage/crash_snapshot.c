/* SPDX-License-Identifier: BSD-3-Clause */
#include "crash_snapshot.h"

enum {
	STEPS_A_SNAPSHOT = 16, /* on the average */
	CALLS_A_WORK = 4,
};

/* --- The disk, while another thread uses it ------------------------------------------------- */

/* What the journal's thread may do meanwhile. */
static void work(struct run *run) {
	uint64_t what;

	if (run->has_failed)
		return;
	what = run_draw(run, CALLS_A_WORK);
	if (what == 0)
		(void)run_answer(run);
	if (what == 1 && run->snapshots.to_forget > 0) {
		journal_file_truncate(run->journal.file, run->snapshots.to_forget);
		run->snapshots.to_forget = 0;
	}
}

static const struct vfs *disk_of(void *context) {
	struct run *run = context;

	work(run);
	return &run->recovery.vfs;
}

static int open_file(void *context, const char *name, enum vfs_mode mode) {
	const struct vfs *disk = disk_of(context);

	return disk->open(disk->context, name, mode);
}

static void close_file(void *context, int file) {
	const struct vfs *disk = disk_of(context);

	disk->close(disk->context, file);
}

static int64_t read_file(void *context, int file, void *data, size_t size, uint64_t offset) {
	const struct vfs *disk = disk_of(context);

	return disk->read(disk->context, file, data, size, offset);
}

static int write_file(void *context, int file, const void *data, size_t size, uint64_t offset) {
	const struct vfs *disk = disk_of(context);

	return disk->write(disk->context, file, data, size, offset);
}

static int sync_file(void *context, int file) {
	const struct vfs *disk = disk_of(context);

	return disk->sync(disk->context, file);
}

static int sync_names(void *context) {
	const struct vfs *disk = disk_of(context);

	return disk->sync_names(disk->context);
}

static int rename_file(void *context, const char *from, const char *to) {
	const struct vfs *disk = disk_of(context);

	return disk->rename(disk->context, from, to);
}

static int remove_file(void *context, const char *name) {
	const struct vfs *disk = disk_of(context);

	return disk->remove(disk->context, name);
}

static int list_files(void *context, vfs_each *each, void *argument) {
	const struct vfs *disk = disk_of(context);

	return disk->list(disk->context, each, argument);
}

static int64_t size_of_file(void *context, int file) {
	const struct vfs *disk = disk_of(context);

	return disk->size(disk->context, file);
}

/* --- Snapshots ------------------------------------------------------------------------------ */

void snapshots_begin(struct run *run, const struct run *from) {
	struct crash_snapshots *snapshots = &run->snapshots;

	if (from != NULL) {
		memcpy(snapshots->saved, from->snapshots.saved, sizeof(snapshots->saved));
		snapshots->saved_next = from->snapshots.saved_next;
	}
	snapshots->beside = (struct vfs){.context = run,
					 .open = open_file,
					 .close = close_file,
					 .read = read_file,
					 .write = write_file,
					 .sync = sync_file,
					 .sync_names = sync_names,
					 .rename = rename_file,
					 .remove = remove_file,
					 .list = list_files,
					 .size = size_of_file};
}

const struct crash_model *snapshots_find(const struct run *run, uint64_t position) {
	for (size_t i = 0; i < RUN_SAVED; i++)
		if (run->snapshots.saved[i].position == position && position > 0)
			return &run->snapshots.saved[i].model;
	return NULL;
}

static void save_model(struct run *run, uint64_t position) {
	size_t at = run->snapshots.saved_next++ % RUN_SAVED;

	run->snapshots.saved[at].position = position;
	run->snapshots.saved[at].model = run->model;
}

/* As the child does. The journal need not be durable that far. */
static void write_one(struct run *run) {
	struct crash_snapshots *snapshots = &run->snapshots;
	uint64_t position = run->journal.tape.count;

	/* Two at one position may differ in the slots that refusals took: which one is it then? */
	if (position == 0 || snapshots_find(run, position) != NULL)
		return;
	save_model(run, position);
	if (snapshot_write(&snapshots->beside, run->service, position, NULL, NULL) == 0) {
		snapshots->phase = SNAPSHOT_WRITTEN;
		snapshots->position = position;
	} else {
		(void)snapshot_discard(&snapshots->beside);
	}
}

/* As the parent's thread does. */
static void publish(struct run *run) {
	struct crash_snapshots *snapshots = &run->snapshots;
	int error;

	snapshots->phase = SNAPSHOT_NONE;
	switch (snapshot_publish(&snapshots->beside, snapshots->position, &error)) {
	case PUBLISH_DONE:
		(void)snapshot_remove_others(&snapshots->beside, snapshots->position);
		snapshots->to_forget = snapshots->position;
		snapshots->published++;
		break;
	case PUBLISH_REFUSED:
		(void)snapshot_discard(&snapshots->beside);
		break;
	case PUBLISH_UNKNOWN:
		run->has_failed = true;
		break;
	}
}

bool snapshots_step(struct run *run) {
	(void)run_product(run, true);
	switch (run->snapshots.phase) {
	case SNAPSHOT_NONE:
		if (run_draw(run, STEPS_A_SNAPSHOT) == 0)
			write_one(run);
		else
			work(run);
		break;
	case SNAPSHOT_WRITTEN:
		if (run->journal.durable >= run->snapshots.position)
			publish(run);
		break;
	}
	(void)run_product(run, false);
	return !run->has_failed;
}

void snapshots_end(struct run *run) {
	if (run->journal.file != NULL && run->snapshots.phase == SNAPSHOT_WRITTEN)
		(void)snapshot_discard(&run->recovery.vfs);
	run->snapshots.phase = SNAPSHOT_NONE;
}

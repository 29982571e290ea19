/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_disk.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_file.h"
#include "fake_names.h"
#include "prng.h"

enum {
	LAST_SIZE = 16 + 2 * VFS_NAME_MAX,
	ROOM_WITHOUT_LIMIT = 1 << 30, /* bytes that are free */
};

struct fake_disk {
	struct vfs table;
	struct fake_plan plan;
	struct prng prng;
	uint64_t calls;
	uint64_t changes;
	bool has_struck;
	bool has_crashed;
	bool has_lost_names; /* a sync of them failed in this process */
	char last[LAST_SIZE];
	char struck[LAST_SIZE];

	struct body **files; /* NULL: gone */
	size_t files_count;
	struct names cache;
	struct names disk;
	struct name_change *name_changes;
	size_t name_changes_count;
	size_t *open; /* files by handle; SIZE_MAX: closed */
	size_t open_count;
	pthread_mutex_t mutex;
};

/* --- Names --------------------------------------------------------------------------------------
 */

static void change_names(struct fake_disk *disk, const char *from, const char *to, size_t file) {
	struct name_change *change;

	disk->name_changes = resized(disk->name_changes,
				     (disk->name_changes_count + 1) * sizeof(*disk->name_changes));
	change = &disk->name_changes[disk->name_changes_count++];
	change->file = file;
	(void)snprintf(change->from, sizeof(change->from), "%s", from);
	(void)snprintf(change->to, sizeof(change->to), "%s", to);
	names_apply(&disk->cache, change);
}

static size_t settle_names(struct fake_disk *disk, size_t thing, keep_function *keep,
			   void *context) {
	for (size_t i = 0; i < disk->name_changes_count; i++, thing++)
		if (keep != NULL && keep(context, thing))
			names_apply(&disk->disk, &disk->name_changes[i]);
	if (keep != NULL)
		disk->name_changes_count = 0;
	return thing;
}

/* Frees the files that nothing leads to any more. */
static void sweep(struct fake_disk *disk) {
	for (size_t file = 0; file < disk->files_count; file++) {
		bool is_used = false;

		for (size_t i = 0; i < disk->cache.count; i++)
			is_used = is_used || disk->cache.list[i].file == file;
		for (size_t i = 0; i < disk->disk.count; i++)
			is_used = is_used || disk->disk.list[i].file == file;
		for (size_t i = 0; i < disk->name_changes_count; i++)
			is_used = is_used || disk->name_changes[i].file == file;
		for (size_t i = 0; i < disk->open_count; i++)
			is_used = is_used || disk->open[i] == file;
		if (!is_used) {
			body_drop(disk->files[file]);
			disk->files[file] = NULL;
		}
	}
}

static size_t new_file(struct fake_disk *disk) {
	size_t file = 0;

	while (file < disk->files_count && disk->files[file] != NULL)
		file++;
	if (file == disk->files_count) {
		disk->files = resized(disk->files, (file + 1) * sizeof(struct body *));
		disk->files_count++;
	}
	disk->files[file] = body_new();
	return file;
}

/* --- The plan -----------------------------------------------------------------------------------
 */

/* What becomes of a call. */
enum fate {
	FATE_WORK,
	FATE_CRASH, /* the process dies in it */
	FATE_FAIL,
	FATE_DEAD,
};

static enum fate strike(struct fake_disk *disk, enum fate fate) {
	if (!disk->has_struck)
		memcpy(disk->struck, disk->last, sizeof(disk->struck));
	disk->has_struck = true;
	disk->has_crashed = fate == FATE_CRASH;
	return fate;
}

/* Every call begins here, and ends with leave(). */
static enum fate enter(struct fake_disk *disk, const char *what, const char *name, bool is_change) {
	const struct fake_plan *plan = &disk->plan;

	(void)pthread_mutex_lock(&disk->mutex);
	(void)snprintf(disk->last, sizeof(disk->last), "%s %s", what, name);
	if (disk->has_crashed)
		return FATE_DEAD;
	disk->calls++;
	if (plan->evict_at == disk->calls)
		for (size_t i = 0; i < disk->files_count; i++)
			if (disk->files[i] != NULL)
				body_evict(body_own(&disk->files[i]));
	if (is_change) {
		disk->changes++;
		if (plan->before != NULL)
			plan->before(plan->context, disk, disk->changes);
		if (plan->crash_at == disk->changes)
			return strike(disk, FATE_CRASH);
	}
	if ((plan->fail_at == disk->calls && disk->calls > 0) ||
	    (plan->fail_change == disk->changes && is_change) ||
	    (plan->is_lasting && disk->has_struck))
		return strike(disk, FATE_FAIL);
	return FATE_WORK;
}

static int leave(struct fake_disk *disk, int answer) {
	(void)pthread_mutex_unlock(&disk->mutex);
	return answer;
}

/* Whether a change that crashes or fails takes place nevertheless. */
static bool happens(struct fake_disk *disk, enum fate fate) {
	switch (fate) {
	case FATE_WORK:
		return true;
	case FATE_CRASH:
		return disk->plan.crash_bytes > 0;
	case FATE_FAIL:
		return !disk->plan.does_nothing && prng_next(&disk->prng) % 2 == 0;
	case FATE_DEAD:
		break;
	}
	return false;
}

static int answer_of(const struct fake_disk *disk, enum fate fate) {
	if (fate == FATE_WORK)
		return 0;
	return fate == FATE_FAIL ? disk->plan.error : -EIO;
}

static bool keep_all(void *context, size_t thing) {
	(void)context;
	(void)thing;
	return true;
}

/* Of a sync that failed: nothing was written, or all, or each thing as it fell. */
struct luck {
	struct fake_disk *disk;
	uint64_t mode;
};

static bool keep_by_luck(void *context, size_t thing) {
	struct luck *luck = context;

	(void)thing;
	return luck->mode == 1 || (luck->mode == 2 && prng_next(&luck->disk->prng) % 2 == 0);
}

/* Which of the things pending a sync takes in. NULL: they stay pending. */
static keep_function *sync_takes(struct fake_disk *disk, enum fate fate, struct luck *luck) {
	*luck = (struct luck){.disk = disk};
	if (fate != FATE_FAIL)
		return happens(disk, fate) ? keep_all : NULL;
	luck->mode = disk->plan.does_nothing ? 0 : prng_next(&disk->prng) % 3;
	return keep_by_luck;
}

/* --- The functions of struct vfs ---------------------------------------------------------------
 */

static const char *name_of(const struct fake_disk *disk, int handle) {
	for (size_t i = 0; i < disk->cache.count; i++)
		if (disk->cache.list[i].file == disk->open[handle])
			return disk->cache.list[i].text;
	return "a file without a name";
}

static int open_file(void *context, const char *name, enum vfs_mode mode) {
	struct fake_disk *disk = context;
	bool creates = mode == VFS_CREATE || mode == VFS_PREALLOCATE;
	enum fate fate = enter(disk, creates ? "create" : "open", name, creates);
	const struct name *found = names_find(&disk->cache, name);
	size_t handle = 0;
	size_t file;

	if (fate == FATE_WORK && (creates ? found != NULL : found == NULL))
		return leave(disk, creates ? -EEXIST : -ENOENT);
	if (creates && found == NULL && happens(disk, fate)) {
		size_t made = new_file(disk);

		disk->files[made]->is_in_place = mode == VFS_PREALLOCATE;
		change_names(disk, "", name, made);
	}
	if (fate != FATE_WORK)
		return leave(disk, answer_of(disk, fate));
	file = names_find(&disk->cache, name)->file;
	while (handle < disk->open_count && disk->open[handle] != SIZE_MAX)
		handle++;
	if (handle == disk->open_count) {
		disk->open = resized(disk->open, (handle + 1) * sizeof(*disk->open));
		disk->open_count++;
	}
	disk->open[handle] = file;
	return leave(disk, (int)handle);
}

static void close_file(void *context, int handle) {
	struct fake_disk *disk = context;

	(void)pthread_mutex_lock(&disk->mutex);
	/* After a crash, it was closed with its process. */
	assert((size_t)handle < disk->open_count && disk->open[handle] != SIZE_MAX);
	disk->open[handle] = SIZE_MAX;
	(void)leave(disk, 0);
}

static int64_t read_file(void *context, int handle, void *data, size_t size, uint64_t offset) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "read", name_of(disk, handle), false);
	const struct bytes *bytes = &disk->files[disk->open[handle]]->cache;

	if (fate != FATE_WORK)
		return leave(disk, answer_of(disk, fate));
	if (offset >= bytes->size)
		size = 0;
	else if (size > bytes->size - offset)
		size = bytes->size - offset;
	if (size > 0)
		memcpy(data, bytes->data + offset, size);
	return leave(disk, (int)size);
}

static size_t used(const struct fake_disk *disk) {
	size_t sum = 0;

	for (size_t i = 0; i < disk->cache.count; i++)
		sum += disk->files[disk->cache.list[i].file]->cache.size;
	return sum;
}

static int write_file(void *context, int handle, const void *data, size_t size, uint64_t offset) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "write", name_of(disk, handle), true);
	size_t file = disk->open[handle];
	size_t done = 0;
	size_t grown;
	int answer = answer_of(disk, fate);

	switch (fate) {
	case FATE_WORK:
		done = size;
		break;
	case FATE_CRASH:
		done = disk->plan.crash_bytes < size ? disk->plan.crash_bytes : size;
		break;
	case FATE_FAIL:
		done = disk->plan.does_nothing ? 0 : prng_next(&disk->prng) % (size + 1);
		break;
	case FATE_DEAD:
		break;
	}
	grown = offset + done > disk->files[file]->cache.size
		    ? offset + done - disk->files[file]->cache.size
		    : 0;
	if (disk->plan.is_copy_on_write && !disk->files[file]->is_in_place)
		grown = done;
	if (disk->plan.capacity > 0 && grown > 0 && used(disk) + grown > disk->plan.capacity) {
		done = 0;
		answer = -ENOSPC;
	}
	if (done > 0)
		body_write(body_own(&disk->files[file]), offset, data, done);
	return leave(disk, answer);
}

static int sync_file(void *context, int handle) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "sync", name_of(disk, handle), true);
	struct luck luck;
	keep_function *keep = sync_takes(disk, fate, &luck);

	if (keep != NULL)
		(void)body_settle(body_own(&disk->files[disk->open[handle]]), 0, keep, &luck);
	return leave(disk, answer_of(disk, fate));
}

static int sync_names(void *context) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "sync", "the names", true);
	struct luck luck;

	if (fate == FATE_WORK && disk->has_lost_names)
		return leave(disk, -EIO);
	disk->has_lost_names = disk->has_lost_names || fate == FATE_FAIL;
	/* Without a function nothing is changed. */
	(void)settle_names(disk, 0, sync_takes(disk, fate, &luck), &luck);
	sweep(disk);
	return leave(disk, answer_of(disk, fate));
}

static int rename_file(void *context, const char *from, const char *to) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "rename", to, true);
	const struct name *name = names_find(&disk->cache, from);

	if (fate == FATE_WORK && name == NULL)
		return leave(disk, -ENOENT);
	if (name != NULL && happens(disk, fate))
		change_names(disk, from, to, name->file);
	return leave(disk, answer_of(disk, fate));
}

static int remove_file(void *context, const char *text) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "remove", text, true);
	const struct name *name = names_find(&disk->cache, text);

	if (fate == FATE_WORK && name == NULL)
		return leave(disk, -ENOENT);
	if (name != NULL && happens(disk, fate))
		change_names(disk, text, "", name->file);
	return leave(disk, answer_of(disk, fate));
}

static int list_files(void *context, vfs_each *each, void *argument) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "list", "the names", false);
	struct names names = names_clone(&disk->cache);

	(void)leave(disk, 0);
	for (size_t i = 0; fate == FATE_WORK && i < names.count; i++)
		if (!each(argument, names.list[i].text))
			break;
	free(names.list);
	return answer_of(disk, fate);
}

static int64_t size_of_file(void *context, int handle) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "size of", name_of(disk, handle), false);

	return leave(disk, fate == FATE_WORK ? (int)disk->files[disk->open[handle]]->cache.size
					     : answer_of(disk, fate));
}

static int64_t room_of_disk(void *context) {
	struct fake_disk *disk = context;
	enum fate fate = enter(disk, "room of", "the disk", false);
	uint64_t capacity = disk->plan.capacity > 0 ? disk->plan.capacity : ROOM_WITHOUT_LIMIT;
	uint64_t taken = used(disk);

	if (fate != FATE_WORK)
		return leave(disk, answer_of(disk, fate));
	return leave(disk, taken < capacity ? (int)(capacity - taken) : 0);
}

static bool is_linked(void *context, int handle, const char *name) {
	struct fake_disk *disk = context;
	const struct name *found;
	bool is;

	(void)pthread_mutex_lock(&disk->mutex);
	found = names_find(&disk->cache, name);
	is = found != NULL && found->file == disk->open[handle];
	(void)leave(disk, 0);
	return is;
}

/* --- The test's side ----------------------------------------------------------------------------
 */

static struct fake_disk *make(uint64_t seed) {
	struct fake_disk *disk = resized(NULL, sizeof(*disk));

	memset(disk, 0, sizeof(*disk));
	disk->prng.state = seed;
	disk->table = (struct vfs){.context = disk,
				   .open = open_file,
				   .close = close_file,
				   .read = read_file,
				   .write = write_file,
				   .sync = sync_file,
				   .sync_names = sync_names,
				   .rename = rename_file,
				   .remove = remove_file,
				   .list = list_files,
				   .size = size_of_file,
				   .is_linked = is_linked,
				   .room = room_of_disk};
	(void)pthread_mutex_init(&disk->mutex, NULL);
	return disk;
}

struct fake_disk *fake_disk_new(uint64_t seed) {
	return make(seed);
}

struct fake_disk *fake_disk_copy(const struct fake_disk *from) {
	struct fake_disk *disk = make(from->prng.state);
	size_t changes = from->name_changes_count * sizeof(*from->name_changes);

	disk->has_lost_names = from->has_lost_names;
	disk->files_count = from->files_count;
	disk->files = resized(NULL, disk->files_count * sizeof(struct body *));
	for (size_t i = 0; i < disk->files_count; i++) {
		disk->files[i] = from->files[i];
		if (disk->files[i] != NULL)
			disk->files[i]->holders++;
	}
	disk->cache = names_clone(&from->cache);
	disk->disk = names_clone(&from->disk);
	disk->name_changes = resized(NULL, changes);
	if (changes > 0)
		memcpy(disk->name_changes, from->name_changes, changes);
	disk->name_changes_count = from->name_changes_count;
	return disk;
}

void fake_disk_free(struct fake_disk *disk) {
	if (disk == NULL)
		return;
	for (size_t i = 0; i < disk->files_count; i++)
		body_drop(disk->files[i]);
	free(disk->files);
	free(disk->cache.list);
	free(disk->disk.list);
	free(disk->name_changes);
	free(disk->open);
	(void)pthread_mutex_destroy(&disk->mutex);
	free(disk);
}

struct vfs *fake_disk_of(struct fake_disk *disk) {
	return &disk->table;
}

void fake_disk_plan(struct fake_disk *disk, const struct fake_plan *plan) {
	(void)pthread_mutex_lock(&disk->mutex);
	disk->plan = plan == NULL ? (struct fake_plan){0} : *plan;
	disk->calls = disk->changes = 0;
	disk->has_struck = disk->has_crashed = false;
	disk->struck[0] = '\0';
	(void)leave(disk, 0);
}

uint64_t fake_disk_calls(const struct fake_disk *disk) {
	return disk->calls;
}

uint64_t fake_disk_changes(const struct fake_disk *disk) {
	return disk->changes;
}

bool fake_disk_struck(const struct fake_disk *disk) {
	return disk->has_struck;
}

const char *fake_disk_last(const struct fake_disk *disk) {
	return disk->has_struck ? disk->struck : disk->last;
}

void fake_disk_kill(struct fake_disk *disk) {
	disk->open_count = 0;
	disk->has_lost_names = false;
	fake_disk_plan(disk, NULL);
	sweep(disk);
}

static size_t settle(struct fake_disk *disk, keep_function *keep, void *context) {
	size_t thing = 0;

	for (size_t i = 0; i < disk->files_count; i++)
		if (disk->files[i] != NULL && disk->files[i]->pending_count > 0)
			thing =
			    body_settle(keep == NULL ? disk->files[i] : body_own(&disk->files[i]),
					thing, keep, context);
	return settle_names(disk, thing, keep, context);
}

size_t fake_disk_pending(const struct fake_disk *disk) {
	/* Without a function nothing is changed. */
	return settle((struct fake_disk *)disk, NULL, NULL);
}

void fake_disk_lose_power(struct fake_disk *disk, bool (*keep)(void *context, size_t thing),
			  void *context) {
	(void)settle(disk, keep, context);
	free(disk->cache.list);
	disk->cache = names_clone(&disk->disk);
	fake_disk_kill(disk);
	for (size_t i = 0; i < disk->files_count; i++)
		if (disk->files[i] != NULL)
			body_evict(body_own(&disk->files[i]));
}

const uint8_t *fake_disk_bytes(const struct fake_disk *disk, const char *name, size_t *size) {
	const struct name *found = names_find(&disk->cache, name);

	if (found == NULL)
		return NULL;
	*size = disk->files[found->file]->cache.size;
	return *size == 0 ? (const uint8_t *)"" : disk->files[found->file]->cache.data;
}

static struct body *body_named(struct fake_disk *disk, const char *name) {
	const struct name *found = names_find(&disk->cache, name);

	assert(found != NULL);
	return body_own(&disk->files[found->file]);
}

void fake_disk_poke(struct fake_disk *disk, const char *name, size_t offset, const void *data,
		    size_t size) {
	body_poke(body_named(disk, name), offset, data, size);
}

void fake_disk_resize(struct fake_disk *disk, const char *name, size_t size) {
	body_resize(body_named(disk, name), size);
}

void fake_disk_add(struct fake_disk *disk, const char *name) {
	size_t file = new_file(disk);

	names_put(&disk->cache, name, file);
	names_put(&disk->disk, name, file);
}

size_t fake_disk_open_files(const struct fake_disk *disk) {
	size_t count = 0;

	for (size_t i = 0; i < disk->open_count; i++)
		count += disk->open[i] != SIZE_MAX;
	return count;
}

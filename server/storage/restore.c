/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/service.h"
#include "log.h"
#include "random.h"
#include "storage/copy_mark.h"
#include "storage/manifest.h"
#include "storage/progress_bar.h"
#include "storage/recovery.h"
#include "storage/snapshot.h"

static const char mark_name[] = "restoring";
static const char temporary_name[] = "restored.tmp";
static const char whole_name[] = "restored";

/* Of what recovery_reader() made: its leases are over at once. */
static void forget_sessions(struct service *service) {
	(void)service_expire(service, UINT32_MAX, service_time(service));
}

static bool print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool print(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	(void)vprintf(format, arguments);
	va_end(arguments);
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return true;
	log_error("cannot write to standard output: %s", strerror(errno));
	return false;
}

static bool print_restored(const struct service *service, const uint8_t store[STORE_ID_SIZE]) {
	char id[2 * STORE_ID_SIZE + 1];

	for (unsigned i = 0; i < STORE_ID_SIZE; i++)
		(void)snprintf(id + 2 * (size_t)i, 3, "%02x", store[i]);
	return print("store %s\nkeys %zu\n", id, service_key_count(service));
}

/* --- Reading a backup ---------------------------------------------------------------------------
 */

/* What a bar shows: `done` bytes before this reading. */
struct reading {
	struct progress bar;
	uint64_t done;
};

static void show(void *context, uint64_t done, uint64_t size) {
	struct reading *reading = context;

	(void)size;
	progress_bar_update(&reading->bar, reading->done + done);
}

/* NULL: logged. *snapshot is what the file says of itself. */
static struct service *read_backup(const char *path, struct snapshot *snapshot) {
	char why[SNAPSHOT_WHY_SIZE];
	struct service *service = NULL;
	struct reading reading = {.done = 0};
	struct vfs vfs;
	bool is_sound;

	if (!vfs_open_file(path, &vfs, why, sizeof(why))) {
		log_error("%s", why);
		return NULL;
	}
	int file = vfs.open(vfs.context, path, VFS_READ);
	int64_t size = file >= 0 ? vfs.size(vfs.context, file) : 0;
	if (file >= 0)
		vfs.close(vfs.context, file);
	/* It is read to be verified, and then to be loaded. */
	progress_bar_init(&reading.bar, size > 0 ? 2 * (uint64_t)size : 0);
	is_sound = snapshot_check_file(&vfs, path, show, &reading, snapshot, why);
	reading.done = snapshot->size;
	if (is_sound)
		service = recovery_reader(snapshot->store);
	is_sound = service != NULL && snapshot_load_file(&vfs, path, show, &reading, service, why);
	progress_bar_clear(&reading.bar);
	vfs_close_file(&vfs);
	if (is_sound)
		return service;
	if (why[0] != '\0')
		log_error("%s", why);
	service_free(service);
	return NULL;
}

bool restore_check(const char *file) {
	struct snapshot snapshot;
	struct service *service = read_backup(file, &snapshot);

	if (service == NULL)
		return false;
	service_free(service);
	return print("file %s bytes %" PRIu64 " operations %d-%" PRIu64 " keys %" PRIu64
		     " sessions %" PRIu64 "\nformat %" PRIu32 "\nlast_operation %" PRIu64
		     "\nkeys %" PRIu64 "\nsessions %" PRIu64 "\n",
		     file, snapshot.size, snapshot.position > 0, snapshot.position,
		     snapshot.entries, snapshot.sessions, snapshot.format, snapshot.position,
		     snapshot.entries, snapshot.sessions);
}

/* --- Writing it as another store ----------------------------------------------------------------
 */

static bool failed(const char *directory, const char *what, int error) {
	log_error("cannot %s %s: %s%s", what, directory, strerror(-error),
		  vfs_is_full(error) ? " (make room for it, and run the same again)" : "");
	return false;
}

static int remove_if_there(struct vfs *vfs, const char *name) {
	int error = vfs->remove(vfs->context, name);

	return error == -ENOENT ? 0 : error;
}

static bool is_of_a_store(const char *name) {
	const char *const names[] = {manifest_name,  manifest_temporary_name,
				     "spare",	     "snapshot.tmp",
				     copy_mark_name, copy_mark_temporary_name};
	uint64_t number;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return segment_number(name, &number) || snapshot_position(name, &number);
}

struct removal {
	struct vfs *vfs;
	int error;
};

static bool remove_one(void *context, const char *name) {
	struct removal *removal = context;

	if (is_of_a_store(name))
		removal->error = remove_if_there(removal->vfs, name);
	return removal->error == 0;
}

/* The old store's files, of which some may be gone already. */
static int remove_old(struct vfs *vfs) {
	struct removal removal = {.vfs = vfs};
	int error = vfs->list(vfs->context, remove_one, &removal);

	return error < 0 ? error : removal.error;
}

/* "restored" is whole: it becomes the store. */
static int finish(struct vfs *vfs) {
	char name[VFS_NAME_MAX];
	int error = remove_old(vfs);

	snapshot_name(0, name);
	if (error == 0)
		error = vfs->sync_names(vfs->context);
	if (error == 0)
		error = vfs->rename(vfs->context, whole_name, name);
	if (error == 0)
		error = remove_if_there(vfs, mark_name);
	return error < 0 ? error : vfs->sync_names(vfs->context);
}

static int write_whole(struct vfs *vfs, const struct service *service,
		       const uint8_t store[STORE_ID_SIZE]) {
	struct reading writing = {.done = 0};
	int error = remove_if_there(vfs, temporary_name);

	progress_bar_init(&writing.bar, service_memory_used(service));
	if (error == 0)
		error = snapshot_write_origin(vfs, temporary_name, service, store, show, &writing);
	progress_bar_clear(&writing.bar);
	if (error == 0)
		error = vfs->rename(vfs->context, temporary_name, whole_name);
	return error < 0 ? error : vfs->sync_names(vfs->context);
}

/* The service, without its sessions, becomes the store of the directory. False: logged. */
static bool become(struct vfs *vfs, const char *directory, struct service *service) {
	uint8_t store[STORE_ID_SIZE];
	int error;

	forget_sessions(service);
	random_bytes(store, sizeof(store));
	error = write_whole(vfs, service, store);
	if (error == 0)
		error = finish(vfs);
	return error < 0 ? failed(directory, "write the store into", error)
			 : print_restored(service, store);
}

/* --- kvd --restore ------------------------------------------------------------------------------
 */

struct search {
	bool has_mark;
	bool is_interrupted; /* --restored was */
	char other[VFS_NAME_MAX];
};

static bool look_at(void *context, const char *name) {
	struct search *search = context;
	uint64_t number;

	if (strcmp(name, mark_name) == 0)
		search->has_mark = true;
	else if (strcmp(name, whole_name) == 0 || strcmp(name, temporary_name) == 0)
		search->is_interrupted = true;
	else if (strcmp(name, "lost+found") != 0 &&
		 !(snapshot_position(name, &number) && number == 0 && search->has_mark))
		(void)snprintf(search->other, sizeof(search->other), "%s", name);
	return true;
}

/* Whether nothing is lost if the directory becomes the store of a backup. False: logged. */
static bool is_free(struct vfs *vfs, const char *directory) {
	struct search search = {.has_mark = false};
	int file = vfs->open(vfs->context, mark_name, VFS_READ);
	int error;

	/* First of all: what stands beside it is of an interrupted restore. */
	search.has_mark = file >= 0;
	if (file >= 0)
		vfs->close(vfs->context, file);
	error = vfs->list(vfs->context, look_at, &search);
	if (error < 0)
		return failed(directory, "list", error);
	if (search.other[0] != '\0')
		log_error("%s is not empty (%s): restore into an empty directory, or into one that "
			  "does not exist yet",
			  directory, search.other);
	else if (search.is_interrupted && !search.has_mark)
		log_error("kvd -d %s --restored was interrupted: run it again, or restore into "
			  "another directory",
			  directory);
	else
		return true;
	return false;
}

/* From here on the directory is no empty one, which kvd would make a new store of. */
static int set_mark(struct vfs *vfs) {
	int file = vfs->open(vfs->context, mark_name, VFS_CREATE);

	if (file < 0 && file != -EEXIST)
		return file;
	if (file >= 0)
		vfs->close(vfs->context, file);
	return vfs->sync_names(vfs->context);
}

/* Its name in the directory above is to survive, as far as that can be synced. */
static void sync_parent(const char *directory) {
	char path[4096];
	int size = snprintf(path, sizeof(path), "%s/..", directory);
	int parent = size < (int)sizeof(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (parent < 0)
		return;
	(void)fsync(parent);
	(void)close(parent);
}

static bool restore_into(const char *directory, struct service *service) {
	char why[SNAPSHOT_WHY_SIZE];
	struct vfs vfs;
	bool done = false;
	int error;

	if (mkdir(directory, 0700) == 0)
		sync_parent(directory);
	else if (errno != EEXIST)
		return failed(directory, "make the directory", -errno);
	if (!vfs_open(directory, true, &vfs, why, sizeof(why))) {
		log_error("%s", why);
		return false;
	}
	if (is_free(&vfs, directory)) {
		error = set_mark(&vfs);
		done = error < 0 ? failed(directory, "write into", error)
				 : become(&vfs, directory, service);
	}
	vfs_close(&vfs);
	return done;
}

bool restore_backup(const char *directory, const char *file) {
	struct snapshot snapshot;
	struct service *service = read_backup(file, &snapshot);
	bool done = service != NULL && restore_into(directory, service);

	service_free(service);
	return done;
}

/* --- kvd --restored, kvd --moved ----------------------------------------------------------------
 */

static bool has_file(struct vfs *vfs, const char *name) {
	int file = vfs->open(vfs->context, name, VFS_READ);

	if (file >= 0)
		vfs->close(vfs->context, file);
	return file != -ENOENT;
}

const char *restore_unfinished(struct vfs *vfs) {
	if (has_file(vfs, mark_name))
		return mark_name;
	if (has_file(vfs, whole_name))
		return whole_name;
	return has_file(vfs, temporary_name) ? temporary_name : NULL;
}

static bool make_another(struct vfs *vfs, const char *directory) {
	struct service *service = NULL;
	bool done;

	if (has_file(vfs, whole_name)) {
		int error = finish(vfs);

		return error == 0 || failed(directory, "finish what was begun in", error);
	}
	if (has_file(vfs, mark_name)) {
		log_error("kvd -d %s --restore was interrupted: run it again", directory);
		return false;
	}
	done = recovery_read(vfs, &service) && become(vfs, directory, service);
	service_free(service);
	return done;
}

bool restore_as_another(const char *directory) {
	char why[SNAPSHOT_WHY_SIZE];
	struct vfs vfs;
	bool done;

	if (!vfs_open(directory, true, &vfs, why, sizeof(why))) {
		log_error("%s", why);
		return false;
	}
	done = make_another(&vfs, directory);
	vfs_close(&vfs);
	return done;
}

bool restore_as_moved(const char *directory) {
	char why[COPY_MARK_WHY_SIZE];
	struct vfs vfs;
	int error;

	if (!vfs_open(directory, true, &vfs, why, sizeof(why))) {
		log_error("%s", why);
		return false;
	}
	if (copy_mark_check(&vfs, why) == COPY_MARK_NONE) {
		log_error("%s has no file \"%s\", so it is not taken for a copy: start it as it is",
			  directory, copy_mark_name);
		vfs_close(&vfs);
		return false;
	}
	error = copy_mark_make(&vfs);
	vfs_close(&vfs);
	return error == 0 || failed(directory, "write into", error);
}

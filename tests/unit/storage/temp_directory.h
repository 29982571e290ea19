/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEMP_DIRECTORY_H
#define TEMP_DIRECTORY_H

/*
 * temp_directory.h - a directory of a test's own, and ways to look at its files and to change them
 * without vfs.c.
 */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "storage/snapshot.h"

struct place {
	char path[64];
	struct vfs disk;
};

static inline void place_open(struct place *place) {
	const char *where = getenv("TMPDIR");
	char why[SNAPSHOT_WHY_SIZE];

	(void)snprintf(place->path, sizeof(place->path), "%.40s/kv-snap.XXXXXX",
		       where == NULL ? "/tmp" : where);
	ck_assert_ptr_nonnull(mkdtemp(place->path));
	ck_assert_msg(vfs_open(place->path, true, &place->disk, why, sizeof(why)), "%s", why);
}

static inline void place_close(struct place *place) {
	DIR *names = opendir(place->path);
	const struct dirent *name;

	ck_assert_ptr_nonnull(names);
	while ((name = readdir(names)) != NULL)
		if (name->d_name[0] != '.')
			(void)unlinkat(dirfd(names), name->d_name, 0);
	(void)closedir(names);
	(void)rmdir(place->path);
	vfs_close(&place->disk);
}

/* A descriptor of a file in it, or -1. */
static inline int place_file(const struct place *place, const char *name, int flags) {
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", place->path, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static inline bool is_there(const struct place *place, const char *name) {
	int fd = place_file(place, name, O_RDONLY);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static inline void write_snapshot(const struct place *place, uint64_t position, const void *data,
				  size_t size) {
	char name[VFS_NAME_MAX];

	snapshot_name(position, name);
	int fd = place_file(place, name, O_WRONLY | O_CREAT | O_TRUNC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	(void)close(fd);
}

static inline void read_snapshot(const struct place *place, uint64_t position,
				 struct bytes *bytes) {
	char name[VFS_NAME_MAX];
	struct stat status;

	snapshot_name(position, name);
	int fd = place_file(place, name, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &status), 0);
	bytes_free(bytes);
	bytes->room = bytes->size = (size_t)status.st_size;
	bytes->data = malloc(bytes->size);
	ck_assert_ptr_nonnull(bytes->data);
	ck_assert_int_eq(read(fd, bytes->data, bytes->size), (ssize_t)bytes->size);
	(void)close(fd);
}

/* A snapshot of the service, written and published. */
static inline void take_snapshot(struct place *place, const struct service *service,
				 uint64_t position) {
	int error;

	ck_assert_int_eq(snapshot_write(&place->disk, service, position, NULL, NULL), 0);
	ck_assert_int_eq(snapshot_publish(&place->disk, position, &error), PUBLISH_DONE);
}

#endif

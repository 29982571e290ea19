/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { PATIENCE_MS = 2000 }; /* with whoever holds the lock */

/* Held locked while a process has the directory open. */
static const char lock_name[] = "lock";

/* Neither waited for if it is a pipe, nor made elsewhere if it is a link. */
enum { LOCK_FLAGS = O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW };

struct directory {
	int fd;
	int lock; /* -1: there is none */

	/*
	 * One sync of the names at a time, so that who made a name while another's sync failed is
	 * not told afterwards that all is well. A forked child does not sync names: the mutex may
	 * have been held when it was made.
	 */
	pthread_mutex_t mutex;
	int names_error; /* of the first sync of the names that failed; else 0 */
};

static int open_file(void *context, const char *name, enum disk_mode mode) {
	const struct directory *directory = context;
	/* A pipe under a file's name would be waited for. */
	int flags = O_CLOEXEC | O_NONBLOCK;
	int file;

	switch (mode) {
	case DISK_READ:
		flags |= O_RDONLY;
		break;
	case DISK_WRITE:
		flags |= O_RDWR;
		break;
	case DISK_CREATE:
		flags |= O_RDWR | O_CREAT | O_EXCL;
		break;
	}
	file = openat(directory->fd, name, flags, 0600);
	return file < 0 ? -errno : file;
}

static void close_file(void *context, int file) {
	(void)context;
	(void)close(file);
}

static int64_t read_file(void *context, int file, void *data, size_t size, uint64_t offset) {
	size_t done = 0;

	(void)context;
	while (done < size) {
		ssize_t got = pread(file, (char *)data + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (int64_t)done;
}

static int write_file(void *context, int file, const void *data, size_t size, uint64_t offset) {
	size_t done = 0;

	(void)context;
	while (done < size) {
		ssize_t put =
		    pwrite(file, (const char *)data + done, size - done, (off_t)(offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		done += (size_t)put;
	}
	return 0;
}

static int sync_file(void *context, int file) {
	(void)context;
	return fdatasync(file) == 0 ? 0 : -errno;
}

static int sync_names(void *context) {
	struct directory *directory = context;
	int error;

	(void)pthread_mutex_lock(&directory->mutex);
	if (directory->names_error == 0 && fsync(directory->fd) != 0)
		directory->names_error = -errno;
	error = directory->names_error;
	(void)pthread_mutex_unlock(&directory->mutex);
	return error;
}

static int rename_file(void *context, const char *from, const char *to) {
	const struct directory *directory = context;

	return renameat(directory->fd, from, directory->fd, to) == 0 ? 0 : -errno;
}

static int remove_file(void *context, const char *name) {
	const struct directory *directory = context;

	return unlinkat(directory->fd, name, 0) == 0 ? 0 : -errno;
}

static int list_files(void *context, disk_each *each, void *argument) {
	const struct directory *directory = context;
	int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *name;
	int error;

	if (names == NULL) {
		error = errno;
		if (fd >= 0)
			(void)close(fd);
		return -error;
	}
	errno = 0;
	while ((name = readdir(names)) != NULL) {
		if (name->d_name[0] != '.' && strcmp(name->d_name, lock_name) != 0 &&
		    !each(argument, name->d_name))
			break;
		errno = 0;
	}
	error = name == NULL ? errno : 0;
	(void)closedir(names);
	return -error;
}

static int64_t size_of_file(void *context, int file) {
	struct stat status;

	(void)context;
	return fstat(file, &status) == 0 ? (int64_t)status.st_size : -errno;
}

static int64_t room_of_disk(void *context) {
	const struct directory *directory = context;
	struct statvfs status;
	uint64_t room;

	if (fstatvfs(directory->fd, &status) != 0)
		return -errno;
	/* Without what only root may use. */
	if (__builtin_mul_overflow((uint64_t)status.f_bavail, (uint64_t)status.f_frsize, &room) ||
	    room > INT64_MAX)
		return INT64_MAX;
	return (int64_t)room;
}

/*
 * A kvd that was killed just as it forked for a snapshot leaves a child that holds the lock still;
 * the kernel ends it, too, a moment later. `kind` is LOCK_EX or LOCK_SH. False: errno.
 */
static bool wait_for_lock(int lock, int kind) {
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	uint64_t began_ms = clock_ms();

	while (flock(lock, kind | LOCK_NB) != 0) {
		if (errno != EINTR && (errno != EWOULDBLOCK || clock_ms() - began_ms > PATIENCE_MS))
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static bool take_lock(struct directory *directory, const char *path, char *why, size_t why_size) {
	directory->lock = openat(directory->fd, lock_name, O_RDWR | O_CREAT | LOCK_FLAGS, 0600);
	if (directory->lock < 0) {
		(void)snprintf(why, why_size, "cannot write in %s: %s (it must be kvd's user's)",
			       path, strerror(errno));
		return false;
	}
	if (wait_for_lock(directory->lock, LOCK_EX))
		return true;
	(void)snprintf(why, why_size, "%s is in use by another kvd: stop it, or name another -d",
		       path);
	return false;
}

/*
 * Who only reads keeps others from writing meanwhile, if it can: what is half written looks like
 * damage. Where no kvd ever was there is no lock.
 */
static bool share_lock(struct directory *directory, const char *path, char *why, size_t why_size) {
	directory->lock = openat(directory->fd, lock_name, O_RDONLY | LOCK_FLAGS);
	if (directory->lock < 0 || wait_for_lock(directory->lock, LOCK_SH) || errno != EWOULDBLOCK)
		return true;
	(void)snprintf(why, why_size, "%s is in use by a kvd: stop it first", path);
	return false;
}

bool vfs_open(const char *path, bool is_to_be_written, struct disk *disk, char *why,
	       size_t why_size) {
	struct directory *directory = malloc(sizeof(*directory));

	if (directory == NULL) {
		(void)snprintf(why, why_size, "no memory");
		return false;
	}
	*directory = (struct directory){.lock = -1};
	(void)pthread_mutex_init(&directory->mutex, NULL);
	directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*disk = (struct disk){.context = directory,
			      .directory = directory->fd,
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
			      .room = room_of_disk};
	if (directory->fd < 0)
		(void)snprintf(why, why_size, "cannot open the directory %s: %s%s", path,
			       strerror(errno),
			       errno == ENOENT	 ? " (make it first; it must be kvd's user's)"
			       : errno == EACCES ? " (it must be kvd's user's)"
						 : "");
	else if (is_to_be_written ? take_lock(directory, path, why, why_size)
				  : share_lock(directory, path, why, why_size))
		return true;
	vfs_close(disk);
	return false;
}

void vfs_close(struct disk *disk) {
	struct directory *directory = disk->context;

	if (directory == NULL)
		return;
	if (directory->lock >= 0)
		(void)close(directory->lock);
	if (directory->fd >= 0)
		(void)close(directory->fd);
	(void)pthread_mutex_destroy(&directory->mutex);
	free(directory);
	disk->context = NULL;
}

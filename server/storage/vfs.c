/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { LOCK_TIMEOUT_MS = 2000, READ_AHEAD = 4 << 20 };

/* Held locked while a process has the directory open. */
static const char lock_name[] = "lock";

/* Neither waited for if it is a pipe, nor made elsewhere if it is a link. */
enum { LOCK_FLAGS = O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW };

struct directory {
	char *path;
	int fd;	  /* locked, too: the lock's name can be removed */
	int lock; /* -1: there is none */

	/*
	 * One sync of the names at a time, so that a thread that made a name while another's sync
	 * failed does not get success afterwards. A forked child does not sync names: the
	 * mutex may have been held when it was made.
	 */
	pthread_mutex_t mutex;
	int names_error; /* of the first sync of the names that failed; else 0 */
};

/*
 * Btrfs writes bytes that replace others to new blocks, so that zeros written before are no
 * reserve; unless the file, still empty, is marked. Elsewhere the mark is not needed or not known.
 */
static void set_no_copy_on_write(int file) {
	struct statfs status;
	int flags;

	if (fstatfs(file, &status) != 0 || status.f_type != BTRFS_SUPER_MAGIC ||
	    ioctl(file, FS_IOC_GETFLAGS, &flags) != 0)
		return;
	flags |= FS_NOCOW_FL;
	(void)ioctl(file, FS_IOC_SETFLAGS, &flags);
}

static int open_file(void *context, const char *name, enum vfs_mode mode) {
	const struct directory *directory = context;
	/* A pipe under a file's name is not waited for, and a link leads to another's file. */
	int flags = O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
	int file;

	switch (mode) {
	case VFS_READ:
		flags |= O_RDONLY;
		break;
	case VFS_WRITE:
		flags |= O_RDWR;
		break;
	case VFS_CREATE:
	case VFS_PREALLOCATE:
		flags |= O_RDWR | O_CREAT | O_EXCL;
		break;
	}
	file = openat(directory->fd, name, flags, 0600);
	if (file < 0)
		return -errno;
	if (mode == VFS_PREALLOCATE)
		set_no_copy_on_write(file);
	return file;
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

static int64_t read_cached(void *context, int file, void *data, size_t size, uint64_t offset) {
	struct iovec place = {.iov_base = data, .iov_len = size};
	ssize_t got = preadv2(file, &place, 1, (off_t)offset, RWF_NOWAIT);

	if (got >= 0)
		return got;
	/* Other errors: the kernel or the file system cannot do that. */
	if (errno != EAGAIN)
		return read_file(context, file, data, size, offset);
	(void)posix_fadvise(file, (off_t)offset, READ_AHEAD, POSIX_FADV_WILLNEED);
	return -EAGAIN;
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

static int list_files(void *context, vfs_each *each, void *argument) {
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

/* `name` is one in the directory `at`. True also if that is unknown. */
static bool leads_to(int at, const char *name, int flags, int file) {
	struct stat named;
	struct stat opened;

	if (fstatat(at, name, &named, flags) != 0)
		return errno != ENOENT;
	return fstat(file, &opened) != 0 ||
	       (named.st_dev == opened.st_dev && named.st_ino == opened.st_ino);
}

static bool is_linked(void *context, int file, const char *name) {
	const struct directory *directory = context;

	return leads_to(AT_FDCWD, directory->path, 0, directory->fd) &&
	       leads_to(directory->fd, name, AT_SYMLINK_NOFOLLOW, file);
}

static int64_t room_of_disk(void *context) {
	const struct directory *directory = context;
	struct statvfs status;
	uint64_t room;

	if (fstatvfs(directory->fd, &status) != 0)
		return -errno;
	/* Some file systems, such as those in user space, count no blocks: they are not full. */
	if (status.f_blocks == 0)
		return -ENOTSUP;
	/* Without what only root may use. */
	if (__builtin_mul_overflow((uint64_t)status.f_bavail, (uint64_t)status.f_frsize, &room) ||
	    room > INT64_MAX)
		return INT64_MAX;
	return (int64_t)room;
}

static bool birth_of_file(void *context, int file, uint64_t *birth_ns) {
	struct statx status;

	(void)context;
	if (statx(file, "", AT_EMPTY_PATH, STATX_BTIME, &status) != 0 ||
	    (status.stx_mask & STATX_BTIME) == 0)
		return false;
	*birth_ns =
	    (uint64_t)status.stx_btime.tv_sec * UINT64_C(1000000000) + status.stx_btime.tv_nsec;
	return *birth_ns > 0;
}

/*
 * A kvd that was killed just as it forked for a snapshot leaves a child that holds the lock still;
 * the kernel ends it, too, a moment later. `kind` is LOCK_EX or LOCK_SH. False: errno.
 */
static bool wait_for_lock(int lock, int kind) {
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	uint64_t began_ms = clock_ms();

	while (flock(lock, kind | LOCK_NB) != 0) {
		if (errno != EINTR &&
		    (errno != EWOULDBLOCK || clock_ms() - began_ms > LOCK_TIMEOUT_MS))
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

/* True also where directories cannot be locked, as over some networks. */
static bool lock_directory(const struct directory *directory, int kind) {
	return wait_for_lock(directory->fd, kind) || errno != EWOULDBLOCK;
}

static bool take_lock(struct directory *directory, const char *path, char *why, size_t why_size) {
	directory->lock = openat(directory->fd, lock_name, O_RDWR | O_CREAT | LOCK_FLAGS, 0600);
	if (directory->lock < 0) {
		(void)snprintf(why, why_size,
			       "cannot write %s/%s: %s (-d needs a directory owned by "
			       "the user that runs kvd)",
			       path, lock_name, strerror(errno));
		return false;
	}
	if (wait_for_lock(directory->lock, LOCK_EX) && lock_directory(directory, LOCK_EX))
		return true;
	if (errno == EWOULDBLOCK)
		(void)snprintf(why, why_size,
			       "%s is in use by another kvd: stop it, or name another -d", path);
	else
		(void)snprintf(why, why_size,
			       "cannot lock %s/%s: %s (-d needs a file system with flock(2), which "
			       "keeps two kvd apart)",
			       path, lock_name, strerror(errno));
	return false;
}

/*
 * A reader keeps others from writing meanwhile, if it can, because a half-written file looks like
 * damage. Where kvd never ran there is no lock.
 */
static bool share_lock(struct directory *directory, const char *path, char *why, size_t why_size) {
	directory->lock = openat(directory->fd, lock_name, O_RDONLY | LOCK_FLAGS);
	if ((directory->lock < 0 || wait_for_lock(directory->lock, LOCK_SH) ||
	     errno != EWOULDBLOCK) &&
	    lock_directory(directory, LOCK_SH))
		return true;
	(void)snprintf(why, why_size, "%s is in use by a kvd: stop it first", path);
	return false;
}

/*
 * Where others may remove and replace names, what is found need not be what was written. The owner
 * of a directory may do so, too: only kvd's user and root are trusted.
 */
static bool is_private(const struct directory *directory, const char *path, char *why,
		       size_t why_size) {
	struct stat status;

	if (fstat(directory->fd, &status) != 0)
		(void)snprintf(why, why_size, "cannot look at %s: %s", path, strerror(errno));
	else if (status.st_uid != geteuid() && status.st_uid != 0)
		(void)snprintf(why, why_size,
			       "%s belongs to user %u, which could replace what kvd keeps there "
			       "(chown it to the user that runs kvd)",
			       path, (unsigned)status.st_uid);
	else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		(void)snprintf(
		    why, why_size,
		    "%s can be written by other users, which could replace what kvd keeps "
		    "there (chmod go-w %s)",
		    path, path);
	else
		return true;
	return false;
}

bool vfs_open(const char *path, bool is_to_be_written, struct vfs *vfs, char *why,
	      size_t why_size) {
	struct directory *directory = malloc(sizeof(*directory));
	char *copy = strdup(path);

	if (directory == NULL || copy == NULL) {
		free(directory);
		free(copy);
		(void)snprintf(why, why_size, "no memory");
		vfs->context = NULL;
		return false;
	}
	*directory = (struct directory){.path = copy, .lock = -1};
	(void)pthread_mutex_init(&directory->mutex, NULL);
	directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*vfs = (struct vfs){.context = directory,
			    .directory = directory->fd,
			    .open = open_file,
			    .close = close_file,
			    .read = read_file,
			    .read_cached = read_cached,
			    .write = write_file,
			    .sync = sync_file,
			    .sync_names = sync_names,
			    .rename = rename_file,
			    .remove = remove_file,
			    .list = list_files,
			    .size = size_of_file,
			    .is_linked = is_linked,
			    .room = room_of_disk,
			    .birth = birth_of_file};
	if (directory->fd < 0)
		(void)snprintf(why, why_size, "cannot open the directory %s: %s%s", path,
			       strerror(errno),
			       errno == ENOENT	 ? " (create it, owned by the user that runs kvd)"
			       : errno == EACCES ? " (it must be owned by the user that runs kvd)"
						 : "");
	else if (is_to_be_written ? is_private(directory, path, why, why_size) &&
					take_lock(directory, path, why, why_size)
				  : share_lock(directory, path, why, why_size))
		return true;
	vfs_close(vfs);
	return false;
}

void vfs_close(struct vfs *vfs) {
	struct directory *directory = vfs->context;

	if (directory == NULL)
		return;
	if (directory->lock >= 0)
		(void)close(directory->lock);
	if (directory->fd >= 0)
		(void)close(directory->fd);
	(void)pthread_mutex_destroy(&directory->mutex);
	free(directory->path);
	free(directory);
	vfs->context = NULL;
}

/* --- A single file ------------------------------------------------------------------------------
 */

static int open_any(void *context, const char *name, enum vfs_mode mode) {
	const int *file = context;
	int copy = mode == VFS_READ ? fcntl(*file, F_DUPFD_CLOEXEC, 0) : -1;

	(void)name;
	return copy >= 0 ? copy : mode == VFS_READ ? -errno : -EROFS;
}

bool vfs_open_file(const char *path, struct vfs *vfs, char *why, size_t why_size) {
	int *file = malloc(sizeof(*file));
	struct stat status;

	*vfs = (struct vfs){.context = file,
			    .open = open_any,
			    .close = close_file,
			    .read = read_file,
			    .size = size_of_file};
	if (file == NULL) {
		(void)snprintf(why, why_size, "no memory");
		return false;
	}
	/* A pipe is not waited for. */
	*file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*file < 0 || fstat(*file, &status) != 0)
		(void)snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
	else if (!S_ISREG(status.st_mode))
		(void)snprintf(why, why_size, "%s is no file: name the one that kvctl backup wrote",
			       path);
	else
		return true;
	vfs_close_file(vfs);
	return false;
}

void vfs_close_file(struct vfs *vfs) {
	int *file = vfs->context;

	if (file != NULL && *file >= 0)
		(void)close(*file);
	free(file);
	vfs->context = NULL;
}

bool vfs_is_full(int error) {
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

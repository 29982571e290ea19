/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFS_H
#define VFS_H

/*
 * vfs.h - the file operations that the journal and the snapshots need, on names in one directory,
 * as a table of functions, so that tests replace the disk. A function that can fail returns 0 (or
 * what it says) or a negative errno. Offsets and sizes are bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VFS_NAME_MAX = 64 };

enum vfs_mode {
	VFS_READ,   /* it must exist */
	VFS_WRITE,  /* it must exist */
	VFS_CREATE, /* to write; it must not exist */
	/* The same, and what is written over bytes that are there needs no more space, if the file
	   system can do that. */
	VFS_PREALLOCATE,
};

/* Called for each name. Returns false to stop. */
typedef bool vfs_each(void *context, const char *name);

struct vfs {
	void *context;
	int directory; /* the descriptor that a forked child must keep to use it; 0: none */

	/* Returns a file, 0 or more, to be closed with close(). */
	int (*open)(void *context, const char *name, enum vfs_mode mode);
	void (*close)(void *context, int file);
	/* Returns the bytes read: fewer than `size` only at the end of the file. */
	int64_t (*read)(void *context, int file, void *data, size_t size, uint64_t offset);
	/*
	 * The same without waiting for the disk: -EAGAIN, and the disk begins to read. It may read
	 * fewer bytes, but not 0 before the end. NULL: read() does not wait.
	 */
	int64_t (*read_cached)(void *context, int file, void *data, size_t size, uint64_t offset);
	/* Writes all of it. After an error it is unknown how much was written. */
	int (*write)(void *context, int file, const void *data, size_t size, uint64_t offset);
	/* Makes what was written survive a loss of power. After an error that is unknown. */
	int (*sync)(void *context, int file);
	/*
	 * Makes the names (open with VFS_CREATE, rename, remove) survive. After a failure it always
	 * fails, because the system reports lost names once, and each thread must know.
	 */
	int (*sync_names)(void *context);
	/* Replaces `to` atomically. */
	int (*rename)(void *context, const char *from, const char *to);
	int (*remove)(void *context, const char *name);
	int (*list)(void *context, vfs_each *each, void *argument);
	int64_t (*size)(void *context, int file);
	/* False: the name no longer leads to the open file, or the directory's path no longer to
	 * the directory. True also if that is unknown. */
	bool (*is_linked)(void *context, int file, const char *name);
	/* Bytes that are free, as far as the disk knows: a quota or another process may be in the
	 * way. Negative: it does not know. */
	int64_t (*room)(void *context);
	/* When the file was made, in nanoseconds, which no copy of it keeps. False: the file system
	 * does not say. NULL: none does. */
	bool (*birth)(void *context, int file, uint64_t *birth_ns);
};

/*
 * The files of a directory that exists, held by this process alone until vfs_close(), or by those
 * alone that only read. False: one line that says why and how to mend it is in `why`.
 */
bool vfs_open(const char *directory, bool is_to_be_written, struct vfs *vfs, char *why,
	      size_t why_size);
void vfs_close(struct vfs *vfs);

/*
 * A single file, to be read under any name: only open(), close(), read() and size() are there. To
 * be closed with vfs_close_file(). False: `why`, as above.
 */
bool vfs_open_file(const char *path, struct vfs *vfs, char *why, size_t why_size);
void vfs_close_file(struct vfs *vfs);

/* True for the errors that space on the disk, or a higher limit, would cure. */
bool vfs_is_full(int error);

#endif

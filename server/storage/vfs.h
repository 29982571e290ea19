/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_H
#define DISK_H

/*
 * disk.h - all that the journal and the snapshots ask of files: names in one directory, as a table
 * of functions, so that a test can be the disk. Every function that can fail answers 0 (or what it
 * says) or a negative errno. Offsets and sizes are bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DISK_NAME_MAX = 64 };

enum disk_mode {
	DISK_READ,   /* it must exist */
	DISK_WRITE,  /* it must exist */
	DISK_CREATE, /* to write; it must not exist */
};

/* Called for each name; false: stop. */
typedef bool disk_each(void *context, const char *name);

struct disk {
	void *context;
	int directory; /* the descriptor that a forked child must keep to use it; 0: none */

	/* A file's number, 0 or more, to be closed with close(). */
	int (*open)(void *context, const char *name, enum disk_mode mode);
	void (*close)(void *context, int file);
	/* How many bytes came: fewer than asked for only at the end of the file. */
	int64_t (*read)(void *context, int file, void *data, size_t size, uint64_t offset);
	/* All of them, or an error; after an error nobody knows how many. */
	int (*write)(void *context, int file, const void *data, size_t size, uint64_t offset);
	/* What was written to the file survives a loss of power. After an error nobody knows. */
	int (*sync)(void *context, int file);
	/*
	 * The names (open with DISK_CREATE, rename, remove) survive. Once it failed it always does,
	 * so that of several threads each hears of it: the system tells of lost names only once.
	 */
	int (*sync_names)(void *context);
	/* Replaces `to` at once if it is there. */
	int (*rename)(void *context, const char *from, const char *to);
	int (*remove)(void *context, const char *name);
	int (*list)(void *context, disk_each *each, void *argument);
	int64_t (*size)(void *context, int file);
	/* Bytes that are free, as far as the disk knows: a quota or another process may be in the
	 * way. Negative: it does not know. */
	int64_t (*room)(void *context);
};

/*
 * The files of a directory that exists, held by this process alone until vfs_close(), or by those
 * alone that only read. False: one line that says why and how to mend it is in `why`.
 */
bool vfs_open(const char *directory, bool is_to_be_written, struct disk *disk, char *why,
	       size_t why_size);
void vfs_close(struct disk *disk);

#endif

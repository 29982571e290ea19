/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COPY_MARK_H
#define COPY_MARK_H

/*
 * copy_mark.h - tells a directory that was copied from the one that kvd made: two that go on from
 * the same state are two stores, and must not have the same id.
 *
 * The file "birth" holds the moment at which it was made itself, as the file system has it. No copy
 * keeps that (cp, rsync, tar, a move to another file system); renames, mounts, reboots and another
 * machine that mounts the same disk do. A copy of the whole disk, block by block, does, too: it
 * cannot be told. Where the file system keeps no such moment, there is no file.
 *
 *	"kvdbirth", checksum (4), format (4), nanoseconds since 1970 (8), zeros (8)
 *
 * Numbers are little-endian; the checksum is CRC32C of what follows it.
 */

#include "storage/vfs.h"

enum { COPY_MARK_FORMAT = 1, COPY_MARK_WHY_SIZE = 512 };

extern const char copy_mark_name[];
extern const char copy_mark_temporary_name[];

enum copy_mark {
	COPY_MARK_NONE,	 /* the directory has none */
	COPY_MARK_OWN,	 /* it is no copy, or that cannot be told */
	COPY_MARK_OTHER, /* it is a copy (`why`), or the mark cannot be read */
};

enum copy_mark copy_mark_check(struct vfs *vfs, char why[COPY_MARK_WHY_SIZE]);

/*
 * Gives the directory a mark of its own, durably, in place of one that is there; none where the
 * file system has no such moment. 0, or a negative errno.
 */
int copy_mark_make(struct vfs *vfs);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MANIFEST_H
#define MANIFEST_H

/*
 * manifest.h - which segment of the journal a directory must have, and where a clean stop ended it:
 * kept apart from the segments, so that the loss of a segment or of its end is found.
 *
 * The file "manifest" (8192 bytes, zeros where nothing else is) has a place for a record at 0 and
 * one at 4096. They are written in turn, so that one is good whatever becomes of the other:
 *
 *	record: "kvdmnft1", checksum (4), format (4), store id (16), sequence (8), segment (8),
 *		end (8), zeros (8)
 *
 * Numbers are little-endian; the checksum is CRC32C of what follows it. The record with the highest
 * sequence counts. An older one is true, too: it only says less. A directory without the file was
 * written before there was one, and gets it with the next segment.
 */

#include "core/operation.h"
#include "storage/vfs.h"

enum { MANIFEST_FORMAT = 1, MANIFEST_WHY_SIZE = 512 };

extern const char manifest_name[];
extern const char manifest_temporary_name[]; /* left by a crash: to be removed */

struct manifest {
	uint8_t store[STORE_ID_SIZE];
	uint64_t sequence; /* of the record; 0: there is no manifest */
	uint64_t segment;  /* number of the newest segment that holds a batch, or may; 0: none */
	bool is_durable;   /* this process made it so; what was read may be in the cache alone */
	uint64_t end;	   /* offset in it, behind the mark of a clean stop; 0: no clean stop */
};

/* False: it is damaged or cannot be read (`why`). Without the file the sequence is 0. */
bool manifest_read(struct vfs *vfs, struct manifest *manifest, char why[MANIFEST_WHY_SIZE]);

/*
 * Makes the file, durably, with the next sequence. Returns it, open to be written, or a negative
 * errno.
 */
int manifest_create(struct vfs *vfs, struct manifest *manifest);

/*
 * Writes the next record, with these claims, into the open file, durably; but first the one that
 * was read, because the place of the next one may hold the only record that is on the disk. Returns
 * 0 or a negative errno.
 */
int manifest_write(struct vfs *vfs, int file, struct manifest *manifest, uint64_t segment,
		   uint64_t end);

#endif

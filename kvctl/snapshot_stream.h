/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOT_STREAM_H
#define SNAPSHOT_STREAM_H

/*
 * snapshot_stream.h - Whether the bytes of a snapshot, as they come, are those that the server
 * wrote: all its checksums, each of which begins with the one before it, and its end.
 *
 *	header:	"kvdsnap1", checksum (4), format (4), 48 bytes more
 *	chunk:	size (4), checksum (4), bytes
 *	end:	zero (4), checksum (4), sum of the sizes (8)
 *
 * Numbers are little-endian; checksums are CRC32C of what follows them, a chunk's size first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SNAPSHOT_STREAM_HEADER = 64,
	SNAPSHOT_STREAM_HEAD = 8,
	SNAPSHOT_STREAM_TOTAL = 8,
};

enum snapshot_part { PART_HEADER, PART_HEAD, PART_CHUNK, PART_TOTAL, PART_END };

/* All zero is the beginning of one. */
struct snapshot_stream {
	enum snapshot_part part;
	uint8_t gathered[SNAPSHOT_STREAM_HEADER]; /* of the header, a head, the total */
	size_t used;				  /* bytes of that */
	uint32_t left;				  /* bytes of the chunk that are to come */
	uint32_t expected;			  /* checksum of the chunk */
	uint32_t checksum;			  /* up to here */
	uint64_t total;				  /* bytes in chunks */
	uint32_t format;
};

/* False: they are not what was written. */
bool snapshot_stream_feed(struct snapshot_stream *stream, const void *bytes, size_t size);

/* Whether it has come to its end; of a newer format only the header was looked at. */
bool snapshot_stream_is_whole(const struct snapshot_stream *stream);

/* CRC32C (Castagnoli) of bytes behind those that gave `before`; 0 at first. */
uint32_t snapshot_stream_crc(uint32_t before, const void *bytes, size_t size);

#endif

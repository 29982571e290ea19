/* SPDX-License-Identifier: BSD-3-Clause */
#include "snapshot_stream.h"

#include <string.h>

#include "snapshot_format.h"

enum {
	AT_CHECKSUM = 8,
	AT_CHECKED = 12,
	AT_FORMAT = 12,
	LANES = 8, /* bytes at a time */
};

static const char magic[8] = {'k', 'v', 'd', 's', 'n', 'a', 'p', '1'};

static uint32_t get32(const uint8_t *from) {
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
	       (uint32_t)from[3] << 24;
}

static void fill_tables(uint32_t tables[LANES][256]) {
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
		tables[0][byte] = crc;
	}
	for (int lane = 1; lane < LANES; lane++)
		for (uint32_t byte = 0; byte < 256; byte++)
			tables[lane][byte] =
			    tables[lane - 1][byte] >> 8 ^ tables[0][tables[lane - 1][byte] & 0xff];
}

uint32_t snapshot_stream_crc(uint32_t before, const void *bytes, size_t size) {
	static uint32_t tables[LANES][256];
	const uint8_t *next = bytes;
	uint32_t crc = ~before;

	if (tables[0][1] == 0)
		fill_tables(tables);
	for (; size >= LANES; size -= LANES, next += LANES) {
		uint32_t low = crc ^ get32(next);
		uint32_t high = get32(next + 4);

		crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^
		      tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^ tables[3][high & 0xff] ^
		      tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^
		      tables[0][high >> 24];
	}
	for (; size > 0; size--, next++)
		crc = crc >> 8 ^ tables[0][(crc ^ *next) & 0xff];
	return ~crc;
}

/* How many bytes are gathered of this part before it is looked at. */
static size_t wanted(const struct snapshot_stream *stream) {
	switch (stream->part) {
	case PART_HEADER:
		return SNAPSHOT_STREAM_HEADER;
	case PART_HEAD:
		return SNAPSHOT_STREAM_HEAD;
	case PART_TOTAL:
		return SNAPSHOT_STREAM_TOTAL;
	case PART_CHUNK:
	case PART_END:
		break;
	}
	return 0;
}

static bool take_header(struct snapshot_stream *stream) {
	const uint8_t *header = stream->gathered;

	stream->checksum =
	    snapshot_stream_crc(0, header + AT_CHECKED, SNAPSHOT_STREAM_HEADER - AT_CHECKED);
	stream->format = get32(header + AT_FORMAT);
	stream->part = PART_HEAD;
	return memcmp(header, magic, sizeof(magic)) == 0 &&
	       get32(header + AT_CHECKSUM) == stream->checksum;
}

static bool take_head(struct snapshot_stream *stream) {
	stream->left = get32(stream->gathered);
	stream->expected = get32(stream->gathered + 4);
	stream->checksum = snapshot_stream_crc(stream->checksum, stream->gathered, 4);
	stream->part = stream->left > 0 ? PART_CHUNK : PART_TOTAL;
	return true;
}

static bool take_total(struct snapshot_stream *stream) {
	uint64_t total = get32(stream->gathered) | (uint64_t)get32(stream->gathered + 4) << 32;

	stream->checksum =
	    snapshot_stream_crc(stream->checksum, stream->gathered, SNAPSHOT_STREAM_TOTAL);
	stream->part = PART_END;
	return stream->checksum == stream->expected && total == stream->total;
}

static bool take(struct snapshot_stream *stream) {
	stream->used = 0;
	switch (stream->part) {
	case PART_HEADER:
		return take_header(stream);
	case PART_HEAD:
		return take_head(stream);
	case PART_TOTAL:
		return take_total(stream);
	case PART_CHUNK:
	case PART_END:
		break;
	}
	/* Something stands behind the end. */
	return false;
}

/* Returns how many bytes it took. */
static size_t feed_chunk(struct snapshot_stream *stream, const uint8_t *next, size_t size) {
	size_t piece = size < stream->left ? size : stream->left;

	stream->checksum = snapshot_stream_crc(stream->checksum, next, piece);
	stream->left -= (uint32_t)piece;
	stream->total += piece;
	return piece;
}

bool snapshot_stream_feed(struct snapshot_stream *stream, const void *bytes, size_t size) {
	const uint8_t *next = bytes;

	while (size > 0) {
		size_t piece;

		if (stream->part != PART_HEADER && stream->format > SNAPSHOT_FORMAT)
			return true;
		if (stream->part == PART_CHUNK) {
			piece = feed_chunk(stream, next, size);
			if (stream->left == 0) {
				if (stream->checksum != stream->expected)
					return false;
				stream->part = PART_HEAD;
			}
		} else {
			piece = wanted(stream) - stream->used;
			if (piece > size)
				piece = size;
			memcpy(stream->gathered + stream->used, next, piece);
			stream->used += piece;
			if (stream->used == wanted(stream) && !take(stream))
				return false;
		}
		next += piece;
		size -= piece;
	}
	return true;
}

bool snapshot_stream_is_whole(const struct snapshot_stream *stream) {
	return stream->part == PART_END || stream->format > SNAPSHOT_FORMAT;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RECORD_MARKING_H
#define RECORD_MARKING_H

/*
 * record_marking.h - the parser of record marking (RFC 5531, 11), which makes records of the bytes
 * of a stream: each fragment has four bytes ahead of it, its size and whether it is the last.
 *
 * Memory grows with the bytes that arrived, to at most six times as many, never with what a mark
 * claims; a record that lies in one piece in the bytes at hand takes none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
	RECORD_MARK_SIZE = 4,
	RECORD_ALIGNMENT = 4,		 /* of the records handed out: XDR's unit */
	RECORD_DIRECT_LEAST = 64 * 1024, /* see record_direct_buffer() */
	RECORD_HEAD_MAX = 1024,		 /* bytes: see record_discard() */
	RECORD_EMPTY_FRAGMENTS_MAX = 64, /* in one record; with more it is malformed */
};

/* All zero is a record of which nothing came yet. */
struct record {
	uint8_t *data; /* owned */
	size_t size;
	size_t capacity;
	uint8_t mark[RECORD_MARK_SIZE];
	unsigned mark_size; /* bytes of the mark that came; 0 .. 4 */
	uint32_t left;	    /* bytes of this fragment still to come, once the mark is whole */
	bool is_last;
	bool is_discarding; /* see record_discard() */
	unsigned empty_fragments;
};

enum record_state {
	RECORD_MORE,	  /* all bytes were taken; the record goes on */
	RECORD_COMPLETE,  /* *whole is the record */
	RECORD_INVALID,	  /* above the limit, or only empty fragments: do not trust the stream */
	RECORD_NOMEM,	  /* no bytes were taken: see record_discard() */
	RECORD_HEAD_ONLY, /* *whole is the head of a record, the rest was discarded */
};

/*
 * Takes bytes from *bytes, which moves on, until they are used up or a record of at most `size_max`
 * bytes is whole. Its bytes, aligned, lie in *bytes or in the record's own memory: they are there
 * until record_reset(), which must come before the next record_feed(), or record_detach().
 */
enum record_state record_feed(struct record *record, const uint8_t **bytes, size_t *size,
			      size_t size_max, struct kv_bytes *whole);

/*
 * Where the next bytes of a large fragment can be read to without another copy, and how many fit;
 * then call record_direct_filled(), and record_feed() with no bytes. *room is 0 if the next bytes
 * should come through record_feed(). False: no memory.
 */
bool record_direct_buffer(struct record *record, uint8_t **place, size_t *room);
void record_direct_filled(struct record *record, size_t size);

/*
 * Hands out a whole record's bytes as memory of the caller's, to be freed with free(), and begins
 * anew. NULL: no memory.
 */
uint8_t *record_detach(struct record *record, struct kv_bytes whole);

/*
 * After there was no memory: keeps the first RECORD_HEAD_MAX bytes of the record, and discards the
 * rest as it comes, so that the record can be refused. False: no memory even for that.
 */
bool record_discard(struct record *record);

/* Frees what came so far and begins anew. */
void record_reset(struct record *record);

/* Whether a part of a record is here. */
bool record_is_partial(const struct record *record);

/* Whether all of it is here: record_feed() with no bytes hands it out. */
bool record_is_complete(const struct record *record);

/* Writes the mark of a record that is one fragment of `size` bytes (less than 2 GiB). */
void record_mark(uint8_t mark[RECORD_MARK_SIZE], size_t size);

#endif

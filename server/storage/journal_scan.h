/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_SCAN_H
#define JOURNAL_SCAN_H

/*
 * journal_scan.h - the reader of a journal: hands over its operations in order, and tells damage
 * from what a crash leaves. It changes nothing.
 *
 * Damage is a batch that is not complete and is followed by anything, a segment that the manifest
 * or the snapshot says must be there and is not, a batch that is missing where a clean stop ended.
 * Not told from a crash is only this, and only in a last segment that was not stopped cleanly:
 * - the last batch alone is damaged, in its payload, or so that zeros replace bytes;
 * - everything from a batch to the last one reads as zeros, but perhaps for the end of the last
 *   batch.
 */

#include "storage/journal_format.h"
#include "storage/manifest.h"

enum { JOURNAL_WHY_SIZE = 512 };

/* One recorded operation, in order. False: no memory; reading stops. */
typedef bool journal_apply(void *context, uint64_t position, const struct operation *operation,
			   uint64_t time_ms);

/* A sound segment: its size in bytes; `last` is below `first` if it is empty. */
typedef void journal_segment(void *context, const char *name, uint64_t size, uint64_t first,
			     uint64_t last);

/* What reading a journal found. */
struct journal_found {
	uint64_t first; /* position of the first operation that is there; 0: none */
	uint64_t last;	/* of the last one; `after` if there is none */
	uint64_t segments;
	uint64_t first_segment; /* its number; 0: there are no segments */
	uint64_t last_segment;
	uint64_t operations; /* handed to the caller */
	bool was_stopped;    /* the end mark of a clean stop is the last thing */
	uint64_t torn; /* bytes at the end that were left out: of a batch that a crash cut short */
	uint64_t missing; /* bytes that the last segment lacks. No crash does that: it was cut, and
			     acknowledged writes may be lost with them */
};

/* The last batch, to be written again: after a crash it may be in the cache alone. */
struct last_batch {
	uint64_t segment;
	uint64_t offset;
	uint64_t size;	/* 0: there is none */
	uint8_t *bytes; /* as they were read and found good */
};

struct journal_end {
	bool has_store;
	uint8_t store[STORE_ID_SIZE];
	struct manifest manifest;
	uint64_t first_segment; /* 0: there are no segments */
	uint64_t last_segment;
	bool is_last_empty; /* there is no batch in the last segment */
	uint64_t *firsts;   /* the first position of each segment */
	uint64_t *stale;    /* segments before a gap, which hold nothing that is needed */
	size_t stale_count;
	uint64_t next; /* position of the next operation */
	uint64_t end;  /* offset behind the last batch in the last segment */
	struct last_batch last_batch;
};

/*
 * Hands over the operations behind position `after`, and each segment to `segment`, which may be
 * NULL. False: `why` says which file is damaged at which offset, or what failed, and what to do.
 * journal_scan_free() in any case.
 */
bool journal_read(struct vfs *vfs, uint64_t after, journal_apply *apply, journal_segment *segment,
		  void *context, struct journal_found *found, struct journal_end *end,
		  char why[JOURNAL_WHY_SIZE]);
/* Frees what it owns; `firsts` may be taken out first. */
void journal_scan_free(struct journal_end *end);

/* The store id in the last segment, or in the manifest; false: there is none that can be read. */
bool journal_read_store_id(struct vfs *vfs, uint8_t store[STORE_ID_SIZE]);

#endif

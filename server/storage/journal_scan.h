/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_READ_H
#define JOURNAL_READ_H

/* journal_read.h - reads the segments of a journal in order, and judges what it finds. */

#include "storage/journal_format.h"
#include "storage/journal_file.h"

/* The last batch, to be written anew: after a crash it may be in the cache alone. */
struct last_batch {
	uint64_t segment;
	uint64_t offset;
	uint64_t size;	/* 0: there is none */
	uint8_t *bytes; /* as they were read and found good */
};

struct journal_end {
	bool has_store;
	uint8_t store[STORE_ID_SIZE];
	uint64_t first_segment; /* 0: there are no segments */
	uint64_t last_segment;
	bool is_last_empty; /* there is no batch in the last segment */
	uint64_t *firsts;   /* the first position of each segment */
	uint64_t *stale;    /* segments before a gap, which hold nothing that is needed */
	size_t stale_count;
	uint64_t next; /* position of the next operation */
	struct last_batch last_batch;
};

/* See journal_file_check(). Whatever the answer, journal_scan_free(). */
bool journal_read(struct disk *disk, uint64_t after, journal_apply *apply, journal_segment *segment,
		  void *context, struct journal_found *found, struct journal_end *end,
		  char why[JOURNAL_WHY_SIZE]);
/* Frees what it owns; `firsts` may be taken out first. */
void journal_scan_free(struct journal_end *end);

/* The store id in the last segment; false: there is none that can be read. */
bool journal_read_store_id(struct disk *disk, uint8_t store[STORE_ID_SIZE]);

/* "journal-0000000000000001"; false: `name` is not of that form. */
void segment_name(uint64_t number, char name[DISK_NAME_MAX]);
bool segment_number(const char *name, uint64_t *number);

#endif

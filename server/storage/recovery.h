/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RECOVERY_H
#define RECOVERY_H

/*
 * recovery.h - from a directory to a service as it was: the snapshot, then the journal. Every
 * function here that answers false has logged one line that says why, and how to mend it.
 */

#include <stdio.h>

#include "storage/huge_pages.h"
#include "storage/journal_file.h"
#include "core/service.h"
#include "storage/snapshot.h"

struct recovery {
	struct disk disk;
	bool has_disk; /* it is to be closed */
	struct journal_file_options options;
	struct heap *heap;	      /* tended while the service is filled; NULL: none */
	uint8_t store[STORE_ID_SIZE]; /* the one found, or a new one */
	struct snapshot snapshot;     /* the one to begin with; size 0: there is none */
	struct journal_file *file;    /* after recovery_run(): to be given to journal_start() */
	struct journal_found found;   /* what the journal held */
	uint64_t last;		      /* position of the last operation */
	uint64_t time_ms;	      /* logged last */
	uint64_t replayed;	      /* bytes of the journal's files: what a snapshot saves */
};

/*
 * Takes a directory (which must exist) for this process and looks whose store it is. After true, or
 * false, recovery_close().
 */
bool recovery_open(struct recovery *recovery, const char *directory);

/*
 * The same over a disk that stays the caller's, and outlives the recovery and its journal file; the
 * segments are made as `options` say, and `options->chance` draws the id of a new store, too.
 */
bool recovery_open_disk(struct recovery *recovery, const struct disk *disk,
			const struct journal_file_options *options);

/* Fills an empty service with what is there, and makes the journal ready to go on. */
bool recovery_run(struct recovery *recovery, struct service *service);

/* Gives the directory back, or lets go of the disk. The journal file is not closed. */
void recovery_close(struct recovery *recovery);

/*
 * `kvd --check DIR`: reads everything, verifies every checksum, changes nothing, and prints what is
 * there on standard output. False: it is not sound (said on standard error).
 */
bool recovery_check(const char *directory);

/* The same of a disk that is handed in, printing to `out`. */
bool recovery_check_disk(struct disk *disk, FILE *out);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RECOVERY_H
#define RECOVERY_H

/*
 * recovery.h - the way from a directory to the service as it was: the snapshot, then the journal. A
 * function here that returns false has logged one line: what is wrong, and how to mend it.
 */

#include <stdio.h>

#include "core/service.h"
#include "storage/huge_pages.h"
#include "storage/journal_file.h"
#include "storage/snapshot.h"

struct recovery {
	struct vfs vfs;
	bool has_disk; /* it is to be closed */
	struct journal_file_options options;
	struct huge_pages *huge_pages; /* advised while the service is filled; may be NULL */
	/* What is read may take most of so many bytes, from `memory_source`, before that is logged;
	   0: it is not. */
	uint64_t memory_allowed;
	const char *memory_source;
	uint8_t store[STORE_ID_SIZE]; /* the one found, or a new one */
	struct snapshot snapshot;     /* the one to begin with; size 0: there is none */
	struct journal_file *file;    /* after recovery_run(): to be given to journal_start() */
	struct journal_found found;   /* what the journal held */
	uint64_t last;		      /* position of the last operation */
	uint64_t time_ms;	      /* logged last */
	uint64_t replayed;	      /* bytes of the journal's files: what a snapshot saves */
};

/*
 * Locks a directory (which must exist) for this process and reads the id of its store.
 * recovery_close() in any case.
 */
bool recovery_open(struct recovery *recovery, const char *directory);

/*
 * The same with a disk that the caller owns, and that outlives the recovery and its journal file;
 * the segments are made as `options` say, and `options->chance` draws the id of a new store, too.
 */
bool recovery_open_disk(struct recovery *recovery, const struct vfs *vfs,
			const struct journal_file_options *options);

/* Fills an empty service with what is there, and makes the journal ready to go on. */
bool recovery_run(struct recovery *recovery, struct service *service);

/* A service that takes whatever was stored, for those that only read. NULL: no memory (logged). */
struct service *recovery_reader(const uint8_t store[STORE_ID_SIZE]);

/*
 * Reads the store of a disk and changes nothing there. *service, which is the caller's also if
 * false is returned (logged), may be NULL then.
 */
bool recovery_read(struct vfs *vfs, struct service **service);

/* Unlocks the directory. The journal file is not closed. */
void recovery_close(struct recovery *recovery);

/*
 * `kvd --check DIR`: reads everything, verifies every checksum, changes nothing, and prints what is
 * there on standard output. False: it is not sound (said on standard error).
 */
bool recovery_check(const char *directory);

/* The same of a disk that is handed in, printing to `out`. */
bool recovery_check_disk(struct vfs *vfs, FILE *out);

#endif

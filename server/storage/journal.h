/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_H
#define JOURNAL_H

/*
 * journal.h - the journal of a running server. The turn gathers a batch in memory, while a thread
 * writes and syncs the one before: so the disk sets the size of the batches.
 *
 * All functions are called by the turn's thread. Only journal_write_inline() and journal_stop()
 * wait for the disk.
 */

#include "core/service.h"
#include "core/stat_histogram.h"
#include "storage/journal_file.h"

struct journal;

enum {
	JOURNAL_BEHIND_MAX = 16 << 20, /* max bytes not yet durable while calls are received */
	JOURNAL_SEGMENT_SIZE = 64 << 20,
};

/* NULL: no memory, or no descriptor (errno). Nothing is kept before it is started. */
struct journal *journal_new(void);
/*
 * Frees what journal_stop() left. Without it the directory is left as by a crash. NULL is allowed.
 */
void journal_free(struct journal *journal);

/*
 * Goes on behind position `last`, where `file`, which is the journal's now, ends. Makes the next
 * segment first. Nothing is written but by journal_step(): for a simulation, which has no threads.
 */
void journal_start_threadless(struct journal *journal, struct journal_file *file, uint64_t last);

enum journal_work {
	JOURNAL_WROTE,	  /* a batch is durable */
	JOURNAL_PREPARED, /* it did something else, and may have more to do */
	JOURNAL_IDLE,	  /* there is nothing to do */
	JOURNAL_NO_ROOM,  /* the disk has no space, or fails: to be tried again later */
	JOURNAL_FAILED,	  /* see journal_error(); nothing is ever written again */
};

/* One piece of the thread's work, which may wait for the disk. Not beside a thread. */
enum journal_work journal_step(struct journal *journal);

/* The same as journal_start_threadless(), and a thread that steps. False: no thread can be made.
 */
bool journal_start(struct journal *journal, struct journal_file *file, uint64_t last);

/* Returns what a service records with. */
struct journal_sink journal_recorder(struct journal *journal);

/* Hands the gathered batch over: it is written once the one before is. */
void journal_submit(struct journal *journal);

/*
 * In place of journal_submit(): writes and syncs the gathered batch in this thread, which saves two
 * changes of thread. False, and nothing done: the thread is at work, or the batch is large.
 */
bool journal_write_inline(struct journal *journal);

/* Readable when journal_durable(), journal_is_backlogged() or journal_error() may have changed. */
int journal_fd(const struct journal *journal);

/* Reads the events. Returns the position up to which operations are durable. */
uint64_t journal_durable(struct journal *journal);

/* Returns the position of the last operation recorded. */
uint64_t journal_last_position(const struct journal *journal);

/* True if there are operations behind the last result of journal_durable(). */
bool journal_has_pending(const struct journal *journal);

/* Removes segments with operations up to `position` only, when the disk has time: a snapshot holds
 * them. */
void journal_truncate(struct journal *journal, uint64_t position);

/* True: no more calls may be received. */
bool journal_is_backlogged(const struct journal *journal);

/*
 * Why there is no next segment, or no space for a batch, when journal_submit() or journal_durable()
 * looked last: a negative errno (see vfs_is_full()); 0: all is well. It is tried again each second.
 */
int journal_disk_error(const struct journal *journal);

/* Why the process must stop: a write or a sync failed, or a file is gone. NULL: it need not. */
const char *journal_error(struct journal *journal);

/*
 * Makes everything durable, truncates, marks a clean stop, and ends the thread if there is one.
 * False: journal_error().
 */
bool journal_stop(struct journal *journal);

/* Since journal_new(). */
struct journal_counters {
	uint64_t batches;
	uint64_t bytes;			  /* written */
	struct stat_histogram sync_us;	  /* to write and sync a batch */
	struct stat_histogram operations; /* of a batch */
	uint64_t behind;		  /* bytes not yet durable */
	bool is_disk_full;		  /* there is no room for another segment */
};
void journal_get_stats(struct journal *journal, struct journal_counters *counters);

#endif

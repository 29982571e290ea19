/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_H
#define JOURNAL_H

/*
 * journal.h - keeps what the turn records. The turn gathers a batch in memory; a thread writes and
 * syncs one batch while the next one gathers. So the disk sets the size of the batches.
 *
 * All functions are the turn's. It waits for nothing but in journal_write_inline() and journal_stop().
 */

#include "storage/journal_file.h"
#include "core/service.h"

struct journal;

enum {
	JOURNAL_BEHIND_MAX = 16 << 20, /* bytes not yet durable, before no more calls are taken */
	JOURNAL_SEGMENT_SIZE = 64 << 20,
};

/* NULL: no memory, or no descriptor (errno). It keeps nothing before it was begun or started. */
struct journal *journal_new(void);
/*
 * Frees what journal_stop() left. One that was begun and not stopped is left as a crash would leave
 * it. NULL is fine.
 */
void journal_free(struct journal *journal);

/*
 * Goes on behind position `last`, where `file`, which is the journal's now, ends. Makes the next
 * segment first. Nothing is written but by journal_step(): for a simulation, which has no threads.
 */
void journal_start_threadless(struct journal *journal, struct journal_file *file, uint64_t last);

enum journal_work {
	JOURNAL_WROTE,	  /* a batch is durable: there is news */
	JOURNAL_PREPARED, /* it did something else, and may have more to do */
	JOURNAL_IDLE,	  /* there is nothing to do */
	JOURNAL_NO_ROOM,  /* nothing but to look, later, whether the disk has room again */
	JOURNAL_FAILED,	  /* see journal_error(); nothing is ever written again */
};

/* One piece of the thread's work, which may wait for the disk. Not beside a thread. */
enum journal_work journal_step(struct journal *journal);

/* The same as journal_start_threadless(), and a thread that steps on. False: no thread to be had. */
bool journal_start(struct journal *journal, struct journal_file *file, uint64_t last);

/* What a service records with. */
struct recorder journal_recorder(struct journal *journal);

/* The turn ends: what it gathered goes to the disk, as soon as that is free. */
void journal_submit(struct journal *journal);

/*
 * In place of journal_submit(): the turn itself writes and syncs what it gathered, and has it durable
 * now, which saves two changes of thread. False: the thread is at work, or the batch is large:
 * journal_submit() it is.
 */
bool journal_write_inline(struct journal *journal);

/* Readable when journal_durable(), journal_is_backlogged() or journal_error() may have changed. */
int journal_fd(const struct journal *journal);

/* Takes the news in. Operations up to this position survive. */
uint64_t journal_durable(struct journal *journal);

/* Position of the last operation recorded. */
uint64_t journal_last_position(const struct journal *journal);

/* There are operations that journal_durable() did not name. */
bool journal_has_pending(const struct journal *journal);

/* A snapshot holds everything up to `position`: what is older may go, when the disk has time. */
void journal_truncate(struct journal *journal, uint64_t position);

/* No more calls should be taken until this is false again. */
bool journal_is_backlogged(const struct journal *journal);

/* There was no room for another segment when journal_submit() or journal_durable() looked last. */
bool journal_is_full(const struct journal *journal);

/* Why the process must stop: a write or a sync failed, and nobody knows what is on the disk. NULL:
 * it need not. */
const char *journal_error(struct journal *journal);

/*
 * Makes everything durable, forgets what it was told to, marks a clean stop, and ends the thread,
 * if there is one. False: journal_error().
 */
bool journal_stop(struct journal *journal);

struct journal_counters {
	uint64_t batches;
	uint64_t bytes;	   /* written */
	uint64_t behind;   /* bytes not yet durable */
	bool is_disk_full; /* there is no room for another segment */
};
void journal_get_stats(struct journal *journal, struct journal_counters *counters);

#endif

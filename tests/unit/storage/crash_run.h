/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

/*
 * crash_run.h - clients, a service, its journal and its snapshots on a fake disk, and a simple
 * model that knows what each client must have been answered. A run can be taken up again from what
 * a crash left, by kvd's own recovery.
 */

#include "crash_model.h"
#include "journal_fixture.h"
#include "prng.h"
#include "storage/recovery.h"

enum {
	RUN_LEASE_MS = 500,
	RUN_FEW_STEPS = 8, /* after a recovery */
	RUN_SAVED = 8,	   /* snapshots remembered, more than a disk may hold */
};

/* A snapshot on its way, as snapshotter.c and its child see to it. */
struct crash_snapshots {
	enum {
		SNAPSHOT_NONE,
		SNAPSHOT_WRITTEN, /* and not published */
	} phase;
	uint64_t position;
	uint64_t to_forget; /* what the journal may; 0: nothing */
	uint64_t published; /* how many */
	/* The model as each was written, to tell the slots that refusals took; in a ring. */
	struct {
		uint64_t position;
		struct crash_model model;
	} saved[RUN_SAVED];
	size_t saved_next;
	struct vfs beside; /* the disk, while the journal's thread uses it, too */
};

/*
 * Invariants: `journal.tape` and `replies` hold all operations recorded; `model` is the state after
 * them, `durable` the one after those that were answered. Of the tape's operations the first
 * `borrowed` belong to the run that this one took up.
 */
struct run {
	struct journal_world journal;
	struct crash_reply *replies;
	size_t replies_room;
	size_t borrowed;
	struct crash_model model;
	struct crash_model durable;
	struct service *service;
	struct recovery recovery; /* `journal.file` uses its disk */
	struct crash_snapshots snapshots;
	bool has_failed; /* the journal or the names: the process must stop */
	/*
	 * Told when kvd's own code begins and ends; answers whether the test has done something by
	 * which kvd may refuse to start. May be NULL.
	 */
	bool (*product)(bool begins);
	struct prng prng;
	uint64_t now_ms;
	uint64_t next_id;
	uint64_t seq;
};

/* A journal in segments of this size, on an empty disk. To be freed with run_free(). */
struct run *run_new(uint64_t seed, uint64_t segment_size);
void run_free(struct run *run);

/*
 * Goes on for some steps, writing a batch now and then and at the end, and taking snapshots. False:
 * the disk struck, and the process must stop; what was written to the journal then may be there or
 * not. A snapshot may fail without that.
 */
bool run_go_on(struct run *run, unsigned steps);

/* What was gathered becomes durable, and is answered. False: as above. */
bool run_answer(struct run *run);

/*
 * Takes up what is on `disk`, as the next process: it must hold all that `from` answered, once,
 * with its reply, and nothing that was not sent. Then the clients send again what they had no
 * answer to. `complain` is printed with what is wrong. The disk is the run's then. NULL: a planned
 * event on the disk struck, or product() says that it may refuse (nothing else may fail), and the
 * disk is still the caller's. `from` must outlive it.
 */
struct run *run_take_up(const struct run *from, struct fake_disk *disk, const char *complain);

/* Stops, as kvd does: with a mark if all is well. */
void run_stop(struct run *run, bool is_clean);

/* kvd's own code begins, or ends; see struct run. */
bool run_product(const struct run *run, bool begins);

uint64_t run_draw(struct run *run, uint64_t below);

/*
 * From now on malloc keeps what is freed: a run makes a service, whose regions have 2 MiB, and
 * copies disks, thousands of times.
 */
void run_keep_memory(void);

#endif

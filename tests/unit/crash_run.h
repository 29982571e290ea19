/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

/*
 * crash_run.h - clients, a service and its journal on a fake disk, and a simple model that knows
 * what each client must have been answered. A run can be taken up again from what a crash left.
 */

#include "journal_world.h"

enum {
	RUN_KEYS = 6,
	RUN_SESSIONS = 4,
	RUN_SLOTS = 2,
	RUN_VALUE_MAX = 600,
	RUN_LEASE_MS = 500,
	RUN_FEW_STEPS = 8, /* after a recovery */
};

struct crash_entry {
	uint64_t version; /* 0: no such key */
	size_t size;
	uint8_t bytes[RUN_VALUE_MAX];
};

struct crash_session {
	uint64_t client_id;	   /* 0: there is none */
	uint64_t last[RUN_SLOTS];  /* position of the last operation; 0: none */
	uint64_t taken[RUN_SLOTS]; /* seq of the last call, a refused one too */
};

struct crash_model {
	struct crash_entry entries[RUN_KEYS];
	struct crash_session sessions[RUN_SESSIONS];
	uint64_t ended_id; /* a session that is no more; 0: none yet */
};

struct crash_reply {
	enum kv_status status;
	uint64_t current;
	uint64_t old_version;
	struct kv_bytes old;
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
	uint64_t snapshot; /* position: what is before it need not be read */
	uint64_t chance;
	uint64_t now_ms;
	uint64_t next_id;
	uint64_t seq;
};

/* A journal in segments of this size, on an empty disk. To be freed with run_free(). */
struct run *run_new(uint64_t seed, uint64_t segment_size);
void run_free(struct run *run);

/*
 * Goes on for some steps, writing a batch now and then and at the end. False: the disk struck; what
 * was written to the journal then may be there or not.
 */
bool run_go_on(struct run *run, unsigned steps);

/*
 * Takes up what is on `disk`, as the next process: it must hold all that `from` answered, once,
 * with its reply, and nothing that was not sent. Then the clients send again what they had no
 * answer to. `complain` is printed with what is wrong. The disk is the run's then. NULL: a planned
 * event on the disk struck (nothing else may fail), and the disk is still the caller's. `from` must
 * outlive it.
 */
struct run *run_take_up(const struct run *from, struct fake_disk *disk, const char *complain);

/* The same, but the operations alone are looked at, which is quick. Nothing may fail. Frees disk.
 */
void run_look(struct run *from, struct fake_disk *disk, const char *complain);

/* Stops, as kvd does: with a mark if all is well. */
void run_stop(struct run *run, bool is_clean);

/* As if there was a snapshot of all that is durable. */
void run_forget(struct run *run);

uint64_t run_draw(struct run *run, uint64_t below);

#endif

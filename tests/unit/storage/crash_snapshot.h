/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRASH_SNAPSHOT_H
#define CRASH_SNAPSHOT_H

/*
 * crash_snapshot.h - the snapshots of a run: what snapshotter.c, its child and its thread do, in
 * one thread, with the journal at work between any two of their calls of the disk.
 */

#include "crash_run.h"

/* After a start; `from` is the run that was taken up, or NULL. */
void snapshots_begin(struct run *run, const struct run *from);
/* The model as it was when the snapshot of that position was written. NULL: there was none. */
const struct crash_model *snapshots_find(const struct run *run, uint64_t position);
/* Goes on with one, or begins one now and then. False: the process must stop. */
bool snapshots_step(struct run *run);
/* Gives up the one under way. */
void snapshots_end(struct run *run);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

/*
 * sim_watch.h - a worker that keeps a copy of the keys with a prefix by kv_watch_next(). Each time
 * that the watch says that the copy is that of the store, what the copy holds goes to the log as
 * one read of all of these keys.
 */

struct worker;
struct sim_watch;

/* Follows the changes for a while, through restarts and whatever else happens to the worker. */
void sim_watch_use(struct worker *worker);

/* Ends the worker's watch, if it has one, before its handle is closed. */
void sim_watch_end(struct worker *worker);

#endif

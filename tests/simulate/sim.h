/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_H
#define SIM_H

/*
 * sim.h - the simulator: virtual time, random numbers, scheduled events, tasks, and the log. All
 * that happens follows from the seed.
 *
 * Time does not pass while an event runs, and then moves to the next one; events of the same
 * millisecond run in the order in which they were scheduled. So nothing depends on how fast the
 * machine is.
 *
 * There is one simulation at a time, because the product's clock and random numbers have no
 * argument for it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "prng.h"

/* What happened, for the summary. X(name, words) */
#define SIM_FIGURES(X)                                                                             \
	X(operations, "operations")                                                                \
	X(done, "done")                                                                            \
	X(judged, "judged")                                                                        \
	X(acquisitions, "locks taken")                                                             \
	X(leases, "leases taken")                                                                  \
	X(pauses, "holders paused")                                                                \
	X(fenced, "late writes refused")                                                           \
	X(copies, "copies up to date")                                                             \
	X(undecided, "leases undecided")                                                           \
	X(maybes, "maybes")                                                                        \
	X(timeouts, "timeouts")                                                                    \
	X(refusals, "refusals")                                                                    \
	X(lost_sessions, "lost sessions told")                                                     \
	X(deaths, "clients died")                                                                  \
	X(connects, "connects")                                                                    \
	X(messages, "messages")                                                                    \
	X(lost, "lost")                                                                            \
	X(repeated, "repeated")                                                                    \
	X(overtaken, "overtaken")                                                                  \
	X(late, "late")                                                                            \
	X(cuts, "connections cut")                                                                 \
	X(partitions, "partitions")                                                                \
	X(one_way, "one way")                                                                      \
	X(turns, "turns")                                                                          \
	X(batches, "batches")                                                                      \
	X(snapshots, "snapshots")                                                                  \
	X(kills, "kills")                                                                          \
	X(power_losses, "power losses")                                                            \
	X(failed_syncs, "failed syncs")                                                            \
	X(clean_stops, "clean stops")                                                              \
	X(torn_recoveries, "crashes in recovery")                                                  \
	X(restarts, "restarts")                                                                    \
	X(expiries, "sessions expired")                                                            \
	X(replays, "replays from the cache")                                                       \
	X(disk_full, "disk full")

struct figures {
#define SIM_MEMBER(name, words) uint64_t name;
	SIM_FIGURES(SIM_MEMBER)
#undef SIM_MEMBER
};

struct task;
typedef void sim_event(void *context, uint64_t number);
typedef void task_body(void *context);

struct sim {
	uint64_t seed;
	bool is_told; /* print what happens */
	uint64_t now_ms;
	struct prng prng;
	struct figures figures;
	uint64_t hash;	    /* of everything that was said */
	char failure[1024]; /* the first promise that was broken; "": none */
};

/* The same memory; the program ends if it is NULL. */
void *or_die(void *memory);

/* Makes the world; there must be none. Ends the program if there is no memory. */
void sim_begin(uint64_t seed, bool is_told);
/* Frees it. Its tasks must have ended. */
void sim_end(void);
struct sim *sim(void);

/* Does `event` at that time, or now if that is past. The context must live until then. */
void sim_schedule(uint64_t at_ms, sim_event *event, void *context, uint64_t number);

/*
 * Does what is due next. False: nothing is, or the next is due after `until_ms`, and then that is
 * the time; or a promise was broken.
 */
bool sim_step(uint64_t until_ms);

/* A line of the log. */
void sim_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A promise was broken: the first one counts, and the world stops soon. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool sim_has_failed(void);

/* --- Tasks: what runs beside each other, on stacks of their own --- */

/* It begins at once, as something due now. It generations until sim_end(). */
struct task *task_new(task_body *body, void *context);
bool task_has_ended(const struct task *task);
/* The one that runs; NULL: none does. */
struct task *task_self(void);
void *task_context(const struct task *task);
/* A number that belongs to the task, for its callers' use; 0 at first. */
uint64_t *task_note(struct task *task);
/* The running one sleeps until then. True: it was woken before. */
bool task_sleep(uint64_t until_ms);
/* Ends its sleep; if it does not sleep, nothing. */
void task_wake(struct task *task);

#define SIM_FOREVER UINT64_MAX

#endif

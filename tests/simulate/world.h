/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORLD_H
#define WORLD_H

/*
 * world.h - one simulated world: its time, its chance, what is due when, who sleeps, what happened.
 * Everything that happens in it follows from its seed.
 *
 * Time stands still while something happens, and then moves to what is due next; what is due at the
 * same millisecond happens in the order in which it was put down. So nothing here depends on how
 * quick the machine is.
 *
 * There is one world at a time: the product's clock and chance have no argument that could tell one
 * from another.
 */

#include <stdbool.h>
#include <stdint.h>

#include "dice.h"

/* What happened, for the summary. X(name, words) */
#define WORLD_FIGURES(X)                                                                           \
	X(operations, "operations")                                                                \
	X(done, "done")                                                                            \
	X(judged, "judged")                                                                        \
	X(acquisitions, "locks taken")                                                             \
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
#define WORLD_MEMBER(name, words) uint64_t name;
	WORLD_FIGURES(WORLD_MEMBER)
#undef WORLD_MEMBER
};

struct task;
typedef void world_deed(void *context, uint64_t number);
typedef void task_body(void *context);

struct world {
	uint64_t seed;
	bool is_told; /* print what happens */
	uint64_t now_ms;
	struct dice dice;
	struct figures figures;
	uint64_t hash;	    /* of everything that was said */
	char failure[1024]; /* the first promise that was broken; "": none */
};

/* The same memory; the program ends if it is NULL. */
void *or_die(void *memory);

/* Makes the world; there must be none. Ends the program if there is no memory. */
void world_begin(uint64_t seed, bool is_told);
/* Frees it. Its tasks must have ended. */
void world_end(void);
struct world *world(void);

/* Does `deed` at that time, or now if that is past. The context must live until then. */
void world_plan(uint64_t at_ms, world_deed *deed, void *context, uint64_t number);

/*
 * Does what is due next. False: nothing is, or the next is due after `until_ms`, and then that is
 * the time; or a promise was broken.
 */
bool world_go_on(uint64_t until_ms);

/* A line of the log. */
void world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A promise was broken: the first one counts, and the world stops soon. */
void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool world_has_failed(void);

/* --- Tasks: what runs beside each other, on stacks of their own --- */

/* It begins at once, as something due now. It lives until world_end(). */
struct task *task_new(task_body *body, void *context);
bool task_has_ended(const struct task *task);
/* The one that runs; NULL: none does. */
struct task *task_self(void);
void *task_context(const struct task *task);
/* A number that is the task's, for whoever has something to tell it; 0 at first. */
uint64_t *task_note(struct task *task);
/* The running one sleeps until then. True: it was woken before. */
bool task_sleep(uint64_t until_ms);
/* Ends its sleep; if it does not sleep, nothing. */
void task_wake(struct task *task);

#define WORLD_FOR_EVER UINT64_MAX

#endif

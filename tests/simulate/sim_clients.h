/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_CLIENTS_H
#define SIM_CLIENTS_H

/*
 * sim_clients.h - the simulated client processes and their workload: Gets, Puts and Appends on a
 * few shared keys, a lock around a counter, long pauses, an early death. Some have two threads on
 * one handle. Each runs the real library (client/, lock/).
 *
 * Keys: "a0" and "a1" are appended to, by unique tokens; "r0" to "r2" are put and appended to at
 * random, and rarely deleted; "t0" to
 * "t2" are the keys of transactions (sim_txn.h); "l0" and "l1" are locks, "c0" and "c1" the
 * counters that they guard (sim_locks.h); "l2" is a lock with a lease, and guards "c2"
 * (sim_lease.h). Copies follow "a", "r" or "t" (sim_watch.h).
 */

#include "link_stubs.h"
#include "lock_invariants.h"
#include "op_log.h"
#include "sim_server.h"

enum { WORKERS_MAX = 120, TOKEN_MAX = 16 };

/* What kind of clients there are. In 10,000 where nothing else is said. */
struct clients_options {
	unsigned count;
	unsigned ops; /* of each worker */
	unsigned stateless;
	unsigned datagram;
	unsigned both;	   /* a list of two addresses */
	unsigned for_ever; /* calls without a time limit */
	unsigned two_threads;
	unsigned idle;	     /* before a op: a pause of up to ... */
	uint64_t idle_ms;    /* ... this long */
	unsigned pause_ms;   /* else of up to this */
	unsigned value_size; /* now and then a value of up to so many bytes */
	unsigned transactions;
	unsigned leases;
	unsigned deletes;    /* in place of Puts */
	unsigned watches;    /* uses of a copy that follows some keys */
	unsigned ahead;	     /* expects a version that is still to come */
	uint64_t attempt_ms; /* at most; the least is a tenth of it */
	bool may_be_full;    /* the server refuses for lack of memory, sessions or disk */
};

struct clients;

/* They begin at once. The rest is borrowed. */
struct clients *clients_new(const struct clients_options *options, struct link_stubs *stubs,
			    struct sim_server *server, struct lock_invariants *invariants);
/* All workers must have ended. */
void clients_free(struct clients *clients);

/* The process of a random one dies, and another begins; not for ever. */
void clients_kill_one(struct clients *clients);
/* One that lives, at random; NULL: there is none. */
struct host *clients_host(struct clients *clients);
bool clients_have_ended(const struct clients *clients);
/* They do no more than what they have begun. */
void clients_finish(struct clients *clients);

/* How many answers were given that only a lost session explains. */
unsigned clients_unexplained(const struct clients *clients);

/* One more client, which reads every key. Its values, in the order of the keys, are borrowed. */
enum { CLIENTS_KEYS = 14 };
extern const char *const clients_keys[]; /* NULL-terminated */
void clients_begin_reading(struct clients *clients);
bool clients_have_read(const struct clients *clients);
/*
 * At the end: one takes the lease and dies, then some others take it in turn. Begins what comes
 * next; false: all of them have ended.
 */
enum { CLIENTS_IN_TURN = 3 };
bool clients_hand_over(struct clients *clients);

const struct kv_value *clients_values(const struct clients *clients);

#endif

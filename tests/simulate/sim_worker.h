/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H

/*
 * sim_worker.h - the workers of sim_clients.h, for what they do: a worker is a thread of a
 * simulated client process.
 */

#include <kv/lock.h>

#include "invariants.h"
#include "sim_clients.h"
#include "sim_txn.h"

enum { THREADS_MAX = 2, OTHER_KEYS = 3 };

struct process;

/* A thread of a client. */
struct worker {
	struct actor actor; /* first: see op_log.h */
	struct process *process;
	struct task *task;
	struct kv_client *client; /* the process's, or a view of it */
	struct kv_lock *lock;
	struct contender *contender;
	struct kv_lock *lease_lock;
	struct lease_holder *lease;
	struct sim_watch *watch; /* NULL: none yet */
	unsigned tokens;
	uint64_t versions[OTHER_KEYS]; /* as last seen */
	struct txn_worker txn;
	uint64_t known_generation; /* of the store that it knows; 0: none */
};

struct process {
	struct process *next;
	struct clients *clients;
	struct host host;
	struct client_contract contract;
	struct kv_client *client;
	struct worker workers[THREADS_MAX];
	unsigned worker_count;
	unsigned working;
};

struct clients {
	struct clients_options options;
	struct link_stubs *stubs;
	struct sim_server *server;
	struct lock_invariants *invariants;
	struct process *processes;
	unsigned process_count;
	unsigned worker_count;
	bool is_finishing;
	bool has_read;
	unsigned hand_over_steps;
	unsigned turns;		/* at the end: of those who take the lease in turn ... */
	uint64_t turn_since_ms; /* ... and when the last one ended */
	uint64_t position;	/* the highest that a page told */
	unsigned unexplained;	/* answers that only a lost session explains */
	struct kv_value values[CLIENTS_KEYS];
};

bool worker_is_dead(const struct worker *worker);

/* Sleeps for so long, or until its process dies. */
void worker_rest(const struct worker *worker, uint64_t pause_ms);

/* Counts how a call ended. */
void worker_count(enum kv_status status);

/* The same status, of the worker's last operation; judges the reply. */
enum kv_status worker_checked(struct worker *worker, enum kv_status status);

#endif

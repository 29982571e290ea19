/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

/*
 * sim_server.h - the simulated server machine: a kvd that runs its turns between network and disk,
 * fails in every way that there is, and starts again.
 *
 * From the bytes of a record to the bytes of a reply, and from the journal to the functions of
 * struct vfs, it is the real one: dispatch, service, journal, snapshots and recovery. Simulated are
 * the event loop (a turn is due when something has arrived), the journal's thread (an event after a
 * while) and the disk (tests/unit/storage/fake_disk.h).
 */

#include "sim_network.h"

struct sim_server_options {
	bool is_durable;
	uint64_t lease_ms;
	uint32_t sessions_max;
	uint32_t value_max;
	size_t memory_room; /* beyond what an empty store takes */
	uint64_t segment_size;
	uint64_t disk_capacity; /* bytes; 0: no limit */
	uint64_t disk_ms;	/* how long a batch takes, at most */
	unsigned clock_percent; /* how quick its clock is */
};

struct sim_server;

/* It is off. Ends the program if there is no memory. */
struct sim_server *sim_server_new(const struct sim_server_options *options);
void sim_server_free(struct sim_server *server);

/* For the network: see sim_network.h. */
struct net_server sim_server_for_network(struct sim_server *server);
void sim_server_join(struct sim_server *server, struct net *net);

enum sim_server_failure {
	END_KILL,	 /* the process */
	END_POWER,	 /* the server, and what its disk had not synced */
	END_STOP,	 /* SIGTERM */
	END_FAILED_SYNC, /* the next change of the disk, or one soon after it, fails */
	END_KILL_SOON,	 /* like KILL and POWER, in the middle of a change of the disk */
	END_POWER_SOON,
};

/* Not if it is off already, or about to end. */
void sim_server_fail(struct sim_server *server, enum sim_server_failure end);
/* Starts, if it is off. */
void sim_server_start(struct sim_server *server);
/* No end comes any more that was not called for. */
void sim_server_quiesce(struct sim_server *server);

bool sim_server_is_durable(const struct sim_server *server);
bool sim_server_is_up(const struct sim_server *server);
/* Counts the processes; 0: none runs. */
uint64_t sim_server_generation(const struct sim_server *server);
/* How many there were. */
uint64_t sim_server_generations(const struct sim_server *server);

/* Called when another store is there than before, with the first generation that serves it. */
void sim_server_tell_store(struct sim_server *server,
			   void (*tell)(void *context, uint64_t generation), void *context);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MACHINE_H
#define MACHINE_H

/*
 * machine.h - the server's machine: a kvd that runs its turns between network and disk, dies in all
 * the ways that there are, and starts again.
 *
 * The kvd is the real one from the bytes of a record to the bytes of an answer, and from the
 * journal to the functions of struct disk: dispatch, service, journal, snapshots and recovery. What
 * stands in for the rest is here: the turn is due when something has arrived, the journal's thread
 * is a step that is done after a while, the disk is tests/unit/fake_disk.h.
 */

#include "net.h"

struct machine_options {
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

struct machine;

/* It is off. Ends the program if there is no memory. */
struct machine *machine_new(const struct machine_options *options);
void machine_free(struct machine *machine);

/* For the network: see net.h. */
struct net_server machine_server(struct machine *machine);
void machine_join(struct machine *machine, struct net *net);

enum machine_end {
	END_KILL,	 /* the process */
	END_POWER,	 /* the machine, and what its disk had not synced */
	END_STOP,	 /* SIGTERM */
	END_FAILED_SYNC, /* the next change of the disk, or one soon after it, fails */
	END_KILL_SOON,	 /* like KILL and POWER, in the middle of a change of the disk */
	END_POWER_SOON,
};

/* Not if it is off already, or about to end. */
void machine_end(struct machine *machine, enum machine_end end);
/* Starts, if it is off. */
void machine_start(struct machine *machine);
/* No end comes any more that was not called for. */
void machine_calm(struct machine *machine);

bool machine_is_durable(const struct machine *machine);
bool machine_is_up(const struct machine *machine);
/* Counts the processes; 0: none runs. */
uint64_t machine_life(const struct machine *machine);
/* How many there were. */
uint64_t machine_lives(const struct machine *machine);

/* Called when another store is there than before, with the first life that serves it. */
void machine_tell_store(struct machine *machine, void (*tell)(void *context, uint64_t life),
			void *context);

#endif

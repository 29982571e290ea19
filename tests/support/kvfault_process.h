/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KVFAULT_PROCESS_H
#define KVFAULT_PROCESS_H

/*
 * kvfault_process.h - a kvfault process between clients and a server: a good network until
 * commands change it. `kvfault --help` lists them. Any failure fails the test.
 */

#include <stddef.h>
#include <stdint.h>

#include "server.h"

enum { FAULT_ROUTES_MAX = 16 };

struct fault {
	struct process process;
	int out;
	int control;
	size_t count;
	uint64_t seed;
	char addresses[FAULT_ROUTES_MAX][128]; /* for clients, one for each route */
};

/*
 * Starts a kvfault with a route to the server for each of these ways, on any free port (or path).
 * Its seed is $SEED, or a fresh one; it is printed.
 */
void fault_start(struct fault *fault, const struct server *server, const enum via ways[],
		 size_t count);
void fault_stop(struct fault *fault);

/* Sends a command, which must be right: "bad", "@1 lose replies 1 put". */
void fault_tell(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sends a command that must be answered by an error in which this is said. */
void fault_mistake(struct fault *fault, const char *command, const char *says);

/* Of the route (from 1 on; 0: of all), one of the numbers that "status" tells: "lost", "held". */
uint64_t fault_count(struct fault *fault, unsigned route, const char *name);
/* Waits until that number is at least this. */
void fault_await(struct fault *fault, unsigned route, const char *name, uint64_t least);
/* Faults of any kind. */
uint64_t fault_total(struct fault *fault);

/* $SEED, or a fresh one. */
uint64_t fault_seed(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SEAMS_H
#define SEAMS_H

/*
 * seams.h - where the simulated world is put in place of the real one, at link time. link.c keeps
 * the contracts of client/link.h and connection.h, seams.c those of client/wait.h, lock/outside.h
 * and base/ clock, chance and log; all else of the product is what users run.
 *
 * A server address is here "HOST:KIND,...": the number of the host that connects, and for each
 * address "stream" or "datagram".
 */

#include <stdint.h>

#include "net.h"

enum { HOSTS_MAX = 64 };

/* One for a world; set before a client is opened. */
struct seams {
	struct net *net;
	struct host *hosts[HOSTS_MAX]; /* by number */
	uint64_t clock_ms;	       /* what clocks showed when the world began */
	unsigned links;		       /* that no client has dropped yet */
	char error[512];	       /* what the server logged last as an error */
};

/* What the links are told by the network. */
extern const struct net_client seams_client;

/* NULL: there are none. */
void seams_set(struct seams *seams);
struct seams *seams(void);

#endif

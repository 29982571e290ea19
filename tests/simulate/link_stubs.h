/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LINK_STUBS_H
#define LINK_STUBS_H

/*
 * link_stubs.h - the simulated platform that the product is linked with. sim_conn.c keeps the
 * contracts of client/rpc/conn.h and rpc_transport.h, link_stubs.c those of client/cond_wait.h,
 * lock/lock_platform.h and base/ clock, random and log; all else of the product is what users run.
 *
 * A server address is here "HOST:KIND,...": the number of the host that connects, and for each
 * address "stream" or "datagram".
 */

#include <stdint.h>

#include "sim_network.h"

enum { HOSTS_MAX = 64 };

/* One for a world; set before a client is opened. */
struct link_stubs {
	struct net *net;
	struct host *hosts[HOSTS_MAX]; /* by number */
	uint64_t clock_ms;	       /* what clocks showed when the world began */
	unsigned links;		       /* that no client has dropped yet */
	char error[512];	       /* what the server logged last as an error */
};

/* What the links are told by the network. */
extern const struct net_client link_stubs_client;

/* NULL: there are none. */
void link_stubs_set(struct link_stubs *stubs);
struct link_stubs *link_stubs(void);

#endif

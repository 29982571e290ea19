/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_LEASE_H
#define SIM_LEASE_H

/*
 * sim_lease.h - what a worker does with the lock "l2", which has a lease: it takes it, pauses for
 * longer than the lease at times, with its machine asleep or not, renews it, writes to "c2" what
 * names its token, and gives it back or lets it end.
 */

#include "sim_worker.h"

/* One use. Not of a stateless client. */
void sim_lease_use(struct worker *worker);

/* A lock that is held still is given back. */
void sim_lease_end(struct worker *worker);

/*
 * All is well by now, and nothing is on its way: one that takes the lock dies, and others take it
 * in turn once its lease is over.
 */
void sim_lease_die_with_it(struct worker *worker);
void sim_lease_take_turns(struct worker *worker);

#endif

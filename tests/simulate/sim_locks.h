/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_LOCKS_H
#define SIM_LOCKS_H

/*
 * sim_locks.h - what a worker does with the locks "l0" and "l1", which have no lease: it takes one,
 * adds to the counter that it guards, and gives it back, mostly; of a holder that is gone it breaks
 * it.
 */

#include "sim_worker.h"

/* One use, from acquire or try on. */
void sim_lock_use(struct worker *worker);

/* Releases the worker's lock. */
void sim_lock_give_back(struct worker *worker);

#endif

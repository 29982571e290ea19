/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_CALL_H
#define SIM_CALL_H

/*
 * sim_call.h - calls of the simulated kvd and their wires: what the transport of kvd knows as a
 * stream is a wire, which is there as long as the world.
 */

#include "rpc/call.h"
#include "sim_network.h"

struct wire *sim_call_wire(const struct call *call);

/* The call came over this wire: then it may wait if that is a stream. */
void sim_call_set_wire(struct call *call, struct wire *wire);

#endif

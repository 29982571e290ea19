/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_call.h"

#include <stdbool.h>

struct wire *sim_call_wire(const struct call *call) {
	return (struct wire *)(void *)call->stream;
}

/* Calls that wait stay as they are. */
static void park(struct call *call) {
	(void)call;
}

static void unpark(struct call *call, bool owes) {
	(void)call, (void)owes;
}

static bool is_connected(const struct call *call) {
	return wire_is_connected(sim_call_wire(call));
}

static const struct park_ops park_ops = {
    .park = park,
    .unpark = unpark,
    .is_connected = is_connected,
};

void sim_call_set_wire(struct call *call, struct wire *wire) {
	call->stream = (struct stream *)(void *)wire;
	call->park_ops = wire_is_stream(wire) ? &park_ops : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TROUBLE_H
#define TROUBLE_H

/*
 * trouble.h - a scene in which somebody misbehaves, another client is served meanwhile, and the
 * server's memory is measured.
 */

#include "prober.h"
#include "scene.h"

struct trouble {
	struct scene scene;
	struct prober prober;
	uint64_t memory; /* of the server, before */
};

/* `...` are more arguments for the server, the last one NULL. */
void trouble_begin(struct trouble *trouble, ...);

/* Fails if the server now holds more than `bytes` above what it held at the beginning. */
void trouble_check_memory(const struct trouble *trouble, const char *what, uint64_t bytes);

/*
 * Stops the server. Fails if the other client had to wait for too long, or if the scene's own peer
 * is not served any more. `what` names the trouble in the figures.
 */
void trouble_end(struct trouble *trouble, const char *what);

#endif

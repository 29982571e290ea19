/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROBER_H
#define PROBER_H

/*
 * prober.h - the client beside the troublemaker: a thread that calls GET over a connection of its
 * own, one call after the other, and notes the longest that it had to wait.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "peer.h"

struct prober {
	pthread_t thread;
	struct peer peer;
	atomic_bool is_over;
	uint64_t calls;
	uint64_t worst_us;
};

/* Starts once its first call was answered. */
void prober_start(struct prober *prober, const struct server *server);

/* Stops it, prints "figure: WHAT: ..." and fails if a call took longer than a generous limit. */
void prober_stop(struct prober *prober, const char *what);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LATENCY_PROBE_H
#define LATENCY_PROBE_H

/*
 * latency_probe.h - a probe of the latency that an uninvolved client sees: a thread that calls GET
 * over a connection of its own, one call after the other, and keeps the longest time.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "raw_conn.h"

struct latency_probe {
	pthread_t thread;
	struct peer peer;
	atomic_bool is_over;
	uint64_t calls;
	uint64_t worst_us;
};

/* Starts once its first call was answered. */
void latency_probe_start(struct latency_probe *probe, const struct server *server);

/* Stops it, prints "figure: WHAT: ..." and fails if a call took longer than a generous limit. */
void latency_probe_stop(struct latency_probe *probe, const char *what);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLIMATE_H
#define CLIMATE_H

/*
 * climate.h - what the world of a seed is like: drawn at its beginning, so that each is of a kind
 * of its own, and rare things are common in some. Whoever changes what is drawn makes other worlds
 * of the seeds there are; those in tests/simulate/seeds may then show nothing special any more.
 */

#include "clients.h"

struct climate {
	struct machine_options machine;
	struct clients_options clients;
	uint64_t clock_ms; /* what clocks show at the beginning */
	bool may_expire;   /* sessions: else all of them outlive the world */
	/* In 10,000 troubles. */
	unsigned storms; /* another weather */
	unsigned partitions;
	unsigned crashes;
	unsigned deaths;
	uint64_t trouble_ms; /* between two troubles, at most */
};

void climate_draw(struct climate *climate);

/* The next weather, good or bad; and the one that is neither. */
struct weather climate_weather(void);
extern const struct weather climate_fine;

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_CONFIG_H
#define SIM_CONFIG_H

/*
 * sim_config.h - the configuration of a simulation, drawn from its seed, so that rare things are
 * common in some. A change of what is drawn changes what all seeds mean; those in
 * tests/simulate/seeds may then show nothing special.
 */

#include "sim_clients.h"

struct sim_config {
	struct sim_server_options server;
	struct clients_options clients;
	uint64_t clock_ms; /* what clocks show at the beginning */
	bool may_expire;   /* sessions: else all of them outlive the world */
	/* In 10,000 injected faults. */
	unsigned fault_changes; /* other network faults from then on */
	unsigned partitions;
	unsigned crashes;
	unsigned deaths;
	uint64_t fault_interval_ms; /* between two faults, at most */
};

void sim_config_draw(struct sim_config *config);

/* The next faults, good or bad; and the one that is neither. */
struct net_faults sim_config_faults(void);
extern const struct net_faults sim_config_no_faults;

#endif

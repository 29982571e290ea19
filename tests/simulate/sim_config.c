/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_config.h"

#include "sim.h"

enum {
	LEASE_LONG_MS = 3600 * 1000, /* the server's default: no client idles for so long */
	IDLE_MS = 3000,
	CLOCK_MOST_DAYS = 400,
	DAY_MS = 24 * 3600 * 1000,
	PAGE = 4096,
	VALUE_LEAST = 40, /* the id of a lock has room */
	VALUE_MOST = 600,
	WATCHES = 2000,
};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

/*
 * One draw, one statement: within an expression a compiler may take them in any order, and a seed
 * means the same with all of them.
 */
static void draw_clients(struct clients_options *clients, uint64_t lease_ms) {
	*clients = (struct clients_options){.both = 2000, .two_threads = 3000, .idle = 300};
	clients->idle_ms = lease_ms < LEASE_LONG_MS ? 2 * lease_ms : IDLE_MS;
	clients->count = (unsigned)between(3, 6);
	clients->ops = (unsigned)between(15, 45);
	clients->stateless = happens(5000) ? 2500 : 0;
	clients->datagram = happens(5000) ? (unsigned)between(2000, 10000) : 0;
	clients->for_ever = happens(3000) ? 10000 : 6000;
	clients->pause_ms = (unsigned)between(10, 400);
	clients->value_size = (unsigned)between(0, happens(5000) ? 4000 : 200);
	clients->ahead = happens(5000) ? 3000 : 0;
	clients->attempt_ms = between(50, 1000);
	clients->may_be_full = happens(1500);
	/* Of each fifth seed, and not drawn: all others mean what they meant without. */
	clients->watches = sim()->seed % 5 == 0 ? WATCHES : 0;
	/* In a third of all stores no key ever ends: there each begins at version 1. */
	if (happens(6600)) {
		clients->transactions = (unsigned)between(1000, 5000);
		clients->deletes = (unsigned)between(0, 1000);
		clients->leases = happens(6000) ? (unsigned)between(500, 3000) : 0;
		/* Where next to nothing can be written there is nothing to lock. */
		if (clients->may_be_full)
			clients->leases = 0;
	}
}

/*
 * A segment has room for what all clients together may have under way; then it is as small as can
 * be, so that there are many.
 */
static uint64_t draw_segment(const struct clients_options *clients) {
	uint64_t least = 2 * PAGE + 2 * (uint64_t)clients->count * (clients->value_size + 256);
	uint64_t size = between(least, least + (happens(5000) ? PAGE : 32 * PAGE));

	return (size + PAGE - 1) / PAGE * PAGE;
}

static void draw_machine(struct sim_server_options *server, const struct clients_options *clients,
			 uint64_t lease_ms) {
	*server = (struct sim_server_options){.lease_ms = lease_ms,
					      .sessions_max = 1000,
					      .value_max = 65536,
					      .memory_room = (size_t)1 << 30};
	server->is_durable = happens(7500);
	server->segment_size = draw_segment(clients);
	server->disk_ms = between(1, 30);
	server->clock_percent = (unsigned)between(95, 105);
	if (!clients->may_be_full)
		return;
	server->sessions_max = (uint32_t)between(2, 6);
	server->value_max = (uint32_t)between(VALUE_LEAST, VALUE_MOST);
	if (happens(5000))
		server->memory_room = between(500, 5000);
	if (happens(5000))
		server->disk_capacity = between(5, 9) * server->segment_size;
}

void sim_config_draw(struct sim_config *config) {
	/* Half of all stores never lose a session: there KV_MAYBE needs another excuse. */
	uint64_t lease_ms = happens(5000) ? between(1500, 15000) : LEASE_LONG_MS;
	bool is_wild = happens(2000);

	draw_clients(&config->clients, lease_ms);
	draw_machine(&config->server, &config->clients, lease_ms);
	config->may_expire = lease_ms < LEASE_LONG_MS || config->clients.may_be_full;
	config->clock_ms = between(0, CLOCK_MOST_DAYS) * DAY_MS;
	config->fault_changes = (unsigned)between(1000, 4000);
	config->partitions = happens(8000) ? (unsigned)between(500, 3000) : 0;
	config->crashes = happens(8500) ? (unsigned)between(500, is_wild ? 6000 : 3000) : 0;
	config->deaths = happens(6000) ? (unsigned)between(100, 1500) : 0;
	config->fault_interval_ms = between(300, is_wild ? 600 : 3000);
}

static struct net_faults anything(void) {
	struct net_faults faults = {.lose = 0};

	faults.lose = (unsigned)between(0, 5000);
	faults.repeat = (unsigned)between(0, 5000);
	faults.hold = (unsigned)between(0, 3000);
	faults.cut = (unsigned)between(0, 1500);
	faults.choke = (unsigned)between(0, 200);
	faults.most_ms = between(1, 300);
	return faults;
}

const struct net_faults sim_config_no_faults = {.least_ms = 1, .most_ms = 4};

struct net_faults sim_config_faults(void) {
	switch (between(0, 4)) {
	case 0:
		return sim_config_no_faults;
	case 1:
		/* Each request is delayed 0 to 26 ms, 10 % of requests and of replies are lost. */
		return (struct net_faults){.lose = 1000, .most_ms = 26};
	case 2:
		return (struct net_faults){
		    .lose = 1000, .repeat = 1500, .hold = 1500, .most_ms = 26};
	case 3:
		return anything();
	default:
		return (struct net_faults){.lose = 200,
					   .repeat = 500,
					   .hold = 300,
					   .cut = 300,
					   .choke = 50,
					   .most_ms = 10};
	}
}

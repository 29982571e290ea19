/* SPDX-License-Identifier: BSD-3-Clause */
#include "scenario.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check_histories.h"
#include "invariants.h"
#include "sim_config.h"

enum {
	FAULT_INTERVAL_MIN_MS = 50, /* between two faults */
	QUIESCE_MS = 60000, /* after this long all gets better, so that they come to an end */
	DRAIN_MS = 90000,   /* longer than anything stays on its way */
	END_MS = 24 * 3600 * 1000,
	HEAL_MOST_MS = 6000,
	STEPS_MAX = 2000000,
};

struct run {
	struct sim_config config;
	struct link_stubs stubs;
	struct sim_server *server;
	struct clients *clients;
	struct lock_invariants invariants;
	struct op_log *op_log;
	bool is_quiet;
	uint64_t steps;
};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

/* --- Troubles ----------------------------------------------------------------------------------
 */

static void heal(void *context, uint64_t number) {
	struct host *host = context;

	(void)number;
	host->is_deaf = false;
	host->is_mute = false;
	sim_log("client %u: reaches the server again", host->number);
}

static void part(struct run *run) {
	struct host *host = clients_host(run->clients);
	uint64_t way = between(0, 3);

	if (host == NULL || host->is_deaf || host->is_mute)
		return;
	host->is_deaf = way != 0;
	host->is_mute = way != 1;
	if (host->is_deaf && host->is_mute)
		sim()->figures.partitions++;
	else
		sim()->figures.one_way++;
	sim_log("client %u: %s", host->number,
		way == 0   ? "does not reach the server"
		: way == 1 ? "does not hear the server"
			   : "cut off from the server");
	sim_schedule(sim()->now_ms + between(1, happens(500) ? 5 * HEAL_MOST_MS : HEAL_MOST_MS),
		     heal, host, 0);
}

static void crash(struct run *run) {
	static const enum sim_server_failure ends[] = {
	    END_KILL,	   END_KILL,	   END_POWER,	   END_STOP,	    END_KILL_SOON,
	    END_KILL_SOON, END_POWER_SOON, END_POWER_SOON, END_FAILED_SYNC, END_FAILED_SYNC,
	};

	sim_server_fail(run->server, ends[between(0, sizeof(ends) / sizeof(ends[0]) - 1)]);
}

static void inject_fault(void *context, uint64_t number) {
	struct run *run = context;
	const struct sim_config *config = &run->config;

	(void)number;
	if (run->is_quiet)
		return;
	if (happens(config->fault_changes)) {
		const struct net_faults faults = sim_config_faults();

		sim_log("faults: loses %u, repeats %u, holds %u, cuts %u, up to %" PRIu64 " ms",
			faults.lose, faults.repeat, faults.hold, faults.cut, faults.most_ms);
		net_set_weather(run->stubs.net, &faults);
	}
	if (happens(config->partitions))
		part(run);
	if (happens(config->crashes))
		crash(run);
	if (happens(config->deaths))
		clients_kill_one(run->clients);
	sim_schedule(sim()->now_ms + between(FAULT_INTERVAL_MIN_MS, config->fault_interval_ms),
		     inject_fault, run, 0);
}

static void quiesce(struct run *run) {
	run->is_quiet = true;
	sim_log("no more faults");
	net_set_weather(run->stubs.net, &sim_config_no_faults);
	sim_server_quiesce(run->server);
}

/* --- From beginning to end ---------------------------------------------------------------------
 */

static bool step(struct run *run, uint64_t until_ms) {
	if (++run->steps > STEPS_MAX)
		sim_fail("no end after %d steps", STEPS_MAX);
	return sim_step(until_ms);
}

static uint64_t generations(void *context) {
	return sim_server_generations(context);
}

static void another_store(void *context, uint64_t generation) {
	lock_invariants_new_store(context, generation);
}

static void begin(struct run *run) {
	const struct sim_server_options *server = &run->config.server;
	struct net_faults faults;

	sim_config_draw(&run->config);
	faults = sim_config_faults();
	run->stubs.clock_ms = run->config.clock_ms;
	link_stubs_set(&run->stubs);
	run->server = sim_server_new(server);
	const struct net_server as_server = sim_server_for_network(run->server);
	run->stubs.net = net_new(&as_server, &link_stubs_client);
	net_set_weather(run->stubs.net, &faults);
	sim_server_join(run->server, run->stubs.net);
	sim_server_tell_store(run->server, another_store, &run->invariants);
	run->op_log = op_log_new();
	op_log_set(run->op_log, generations, run->server);
	sim_log("seed %" PRIu64 ": %s, lease %" PRIu64 " ms, segments of %" PRIu64 "%s",
		sim()->seed, server->is_durable ? "durable" : "memory only", server->lease_ms,
		server->segment_size, run->config.clients.may_be_full ? ", not much room" : "");
	sim_server_start(run->server);
	run->clients =
	    clients_new(&run->config.clients, &run->stubs, run->server, &run->invariants);
	sim_schedule(between(0, 1000), inject_fault, run, 0);
}

static void work(struct run *run) {
	while (!clients_have_ended(run->clients)) {
		if (!run->is_quiet && sim()->now_ms > QUIESCE_MS)
			quiesce(run);
		if (!step(run, END_MS)) {
			if (!sim_has_failed())
				sim_fail("the clients come to no end");
			return;
		}
	}
}

/* Reads all keys once nothing is on its way any more, and again after the power was lost. */
static void read_all(struct run *run) {
	uint64_t until_ms = sim()->now_ms + DRAIN_MS;

	while (step(run, until_ms))
		continue;
	clients_begin_reading(run->clients);
	until_ms = sim()->now_ms + DRAIN_MS;
	while (!clients_have_read(run->clients) && step(run, until_ms))
		continue;
	if (!sim_has_failed() && !clients_have_read(run->clients))
		sim_fail("the store cannot be read in good faults");
}

/* A lock with a lease comes to those that wait for it, whatever became of its holders. */
static void hand_over(struct run *run) {
	uint64_t until_ms = sim()->now_ms + DRAIN_MS;

	while (clients_hand_over(run->clients)) {
		while (!clients_have_ended(run->clients) && step(run, until_ms))
			continue;
		if (!sim_has_failed() && !clients_have_ended(run->clients))
			sim_fail("the lock with a lease is not handed over");
	}
	/* Until their handles are closed, too. */
	until_ms += DRAIN_MS;
	while (step(run, until_ms))
		continue;
}

static void check_ends(const struct run *run) {
	const struct kv_value *values = clients_values(run->clients);

	for (unsigned i = 0; i < CLIENTS_KEYS; i++)
		if (clients_keys[i][0] == 'a')
			invariant_tokens(run->op_log, clients_keys[i], &values[i],
					 run->invariants.generation);
	invariant_both(run->op_log, clients_keys, values);
}

/* "A session idle past its lease ends", and no other. */
static void check_sessions(const struct run *run) {
	uint64_t ended = sim()->figures.expiries;

	if (ended > 0 && !run->config.may_expire)
		sim_fail("%" PRIu64 " sessions ended long before their lease", ended);
	if (ended == 0 && clients_unexplained(run->clients) > 0)
		sim_fail("%u writes are in doubt, and no session was lost",
			 clients_unexplained(run->clients));
}

/* Where nothing gets done no promise can be broken. In the fullest of stores a tenth is done. */
static void check_progress(void) {
	const struct figures *figures = &sim()->figures;

	if (figures->done * 50 < figures->operations)
		sim_fail("of %" PRIu64 " calls only %" PRIu64 " were done", figures->operations,
			 figures->done);
}

static void end(struct run *run) {
	op_log_set(NULL, NULL, NULL);
	clients_free(run->clients);
	sim_server_free(run->server);
	net_free(run->stubs.net);
	op_log_free(run->op_log);
	link_stubs_set(NULL);
}

/* The world of a store that outlives its server ends twice: the second time all must be there. */
static void play(struct run *run) {
	work(run);
	if (sim_has_failed())
		return;
	if (!run->is_quiet)
		quiesce(run);
	read_all(run);
	if (!sim_has_failed())
		check_ends(run);
	if (!sim_has_failed())
		hand_over(run);
	if (!sim_has_failed() && sim_server_is_durable(run->server)) {
		sim_server_fail(run->server, END_POWER);
		read_all(run);
		if (!sim_has_failed())
			check_ends(run);
	}
	op_log_end(run->op_log);
	if (!sim_has_failed())
		check_histories(run->op_log, sim_server_is_durable(run->server),
				sim_server_generations(run->server));
	if (!sim_has_failed())
		check_sessions(run);
	if (!sim_has_failed())
		check_progress();
	if (!sim_has_failed() && run->stubs.links > 0)
		sim_fail("%u links were never dropped", run->stubs.links);
}

bool scenario_run(uint64_t seed, bool is_told, struct outcome *outcome) {
	struct run *run = calloc(1, sizeof(*run));

	if (run == NULL)
		return false;
	sim_begin(seed, is_told);
	begin(run);
	play(run);
	if (!sim_has_failed())
		end(run);
	*outcome = (struct outcome){
	    .figures = sim()->figures, .hash = sim()->hash, .virtual_ms = sim()->now_ms};
	memcpy(outcome->failure, sim()->failure, sizeof(outcome->failure));
	if (outcome->failure[0] == '\0') {
		sim_end();
		free(run);
	}
	return true;
}

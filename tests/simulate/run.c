/* SPDX-License-Identifier: BSD-3-Clause */
#include "run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "climate.h"
#include "histories.h"
#include "judge.h"

enum {
	TROUBLE_LEAST_MS = 50, /* between two troubles */
	CALM_MS = 60000,       /* after this long all gets better, so that they come to an end */
	DRAIN_MS = 90000,      /* longer than anything stays on its way */
	END_MS = 24 * 3600 * 1000,
	HEAL_MOST_MS = 6000,
	STEPS_MAX = 2000000,
};

struct run {
	struct climate climate;
	struct seams seams;
	struct machine *machine;
	struct clients *clients;
	struct watchers watchers;
	struct deeds *deeds;
	bool is_calm;
	uint64_t steps;
};

static uint64_t between(uint64_t least, uint64_t most) {
	return dice_between(&world()->dice, least, most);
}

static bool happens(unsigned in_10000) {
	return dice_often(&world()->dice, in_10000);
}

/* --- Troubles ----------------------------------------------------------------------------------
 */

static void heal(void *context, uint64_t number) {
	struct host *host = context;

	(void)number;
	host->is_deaf = false;
	host->is_mute = false;
	world_say("client %u: reaches the server again", host->number);
}

static void part(struct run *run) {
	struct host *host = clients_host(run->clients);
	uint64_t way = between(0, 3);

	if (host == NULL || host->is_deaf || host->is_mute)
		return;
	host->is_deaf = way != 0;
	host->is_mute = way != 1;
	if (host->is_deaf && host->is_mute)
		world()->figures.partitions++;
	else
		world()->figures.one_way++;
	world_say("client %u: %s", host->number,
		  way == 0   ? "does not reach the server"
		  : way == 1 ? "does not hear the server"
			     : "cut off from the server");
	world_plan(world()->now_ms + between(1, happens(500) ? 5 * HEAL_MOST_MS : HEAL_MOST_MS),
		   heal, host, 0);
}

static void crash(struct run *run) {
	static const enum machine_end ends[] = {
	    END_KILL,	   END_KILL,	   END_POWER,	   END_STOP,	    END_KILL_SOON,
	    END_KILL_SOON, END_POWER_SOON, END_POWER_SOON, END_FAILED_SYNC, END_FAILED_SYNC,
	};

	machine_end(run->machine, ends[between(0, sizeof(ends) / sizeof(ends[0]) - 1)]);
}

static void trouble(void *context, uint64_t number) {
	struct run *run = context;
	const struct climate *climate = &run->climate;

	(void)number;
	if (run->is_calm)
		return;
	if (happens(climate->storms)) {
		const struct weather weather = climate_weather();

		world_say("weather: loses %u, repeats %u, holds %u, cuts %u, up to %" PRIu64 " ms",
			  weather.lose, weather.repeat, weather.hold, weather.cut, weather.most_ms);
		net_set_weather(run->seams.net, &weather);
	}
	if (happens(climate->partitions))
		part(run);
	if (happens(climate->crashes))
		crash(run);
	if (happens(climate->deaths))
		clients_kill_one(run->clients);
	world_plan(world()->now_ms + between(TROUBLE_LEAST_MS, climate->trouble_ms), trouble, run,
		   0);
}

static void calm_down(struct run *run) {
	run->is_calm = true;
	world_say("calm");
	net_set_weather(run->seams.net, &climate_fine);
	machine_calm(run->machine);
}

/* --- From beginning to end ---------------------------------------------------------------------
 */

static bool step(struct run *run, uint64_t until_ms) {
	if (++run->steps > STEPS_MAX)
		world_fail("no end after %d steps", STEPS_MAX);
	return world_go_on(until_ms);
}

static uint64_t lives(void *context) {
	return machine_lives(context);
}

static void another_store(void *context, uint64_t life) {
	watchers_new_store(context, life);
}

static void begin(struct run *run) {
	const struct machine_options *machine = &run->climate.machine;
	struct weather weather;

	climate_draw(&run->climate);
	weather = climate_weather();
	run->seams.clock_ms = run->climate.clock_ms;
	seams_set(&run->seams);
	run->machine = machine_new(machine);
	const struct net_server server = machine_server(run->machine);
	run->seams.net = net_new(&server, &seams_client);
	net_set_weather(run->seams.net, &weather);
	machine_join(run->machine, run->seams.net);
	machine_tell_store(run->machine, another_store, &run->watchers);
	run->deeds = deeds_new();
	deeds_set(run->deeds, lives, run->machine);
	world_say("seed %" PRIu64 ": %s, lease %" PRIu64 " ms, segments of %" PRIu64 "%s",
		  world()->seed, machine->is_durable ? "durable" : "memory only", machine->lease_ms,
		  machine->segment_size, run->climate.clients.may_be_full ? ", not much room" : "");
	machine_start(run->machine);
	run->clients =
	    clients_new(&run->climate.clients, &run->seams, run->machine, &run->watchers);
	world_plan(between(0, 1000), trouble, run, 0);
}

static void work(struct run *run) {
	while (!clients_have_ended(run->clients)) {
		if (!run->is_calm && world()->now_ms > CALM_MS)
			calm_down(run);
		if (!step(run, END_MS)) {
			if (!world_has_failed())
				world_fail("the clients come to no end");
			return;
		}
	}
}

/* Reads all keys once nothing is on its way any more, and again after the power was lost. */
static void read_all(struct run *run) {
	uint64_t until_ms = world()->now_ms + DRAIN_MS;

	while (step(run, until_ms))
		continue;
	clients_begin_reading(run->clients);
	until_ms = world()->now_ms + DRAIN_MS;
	while (!clients_have_read(run->clients) && step(run, until_ms))
		continue;
	if (!world_has_failed() && !clients_have_read(run->clients))
		world_fail("the store cannot be read in good weather");
}

static void judge_ends(const struct run *run) {
	const struct kv_value *values = clients_values(run->clients);

	for (unsigned i = 0; i < CLIENTS_KEYS; i++)
		if (clients_keys[i][0] == 'a')
			judge_tokens(run->deeds, clients_keys[i], &values[i], run->watchers.life);
}

/* "A session idle past its lease ends", and no other. */
static void judge_sessions(const struct run *run) {
	uint64_t ended = world()->figures.expiries;

	if (ended > 0 && !run->climate.may_expire)
		world_fail("%" PRIu64 " sessions ended long before their lease", ended);
	if (ended == 0 && clients_unexplained(run->clients) > 0)
		world_fail("%u writes are in doubt, and no session was lost",
			   clients_unexplained(run->clients));
}

/* Where nothing gets done no promise can be broken. In the fullest of stores a tenth is done. */
static void judge_progress(void) {
	const struct figures *figures = &world()->figures;

	if (figures->done * 50 < figures->operations)
		world_fail("of %" PRIu64 " calls only %" PRIu64 " were done", figures->operations,
			   figures->done);
}

static void end(struct run *run) {
	deeds_set(NULL, NULL, NULL);
	clients_free(run->clients);
	machine_free(run->machine);
	net_free(run->seams.net);
	deeds_free(run->deeds);
	seams_set(NULL);
}

/* The world of a store that outlives its server ends twice: the second time all must be there. */
static void play(struct run *run) {
	work(run);
	if (world_has_failed())
		return;
	if (!run->is_calm)
		calm_down(run);
	read_all(run);
	if (!world_has_failed())
		judge_ends(run);
	if (!world_has_failed() && machine_is_durable(run->machine)) {
		machine_end(run->machine, END_POWER);
		read_all(run);
		if (!world_has_failed())
			judge_ends(run);
	}
	deeds_end(run->deeds);
	if (!world_has_failed())
		judge_histories(run->deeds, machine_is_durable(run->machine),
				machine_lives(run->machine));
	if (!world_has_failed())
		judge_sessions(run);
	if (!world_has_failed())
		judge_progress();
	if (!world_has_failed() && run->seams.links > 0)
		world_fail("%u links were never dropped", run->seams.links);
}

bool run_seed(uint64_t seed, bool is_told, struct outcome *outcome) {
	struct run *run = calloc(1, sizeof(*run));

	if (run == NULL)
		return false;
	world_begin(seed, is_told);
	begin(run);
	play(run);
	if (!world_has_failed())
		end(run);
	*outcome = (struct outcome){
	    .figures = world()->figures, .hash = world()->hash, .virtual_ms = world()->now_ms};
	memcpy(outcome->failure, world()->failure, sizeof(outcome->failure));
	if (outcome->failure[0] == '\0') {
		world_end();
		free(run);
	}
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

enum {
	TTL_LEAST_MS = 300,
	TTL_MOST_MS = 4000,
	ACQUIRE_MOST_MS = 8000,
	STEPS_MOST = 5, /* of a holder */
	WORK_MS = 60,
	NUMBER_SIZE = 24,

	/* At the end. */
	LAST_TTL_MS = 3000,
	CLOCKS_DIFFER = 16,  /* a part of it */
	HAND_OVER_MS = 1000, /* from there on */
	TURNS = 4,
};

static const char lease_key[] = "l2";
static const char guarded_key[] = "c2";

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

static bool open_lock(struct worker *worker, unsigned ttl_ms) {
	struct lease_invariants *invariants = &worker->process->clients->invariants->lease;

	if (worker->lease_lock != NULL)
		return true;
	worker->lease = lease_invariants_enter(invariants, &worker->process->host);
	return worker->lease != NULL &&
	       kv_lock_open(worker->client, (struct kv_bytes){lease_key, 2}, &worker->lease_lock) ==
		   KV_OK &&
	       kv_lock_set_ttl(worker->lease_lock, ttl_ms) == KV_OK;
}

/* After each use: it may have found that one before took the lock, or lost it. */
static void learn(struct worker *worker) {
	const uint64_t token = kv_lock_token(worker->lease_lock);

	lease_invariants_believes(&worker->process->clients->invariants->lease, worker->lease,
				  token, kv_lock_left_ms(worker->lease_lock),
				  op_log_life_of_version(lease_key, worker->actor.worker, token));
}

static void judge(struct worker *worker, enum lock_use use, const char *word,
		  enum kv_status status) {
	if (worker_is_dead(worker))
		return;
	sim_log("worker %u: %s a lease: %s", worker->actor.worker, word, kv_status_name(status));
	worker_count(status);
	invariant_lock_status(&worker->process->contract, use, status);
	learn(worker);
}

/* --- A holder ----------------------------------------------------------------------------------
 */

/* As if by SIGSTOP, or as a machine that sleeps: then CLOCK_MONOTONIC does not advance. */
static void pause_for_long(struct worker *worker) {
	const uint64_t pause_ms = between(TTL_LEAST_MS / 2, 2 * (uint64_t)TTL_MOST_MS);
	const bool is_asleep = happens(5000);

	sim_log("worker %u: %s for %" PRIu64 " ms", worker->actor.worker,
		is_asleep ? "sleeps" : "is stopped", pause_ms);
	sim()->figures.pauses++;
	worker_rest(worker, pause_ms);
	/* All of its threads are; only then their clock is right. */
	if (is_asleep && worker->process->worker_count == 1)
		worker->process->host.asleep_ms += pause_ms;
}

/* Refused if it came too late, whatever the holder believes. */
static void write_fenced(struct worker *worker) {
	const struct kv_condition fence = kv_lock_fence(worker->lease_lock);
	char text[NUMBER_SIZE];
	const int size = snprintf(text, sizeof(text), "%" PRIu64, fence.version);
	struct kv_change change = {
	    .kind = KV_CHANGE_PUT, .key = {guarded_key, 2}, .value = {text, (size_t)size}};
	struct kv_txn txn = {
	    .conditions = &fence, .condition_count = 1, .changes = &change, .change_count = 1};
	enum kv_status status = worker_checked(worker, op_txn(worker->client, &txn));

	if (!worker_is_dead(worker) && status == KV_OK)
		lease_invariants_wrote(&worker->process->clients->invariants->lease, worker->lease,
				       change.version);
	if (!worker_is_dead(worker) && status == KV_UNMET)
		sim()->figures.fenced++;
}

static void give_back(struct worker *worker) {
	/* While it is under way another may be given the lock. */
	lease_invariants_believes(&worker->process->clients->invariants->lease, worker->lease, 0, 0,
				  0);
	judge(worker, USE_RELEASE, "released", kv_lock_release(worker->lease_lock));
}

static void work_as_holder(struct worker *worker) {
	for (uint64_t steps = between(0, STEPS_MOST); steps > 0 && !worker_is_dead(worker);
	     steps--) {
		if (happens(1500))
			pause_for_long(worker);
		else if (happens(4000))
			judge(worker, USE_RELEASE, "renewed", kv_lock_renew(worker->lease_lock));
		else if (kv_lock_token(worker->lease_lock) != 0)
			write_fenced(worker);
		if (!worker_is_dead(worker))
			worker_rest(worker, between(0, WORK_MS));
	}
	if (!worker_is_dead(worker) && happens(8500))
		give_back(worker);
}

void sim_lease_use(struct worker *worker) {
	const bool is_try = happens(2000);
	enum kv_status status;

	if (!open_lock(worker, (unsigned)between(TTL_LEAST_MS, TTL_MOST_MS)))
		return;
	status = is_try
		     ? kv_lock_try(worker->lease_lock)
		     : kv_lock_acquire(worker->lease_lock, (unsigned)between(1, ACQUIRE_MOST_MS));
	judge(worker, is_try ? USE_TRY : USE_ACQUIRE, is_try ? "tried" : "acquired", status);
	if (worker_is_dead(worker))
		return;
	if (status == KV_OK)
		work_as_holder(worker);
	else if (status == KV_MAYBE && happens(5000))
		give_back(worker);
}

void sim_lease_end(struct worker *worker) {
	if (!worker_is_dead(worker) && worker->lease_lock != NULL &&
	    kv_lock_token(worker->lease_lock) != 0)
		give_back(worker);
	if (worker->lease != NULL)
		lease_invariants_believes(&worker->process->clients->invariants->lease,
					  worker->lease, 0, 0, 0);
	kv_lock_close(worker->lease_lock);
	worker->lease_lock = NULL;
}

/* --- At the end --------------------------------------------------------------------------------
 */

void sim_lease_die_with_it(struct worker *worker) {
	struct clients *clients = worker->process->clients;

	if (!open_lock(worker, LAST_TTL_MS))
		return;
	judge(worker, USE_ACQUIRE, "acquired", kv_lock_acquire(worker->lease_lock, HAND_OVER_MS));
	if (kv_lock_token(worker->lease_lock) == 0)
		sim_fail("lease: nothing is on its way, and it cannot be taken");
	clients->turn_since_ms = sim()->now_ms;
	worker->process->host.is_dead = true;
}

/*
 * Hand-over to a holder that died is bounded by its lease, and that among those that live by what a
 * call takes: a bound for each is a bound for how often the others come first.
 */
void sim_lease_take_turns(struct worker *worker) {
	struct clients *clients = worker->process->clients;

	if (!open_lock(worker, LAST_TTL_MS))
		return;
	for (unsigned i = 0; i < TURNS && !sim_has_failed(); i++) {
		const unsigned before = clients->turns;

		judge(worker, USE_ACQUIRE, "acquired", kv_lock_acquire(worker->lease_lock, 0));
		const uint64_t bound_ms =
		    clients->turns > 0 ? 0 : LAST_TTL_MS + LAST_TTL_MS / CLOCKS_DIFFER;
		if (sim()->now_ms > clients->turn_since_ms + bound_ms + HAND_OVER_MS)
			sim_fail("lease: it was handed over %" PRIu64 " ms late",
				 sim()->now_ms - clients->turn_since_ms - bound_ms);
		/* Each of the others may have asked before. */
		if (clients->turns - before >= CLIENTS_IN_TURN)
			sim_fail("lease: %u others were served before one that waited",
				 clients->turns - before);
		clients->turns++;
		worker_rest(worker, between(0, WORK_MS));
		clients->turn_since_ms = sim()->now_ms;
		give_back(worker);
	}
}

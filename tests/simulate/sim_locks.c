/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_locks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

enum { ACQUIRE_MOST_MS = 6000, CRITICAL_MS = 60 };

static const char *const lock_keys[] = {"l0", "l1"};
static const char *const counter_keys[] = {"c0", "c1"};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

static bool open_lock(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	unsigned number = (unsigned)between(0, LOCKS_MAX - 1);

	if (worker->lock != NULL)
		return true;
	if (kv_lock_open(worker->client, (struct kv_bytes){lock_keys[number], 2}, &worker->lock) !=
	    KV_OK)
		return false;
	worker->contender = lock_invariants_enter(invariants, number, &worker->process->host,
						  kv_lock_id(worker->lock));
	if (worker->contender != NULL)
		return true;
	kv_lock_close(worker->lock);
	worker->lock = NULL;
	return false;
}

/* A holder that has died or closed its handle will not release the lock. */
static void break_for_the_gone(struct worker *worker) {
	static const struct kv_bytes unlocked = {"__unlocked", 10};
	const struct lock_invariants *invariants = worker->process->clients->invariants;
	unsigned number = worker->contender->lock;
	uint64_t called = op_log_moment();
	struct kv_value value = {0};
	enum kv_status status =
	    worker_checked(worker, op_get(worker->client, lock_keys[number], &value));

	if (!worker_is_dead(worker) && status == KV_OK) {
		lock_invariants_seen(invariants, number, value.data, value.size, called);
		if (lock_invariants_is_gone(invariants, value.data, value.size)) {
			uint64_t version = 0;

			(void)worker_checked(worker, op_put(worker->client, lock_keys[number],
							    unlocked, value.version, &version));
		}
	}
	kv_value_free(&value);
}

/* Adds one to the counter, as only a holder may. */
static void add_one(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	const char *key = counter_keys[worker->contender->lock];
	struct kv_value value = {0};
	enum kv_status status = worker_checked(worker, op_get(worker->client, key, &value));
	uint64_t version = value.version;
	char text[TOKEN_MAX] = "";
	uint64_t number;

	if (value.size > 0 && value.size < sizeof(text))
		memcpy(text, value.data, value.size);
	number = strtoull(text, NULL, 10);
	kv_value_free(&value);
	if (worker_is_dead(worker) || (status != KV_OK && status != KV_NOKEY))
		return;
	lock_invariants_counted(invariants, worker->contender, number);
	worker_rest(worker, between(0, CRITICAL_MS));
	if (worker_is_dead(worker))
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64, number + 1);
	status = worker_checked(
	    worker,
	    op_put(worker->client, key, (struct kv_bytes){text, strlen(text)}, version, &version));
	lock_invariants_added(invariants, worker->contender,
			      worker_is_dead(worker) ? KV_MAYBE : status);
}

/*
 * After each use, a release too: it may have found that an acquire of before took the lock. The
 * server that said so is that of the call which saw the token.
 */
static void learn_token(struct worker *worker) {
	const char *key = lock_keys[worker->contender->lock];
	const uint64_t token = kv_lock_token(worker->lock);

	lock_invariants_learn(worker->process->clients->invariants, worker->contender, token,
			      op_log_life_of_version(key, worker->actor.worker, token));
}

void sim_lock_give_back(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	bool held = lock_invariants_holds(invariants, worker->contender);
	enum kv_status status;

	lock_invariants_release(invariants, worker->contender);
	status = kv_lock_release(worker->lock);
	if (worker_is_dead(worker))
		return;
	sim_log("worker %u: release: %s", worker->actor.worker, kv_status_name(status));
	worker_count(status);
	invariant_lock_status(&worker->process->contract, USE_RELEASE, status);
	learn_token(worker);
	if (held && status == KV_NOTHELD && worker->process->contract.is_durable)
		sim_fail("worker %u held the lock, which was not broken, and its release says that "
			 "it did "
			 "not",
			 worker->actor.worker);
	if (status == KV_OK || status == KV_NOTHELD || status == KV_BADSESSION)
		lock_invariants_settled(invariants, worker->contender);
	else if (status != KV_MAYBE)
		(void)lock_invariants_kept(invariants, worker->contender);
}

void sim_lock_use(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	enum lock_use use = happens(7000) ? USE_ACQUIRE : USE_TRY;
	enum kv_status status;

	if (!open_lock(worker))
		return;
	lock_invariants_begin(invariants, worker->contender);
	status = use == USE_ACQUIRE
		     ? kv_lock_acquire(worker->lock, (unsigned)between(1, ACQUIRE_MOST_MS))
		     : kv_lock_try(worker->lock);
	if (worker_is_dead(worker))
		return;
	sim_log("worker %u: %s: %s", worker->actor.worker, use == USE_ACQUIRE ? "acquire" : "try",
		kv_status_name(status));
	worker_count(status);
	invariant_lock_status(&worker->process->contract, use, status);
	if (status == KV_OK) {
		learn_token(worker);
		if (!lock_invariants_kept(invariants, worker->contender) &&
		    worker->process->contract.is_durable)
			sim_fail("worker %u holds a lock by a token that is not the last",
				 worker->actor.worker);
		add_one(worker);
		if (!worker_is_dead(worker) && happens(9500))
			sim_lock_give_back(worker);
	} else if (status != KV_MAYBE) {
		lock_invariants_settled(invariants, worker->contender);
		break_for_the_gone(worker);
	} else if (happens(5000)) {
		/* A release settles, too. */
		sim_lock_give_back(worker);
	}
}

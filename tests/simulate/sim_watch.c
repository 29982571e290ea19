/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "sim_worker.h"

enum {
	KEYS_MOST = 3,
	KEY_SIZE = 2,	/* bytes of each key of the world */
	CALLS_MOST = 8, /* of a use */
	WAIT_MOST_MS = 3000,
};

/* Those of a prefix of one letter, in order. */
static const char *const followed[][KEYS_MOST + 1] = {
    {"a0", "a1", NULL},
    {"r0", "r1", "r2", NULL},
    {"t0", "t1", "t2", NULL},
};

enum { PREFIXES = sizeof(followed) / sizeof(followed[0]) };

struct sim_watch {
	struct kv_watch *watch;
	const char *const *keys;
	uint64_t versions[KEYS_MOST]; /* the copy; 0: the key is missing */
	uint64_t generation;	      /* of the server that said so last; 0: none did */
};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool begin(struct worker *worker) {
	struct sim_watch *watch = or_die(calloc(1, sizeof(*watch)));

	watch->keys = followed[between(0, PREFIXES - 1)];
	if (kv_watch_open(worker->client, (struct kv_bytes){watch->keys[0], 1}, &watch->watch) !=
	    KV_OK) {
		sim_fail("a watch cannot be opened");
		free(watch);
		return false;
	}
	worker->watch = watch;
	return true;
}

void sim_watch_end(struct worker *worker) {
	if (worker->watch == NULL)
		return;
	kv_watch_close(worker->watch->watch);
	free(worker->watch);
	worker->watch = NULL;
}

/* Versions grow, and only what was there goes. */
static void take(struct sim_watch *watch, const struct kv_watched *change) {
	for (unsigned i = 0; watch->keys[i] != NULL; i++) {
		uint64_t *version = &watch->versions[i];

		if (change->key.size != KEY_SIZE ||
		    memcmp(change->key.data, watch->keys[i], KEY_SIZE) != 0)
			continue;
		sim_log("watch of %s: version %" PRIu64 "%s", watch->keys[i], change->version,
			change->is_gone ? ", gone" : "");
		if (change->is_gone && *version == 0)
			sim_fail("a watch told of the end of %s, which was not there",
				 watch->keys[i]);
		if (change->version <= *version && !(change->is_gone && change->version == 0))
			sim_fail("a watch told of version %" PRIu64 " of %s after %" PRIu64,
				 change->version, watch->keys[i], *version);
		*version = change->is_gone ? 0 : change->version;
		return;
	}
	sim_fail("a watch told of a key that is not followed");
}

/* Whether the watch can end so. */
static bool is_possible(const struct worker *worker, enum kv_status status) {
	const struct client_contract *contract = &worker->process->contract;

	return status == KV_OK || status == KV_UNMET ||
	       (status == KV_TIMEOUT && !contract->is_for_ever) ||
	       (status == KV_BADSESSION && !contract->is_durable) ||
	       (status == KV_FULL && contract->may_be_full);
}

/* The copy is that of the store. A watch is told of another store, apart from its handle. */
static void take_copy(const struct worker *worker, uint64_t called) {
	struct sim_watch *watch = worker->watch;

	op_log_copy(watch->keys, watch->versions, called);
	sim()->figures.copies++;
	uint64_t generation = op_log_last()->heard_generation;
	if (!worker->process->contract.is_durable && watch->generation != 0 &&
	    watch->generation != generation)
		sim_fail("a watch goes on in another store, and was not told before");
	watch->generation = generation;
}

static void forget_copy(struct sim_watch *watch) {
	memset(watch->versions, 0, sizeof(watch->versions));
	watch->generation = 0;
}

void sim_watch_use(struct worker *worker) {
	enum kv_status status = KV_OK;

	if (worker->watch == NULL && !begin(worker))
		return;
	struct sim_watch *watch = worker->watch;
	for (unsigned left = CALLS_MOST; left > 0 && status == KV_OK; left--) {
		uint64_t called = op_log_moment();
		struct kv_watched change;

		status = kv_watch_next(watch->watch, (unsigned)between(0, WAIT_MOST_MS), &change);
		if (worker_is_dead(worker))
			return;
		if (!is_possible(worker, status))
			sim_fail("a watch ended with %s", kv_status_name(status));
		if (status == KV_OK)
			take(watch, &change);
		else if (status == KV_UNMET)
			take_copy(worker, called);
		else if (status == KV_BADSESSION)
			forget_copy(watch);
		worker_count(status);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_invariants.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "op_log.h"
#include "sim.h"

struct contender *lock_invariants_enter(struct lock_invariants *invariants, unsigned lock,
					const struct host *host, const char *id) {
	struct contender *contender;

	if (invariants->count == CONTENDERS_MAX)
		return NULL;
	contender = &invariants->contenders[invariants->count++];
	*contender = (struct contender){.lock = lock, .host = host};
	(void)snprintf(contender->id, sizeof(contender->id), "%s", id);
	return contender;
}

void lock_invariants_new_store(struct lock_invariants *invariants, uint64_t generation) {
	memset(invariants->locks, 0, sizeof(invariants->locks));
	invariants->generation = generation;
	lease_invariants_new_store(&invariants->lease, generation);
}

static struct lock_state *of(struct lock_invariants *invariants,
			     const struct contender *contender) {
	return &invariants->locks[contender->lock];
}

void lock_invariants_begin(struct lock_invariants *invariants, struct contender *contender) {
	(void)invariants;
	contender->is_settled = false;
}

static void acquire(struct lock_invariants *invariants, struct contender *contender, uint64_t token,
		    uint64_t generation) {
	struct lock_state *state = of(invariants, contender);

	sim()->figures.acquisitions++;
	sim_log("lock %u: %.8s holds it, token %" PRIu64, contender->lock, contender->id, token);
	/* Of a store that is no more. */
	if (generation < invariants->generation)
		return;
	if (state->holder != NULL && !state->holder->host->is_dead && !state->holder->is_closed)
		sim_fail("lock %u: %.8s was told that it holds it (token %" PRIu64
			 "), and %.8s does (token %" PRIu64 ")",
			 contender->lock, contender->id, token, state->holder->id, state->token);
	if (token <= state->token)
		sim_fail("lock %u: token %" PRIu64 " came after token %" PRIu64, contender->lock,
			 token, state->token);
	state->holder = contender;
	state->last = contender;
	state->token = token;
}

void lock_invariants_learn(struct lock_invariants *invariants, struct contender *contender,
			   uint64_t token, uint64_t generation) {
	if (token != 0 && token != contender->token)
		acquire(invariants, contender, token, generation);
	contender->token = token;
}

bool lock_invariants_kept(struct lock_invariants *invariants, struct contender *contender) {
	struct lock_state *state = of(invariants, contender);

	if (contender != state->last || contender->token != state->token)
		return false;
	state->holder = contender;
	return true;
}

bool lock_invariants_holds(const struct lock_invariants *invariants,
			   const struct contender *contender) {
	return invariants->locks[contender->lock].holder == contender;
}

void lock_invariants_release(struct lock_invariants *invariants, struct contender *contender) {
	struct lock_state *state = of(invariants, contender);

	if (state->holder == contender)
		state->holder = NULL;
}

void lock_invariants_settled(struct lock_invariants *invariants, struct contender *contender) {
	(void)invariants;
	contender->is_settled = true;
	contender->settled = op_log_moment();
}

void lock_invariants_close(struct contender *contender) {
	contender->is_closed = true;
}

static const struct contender *find(const struct lock_invariants *invariants, const char *id,
				    size_t size) {
	for (unsigned i = 0; i < invariants->count; i++)
		if (strlen(invariants->contenders[i].id) == size &&
		    memcmp(invariants->contenders[i].id, id, size) == 0)
			return &invariants->contenders[i];
	return NULL;
}

bool lock_invariants_is_gone(const struct lock_invariants *invariants, const char *id,
			     size_t size) {
	const struct contender *contender = find(invariants, id, size);

	return contender != NULL && (contender->host->is_dead || contender->is_closed);
}

void lock_invariants_seen(const struct lock_invariants *invariants, unsigned lock, const char *id,
			  size_t size, uint64_t called) {
	const struct contender *contender = find(invariants, id, size);

	if (contender == NULL)
		return;
	if (contender->lock != lock)
		sim_fail("lock %u holds the id of a handle of lock %u", lock, contender->lock);
	if (contender->is_settled && contender->settled < called && !contender->host->is_dead)
		sim_fail("lock %u is taken by %.8s, which was told for sure that it does not "
			 "hold it",
			 lock, contender->id);
}

/*
 * A holder of a lock of the store before may add to the counter of this one, since it learns of the
 * other store at its release ("A memory-only server that starts anew has forgotten its locks",
 * lock.h).
 */
static bool is_guarded(const struct lock_invariants *invariants) {
	return invariants->generation <= 1;
}

void lock_invariants_counted(struct lock_invariants *invariants, const struct contender *contender,
			     uint64_t number) {
	const struct lock_state *state = of(invariants, contender);

	if (is_guarded(invariants) && lock_invariants_holds(invariants, contender) &&
	    (number < state->added || number > state->added + state->doubtful))
		sim_fail("lock %u: the counter that it guards is %" PRIu64 ", after %" PRIu64
			 " additions and %" PRIu64 " in doubt",
			 contender->lock, number, state->added, state->doubtful);
}

void lock_invariants_added(struct lock_invariants *invariants, const struct contender *contender,
			   enum kv_status status) {
	struct lock_state *state = of(invariants, contender);

	if (!is_guarded(invariants) || !lock_invariants_holds(invariants, contender))
		return;
	if (status == KV_OK)
		state->added++;
	else if (status == KV_MAYBE)
		state->doubtful++;
	else if ((status == KV_VERSION || status == KV_NOKEY) && state->doubtful == 0)
		sim_fail("lock %u: the counter that it guards was changed by another than its "
			 "holder",
			 contender->lock);
}

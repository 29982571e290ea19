/* SPDX-License-Identifier: BSD-3-Clause */
#include "watchers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "deeds.h"
#include "world.h"

struct contender *watchers_enter(struct watchers *watchers, unsigned lock, const struct host *host,
				 const char *id) {
	struct contender *contender;

	if (watchers->count == CONTENDERS_MAX)
		return NULL;
	contender = &watchers->contenders[watchers->count++];
	*contender = (struct contender){.lock = lock, .host = host};
	(void)snprintf(contender->id, sizeof(contender->id), "%s", id);
	return contender;
}

void watchers_new_store(struct watchers *watchers, uint64_t life) {
	memset(watchers->locks, 0, sizeof(watchers->locks));
	watchers->life = life;
}

static struct watched *of(struct watchers *watchers, const struct contender *contender) {
	return &watchers->locks[contender->lock];
}

void watchers_begin(struct watchers *watchers, struct contender *contender) {
	(void)watchers;
	contender->is_settled = false;
}

void watchers_acquired(struct watchers *watchers, struct contender *contender, uint64_t token,
		       uint64_t life) {
	struct watched *watched = of(watchers, contender);

	world()->figures.acquisitions++;
	world_say("lock %u: %.8s holds it, token %" PRIu64, contender->lock, contender->id, token);
	/* Of a store that is no more. */
	if (life < watchers->life)
		return;
	if (watched->holder != NULL && !watched->holder->host->is_dead &&
	    !watched->holder->is_closed)
		world_fail("lock %u: %.8s was told that it holds it (token %" PRIu64
			   "), and %.8s does (token %" PRIu64 ")",
			   contender->lock, contender->id, token, watched->holder->id,
			   watched->token);
	if (token <= watched->token)
		world_fail("lock %u: token %" PRIu64 " came after token %" PRIu64, contender->lock,
			   token, watched->token);
	watched->holder = contender;
	watched->last = contender;
	watched->token = token;
}

bool watchers_kept(struct watchers *watchers, struct contender *contender, uint64_t token) {
	struct watched *watched = of(watchers, contender);

	if (contender != watched->last || token != watched->token)
		return false;
	watched->holder = contender;
	return true;
}

bool watchers_holds(const struct watchers *watchers, const struct contender *contender) {
	return watchers->locks[contender->lock].holder == contender;
}

void watchers_release(struct watchers *watchers, struct contender *contender) {
	struct watched *watched = of(watchers, contender);

	if (watched->holder == contender)
		watched->holder = NULL;
}

void watchers_settled(struct watchers *watchers, struct contender *contender) {
	(void)watchers;
	contender->is_settled = true;
	contender->settled = deeds_moment();
}

void watchers_close(struct contender *contender) {
	contender->is_closed = true;
}

static const struct contender *find(const struct watchers *watchers, const char *id, size_t size) {
	for (unsigned i = 0; i < watchers->count; i++)
		if (strlen(watchers->contenders[i].id) == size &&
		    memcmp(watchers->contenders[i].id, id, size) == 0)
			return &watchers->contenders[i];
	return NULL;
}

bool watchers_is_gone(const struct watchers *watchers, const char *id, size_t size) {
	const struct contender *contender = find(watchers, id, size);

	return contender != NULL && (contender->host->is_dead || contender->is_closed);
}

void watchers_seen(const struct watchers *watchers, unsigned lock, const char *id, size_t size,
		   uint64_t called) {
	const struct contender *contender = find(watchers, id, size);

	if (contender == NULL)
		return;
	if (contender->lock != lock)
		world_fail("lock %u holds the id of a handle of lock %u", lock, contender->lock);
	if (contender->is_settled && contender->settled < called && !contender->host->is_dead)
		world_fail("lock %u is taken by %.8s, which was told for sure that it does not "
			   "hold it",
			   lock, contender->id);
}

/*
 * Whoever held a lock of the store before may add to the counter of this one: he hears of it at his
 * release. ("A memory-only server that starts anew has forgotten its locks", lock.h.)
 */
static bool is_guarded(const struct watchers *watchers) {
	return watchers->life <= 1;
}

void watchers_counted(struct watchers *watchers, const struct contender *contender,
		      uint64_t number) {
	const struct watched *watched = of(watchers, contender);

	if (is_guarded(watchers) && watchers_holds(watchers, contender) &&
	    (number < watched->added || number > watched->added + watched->doubtful))
		world_fail("lock %u: the counter that it guards is %" PRIu64 ", after %" PRIu64
			   " additions and %" PRIu64 " in doubt",
			   contender->lock, number, watched->added, watched->doubtful);
}

void watchers_added(struct watchers *watchers, const struct contender *contender,
		    enum kv_status status) {
	struct watched *watched = of(watchers, contender);

	if (!is_guarded(watchers) || !watchers_holds(watchers, contender))
		return;
	if (status == KV_OK)
		watched->added++;
	else if (status == KV_MAYBE)
		watched->doubtful++;
	else if ((status == KV_VERSION || status == KV_NOKEY) && watched->doubtful == 0)
		world_fail("lock %u: the counter that it guards was changed by another than its "
			   "holder",
			   contender->lock);
}

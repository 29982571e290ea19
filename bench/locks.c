/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * locks.c - what the lock costs: the round trips of acquire and release when there is no other
 *contender, and, among contenders that do nothing else, the time from one holder's release to the
 *next one's acquire, and the turns and the time that pass until each has held it once.
 *
 *	locks SERVER CONTENDERS MS
 *
 * Linked so that kv_get() and kv_put() go through here and are counted: each is one round trip,
 * unless it is repeated.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/lock.h>

#include "clock.h"
#include "histogram.h"
#include "log.h"

enum { CONTENDERS_MAX = 256, UNCONTENDED = 1000 };

/* Calls of the lock; the linker sends them here. */
static _Atomic uint64_t calls;

enum kv_status __real_kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value);
enum kv_status __wrap_kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value);
enum kv_status __real_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version);
enum kv_status __wrap_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version);

enum kv_status __wrap_kv_get(struct kv_client *client, struct kv_bytes key,
			     struct kv_value *value) {
	(void)atomic_fetch_add(&calls, 1);
	return __real_kv_get(client, key, value);
}

enum kv_status __wrap_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version) {
	(void)atomic_fetch_add(&calls, 1);
	return __real_kv_put(client, key, value, expected, version);
}

/* What contenders share; all but the first two are guarded by the lock that is measured. */
struct contest {
	const char *server;
	uint64_t end_ns;
	uint64_t released_ns; /* 0: it was never held */
	uint64_t handovers;   /* to another than the holder before */
	uint64_t turns;
	unsigned holder;
	unsigned count;		/* of contenders */
	unsigned served;	/* those that held it at least once */
	uint64_t begin_ns;	/* the first turn */
	uint64_t served_turns;	/* until all were served ... */
	uint64_t served_ns;	/* ... and when that was; 0: never */
	struct histogram waits; /* from a release to the next acquire by another */
};

struct contender {
	struct contest *contest;
	unsigned number;
	bool was_served;
	bool has_failed;
	pthread_t thread;
};

static const struct kv_bytes name = {"bench-lock", 10};

static bool open_lock(const char *server, struct kv_client **client, struct kv_lock **lock) {
	struct kv_options options = {.server = server, .timeout_ms = 10000};

	*lock = NULL;
	if (kv_open(&options, client) == KV_OK && kv_lock_open(*client, name, lock) == KV_OK)
		return true;
	log_error("no lock on %s", server);
	return false;
}

static void close_lock(struct kv_client *client, struct kv_lock *lock) {
	kv_lock_close(lock);
	kv_close(client);
}

static bool tell_failure(const char *what, enum kv_status status) {
	if (status != KV_OK)
		log_error("%s: %s", what, kv_status_text(status));
	return status != KV_OK;
}

/* The handle has held the lock before: the first time is not counted. */
static bool measure_alone(const char *server) {
	struct kv_client *client = NULL;
	struct kv_lock *lock = NULL;
	bool is_right = open_lock(server, &client, &lock);
	uint64_t begin_ns = 0;

	for (int i = 0; is_right && i <= UNCONTENDED; i++) {
		if (i == 1) {
			atomic_store(&calls, 0);
			begin_ns = clock_ns();
		}
		is_right = !tell_failure("acquire", kv_lock_acquire(lock, 10000)) &&
			   !tell_failure("release", kv_lock_release(lock));
	}
	if (is_right)
		printf("alone_round_trips %.3f\nalone_us %.2f\n",
		       (double)atomic_load(&calls) / UNCONTENDED,
		       (double)(clock_ns() - begin_ns) / 1e3 / UNCONTENDED);
	close_lock(client, lock);
	return is_right;
}

/* With the lock held. */
static void count_turn(struct contender *contender) {
	struct contest *contest = contender->contest;

	if (contest->turns++ == 0)
		contest->begin_ns = clock_ns();
	if (contender->was_served)
		return;
	contender->was_served = true;
	if (++contest->served == contest->count) {
		contest->served_turns = contest->turns;
		contest->served_ns = clock_ns();
	}
}

static void *contend(void *context) {
	struct contender *contender = context;
	struct contest *contest = contender->contest;
	struct kv_client *client = NULL;
	struct kv_lock *lock = NULL;

	contender->has_failed = !open_lock(contest->server, &client, &lock);
	while (!contender->has_failed && clock_ns() < contest->end_ns) {
		if (tell_failure("acquire", kv_lock_acquire(lock, 60000))) {
			contender->has_failed = true;
			break;
		}
		if (contest->released_ns != 0 && contest->holder != contender->number) {
			histogram_add(&contest->waits, clock_ns() - contest->released_ns);
			contest->handovers++;
		}
		count_turn(contender);
		contest->holder = contender->number;
		contest->released_ns = clock_ns();
		contender->has_failed = tell_failure("release", kv_lock_release(lock));
	}
	close_lock(client, lock);
	return NULL;
}

static bool measure_contest(struct contest *contest, unsigned count) {
	static struct contender contenders[CONTENDERS_MAX];
	bool is_right = true;
	unsigned made = 0;

	for (; made < count; made++) {
		contenders[made] = (struct contender){.contest = contest, .number = made};
		if (pthread_create(&contenders[made].thread, NULL, contend, &contenders[made]) != 0)
			break;
	}
	for (unsigned i = 0; i < made; i++) {
		(void)pthread_join(contenders[i].thread, NULL);
		is_right = is_right && !contenders[i].has_failed;
	}
	if (is_right && made == count)
		printf("turns %" PRIu64 "\nhandovers %" PRIu64
		       "\nhandover_p50_us %.2f\nhandover_p99_us %.2f\nserved %u\n",
		       contest->turns, contest->handovers,
		       (double)histogram_quantile(&contest->waits, 0.5) / 1e3,
		       (double)histogram_quantile(&contest->waits, 0.99) / 1e3, contest->served);
	if (contest->served_ns != 0)
		printf("all_served_turns %" PRIu64 "\nall_served_ms %.2f\n", contest->served_turns,
		       (double)(contest->served_ns - contest->begin_ns) / 1e6);
	return is_right && made == count;
}

int main(int argc, char **argv) {
	static struct contest contest;
	unsigned count = argc == 4 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	unsigned ms = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;

	log_open("locks", 0);
	if (count == 0 || count > CONTENDERS_MAX || ms == 0) {
		log_error("usage: locks SERVER CONTENDERS MS, with 1 to %d contenders",
			  CONTENDERS_MAX);
		return 2;
	}
	if (!measure_alone(argv[1]))
		return 1;
	contest.server = argv[1];
	contest.count = count;
	contest.end_ns = clock_ns() + (uint64_t)ms * 1000000;
	return measure_contest(&contest, count) ? 0 : 1;
}

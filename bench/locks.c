/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * locks.c - what the lock costs, of kv and of its peers: the round trips of acquire and release
 *when there is no other contender, and, among contenders that do nothing else, how often it is
 *taken, how long an acquire takes, and how many turns others have between two of a contender.
 *
 *	locks SYSTEM ADDRESS CONTENDERS MS
 *
 * Linked so that kv_get(), kv_put() and kv_txn() go through here and are counted: each is one round
 * trip, unless it is repeated.
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
#include "lock_peer.h"
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
enum kv_status __real_kv_txn(struct kv_client *client, struct kv_txn *txn);
enum kv_status __wrap_kv_txn(struct kv_client *client, struct kv_txn *txn);

enum kv_status __wrap_kv_txn(struct kv_client *client, struct kv_txn *txn) {
	(void)atomic_fetch_add(&calls, 1);
	return __real_kv_txn(client, txn);
}

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

/* What contenders share; all but the first four are guarded by the lock that is measured. */
struct contest {
	const char *system;
	const char *address;
	uint64_t end_ns;
	unsigned count;	      /* of contenders */
	uint64_t released_ns; /* 0: it was never held */
	uint64_t turns;
	unsigned holder;
	unsigned served;	  /* those that held it at least once */
	uint64_t begin_ns;	  /* the first turn ... */
	uint64_t last_ns;	  /* ... and the last one */
	struct histogram waits;	  /* ns from a release to the next acquire by another */
	struct histogram acquire; /* ns from the call of it */
	struct histogram between; /* turns of others between two of a contender */
};

struct contender {
	struct contest *contest;
	unsigned number;
	uint64_t turn; /* of all, its last one; 0: it had none */
	bool has_failed;
	pthread_t thread;
};

/* The handle has held the lock before: the first time is not counted. */
static bool measure_alone(const char *system, const char *address) {
	static struct histogram pings;
	struct lock_peer *peer = lock_peer_open(system, address);
	bool is_right = peer != NULL;
	uint64_t begin_ns = 0;

	for (int i = 0; is_right && i <= UNCONTENDED; i++) {
		if (i == 1) {
			atomic_store(&calls, 0);
			begin_ns = clock_ns();
		}
		is_right = lock_peer_acquire(peer) && lock_peer_release(peer);
	}
	if (is_right)
		printf("alone_round_trips %.3f\nalone_us %.2f\n",
		       (double)atomic_load(&calls) / UNCONTENDED,
		       (double)(clock_ns() - begin_ns) / 1e3 / UNCONTENDED);
	for (int i = 0; is_right && i < UNCONTENDED; i++) {
		begin_ns = clock_ns();
		is_right = lock_peer_ping(peer);
		histogram_add(&pings, clock_ns() - begin_ns);
	}
	if (is_right)
		printf("ping_p50_us %.2f\n", (double)histogram_quantile(&pings, 0.5) / 1e3);
	lock_peer_close(peer);
	return is_right;
}

/* With the lock held, which was asked for at asked_ns. */
static void count_turn(struct contender *contender, uint64_t asked_ns) {
	struct contest *contest = contender->contest;
	const uint64_t now_ns = clock_ns();

	if (contest->turns++ == 0)
		contest->begin_ns = now_ns;
	contest->last_ns = now_ns;
	histogram_add(&contest->acquire, now_ns - asked_ns);
	if (contest->released_ns != 0 && contest->holder != contender->number)
		histogram_add(&contest->waits, now_ns - contest->released_ns);
	if (contender->turn == 0)
		contest->served++;
	else
		histogram_add(&contest->between, contest->turns - contender->turn - 1);
	contender->turn = contest->turns;
	contest->holder = contender->number;
}

static void *contend(void *context) {
	struct contender *contender = context;
	struct contest *contest = contender->contest;
	struct lock_peer *peer = lock_peer_open(contest->system, contest->address);

	contender->has_failed = peer == NULL;
	while (!contender->has_failed && clock_ns() < contest->end_ns) {
		const uint64_t asked_ns = clock_ns();

		contender->has_failed = !lock_peer_acquire(peer);
		if (contender->has_failed)
			break;
		count_turn(contender, asked_ns);
		contest->released_ns = clock_ns();
		contender->has_failed = !lock_peer_release(peer);
	}
	lock_peer_close(peer);
	return NULL;
}

static void print_contest(const struct contest *contest) {
	const double seconds = (double)(contest->last_ns - contest->begin_ns) / 1e9;

	printf("turns %" PRIu64 "\nturns_per_second %.1f\nserved %u\n", contest->turns,
	       seconds > 0 ? (double)(contest->turns - 1) / seconds : 0, contest->served);
	printf("handover_p50_us %.2f\nhandover_p99_us %.2f\n",
	       (double)histogram_quantile(&contest->waits, 0.5) / 1e3,
	       (double)histogram_quantile(&contest->waits, 0.99) / 1e3);
	printf("acquire_p50_us %.2f\nacquire_p99_us %.2f\n",
	       (double)histogram_quantile(&contest->acquire, 0.5) / 1e3,
	       (double)histogram_quantile(&contest->acquire, 0.99) / 1e3);
	printf("between_p50 %" PRIu64 "\nbetween_p99 %" PRIu64 "\nbetween_p100 %" PRIu64 "\n",
	       histogram_quantile(&contest->between, 0.5),
	       histogram_quantile(&contest->between, 0.99),
	       histogram_quantile(&contest->between, 1));
}

static bool measure_contest(struct contest *contest) {
	static struct contender contenders[CONTENDERS_MAX];
	bool is_right = true;
	unsigned made = 0;

	for (; made < contest->count; made++) {
		contenders[made] = (struct contender){.contest = contest, .number = made};
		if (pthread_create(&contenders[made].thread, NULL, contend, &contenders[made]) != 0)
			break;
	}
	for (unsigned i = 0; i < made; i++) {
		(void)pthread_join(contenders[i].thread, NULL);
		is_right = is_right && !contenders[i].has_failed;
	}
	if (is_right && made == contest->count)
		print_contest(contest);
	return is_right && made == contest->count;
}

int main(int argc, char **argv) {
	static struct contest contest;
	unsigned count = argc == 5 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	unsigned ms = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;

	log_open("locks", 0);
	if (count == 0 || count > CONTENDERS_MAX || ms == 0) {
		log_error("usage: locks kv|kv-poll|redis|etcd|flock ADDRESS CONTENDERS MS, with 1 "
			  "to %d contenders",
			  CONTENDERS_MAX);
		return 2;
	}
	contest.system = argv[1];
	contest.address = argv[2];
	contest.count = count;
	if (strcmp(contest.system, "kv") == 0 && !measure_alone(contest.system, contest.address))
		return 1;
	contest.end_ns = clock_ns() + (uint64_t)ms * 1000000;
	return measure_contest(&contest) ? 0 : 1;
}

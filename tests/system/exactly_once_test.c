/* SPDX-License-Identifier: BSD-3-Clause */
/* The promise itself: through a network that cuts, loses, repeats and delays, each write happens
   once, and the lock excludes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/kv.h>
#include <kv/lock.h>

#include "fixture.h"
#include "kvfault_process.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

enum {
	CLIENTS = 4,
	APPENDS = 150,
	CONTENDERS = 4,
	ROUNDS = 50,
};

static struct kv_client *open_at(const char *address) {
	/* Short attempts, so that what is lost is soon asked for again. */
	struct kv_options options = {.server = address,
				     .timeout_ms = 100000,
				     .attempt_ms = 30,
				     .backoff_ms = 1,
				     .backoff_max_ms = 20};
	struct kv_client *client = NULL;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

/* A thread with a handle of its own. */
struct worker {
	pthread_t thread;
	char address[128];
	int number;
	unsigned done;	  /* writes that were answered KV_OK ... */
	unsigned unknown; /* ... and KV_MAYBE */
};

/* Appends numbered lines; the old value that each Append gives back must end with the line before.
 */
static void *append_lines(void *context) {
	struct worker *worker = context;
	struct kv_client *client = open_at(worker->address);
	char key[16];
	char before[32] = "";

	(void)snprintf(key, sizeof key, "log %d", worker->number);
	for (uint64_t i = 0; i < APPENDS; i++) {
		char line[32];
		struct kv_value old;
		uint64_t version;
		(void)snprintf(line, sizeof line, "line %d\n", (int)i);
		ck_assert_int_eq(kv_append(client, bytes("log"), bytes(line), KV_ANY, NULL, NULL),
				 KV_OK);
		ck_assert_int_eq(kv_append(client, bytes(key), bytes(line), i, &old, &version),
				 KV_OK);
		ck_assert_uint_eq(version, i + 1);
		ck_assert_uint_eq(old.version, i);
		ck_assert_uint_ge(old.size, strlen(before));
		if (i > 0) {
			ck_assert_mem_eq((char *)old.data + old.size - strlen(before), before,
					 strlen(before));
		}
		kv_value_free(&old);
		memcpy(before, line, sizeof before);
	}
	kv_close(client);
	return NULL;
}

static void run_workers(struct worker *workers, int count, void *(*work)(void *)) {
	for (int i = 0; i < count; i++) {
		workers[i].number = i;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < count; i++) {
		ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
	}
}

/* A route for each worker: streams are cut anywhere; datagrams are lost, come twice, and are held
   back until others overtook them. */
static void start_network(struct fault *fault, const struct server *server, const enum via ways[],
			  struct worker workers[], size_t count) {
	fault_start(fault, server, ways, count);
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(workers[i].address, sizeof workers[i].address, "%s",
			       fault->addresses[i]);
		if (ways[i] != VIA_UDP) {
			fault_tell(fault, "@%zu set cut 5", i + 1);
			continue;
		}
		fault_tell(fault, "@%zu set lose-requests 5", i + 1);
		fault_tell(fault, "@%zu set lose-replies 5", i + 1);
		fault_tell(fault, "@%zu set repeat 5", i + 1);
		fault_tell(fault, "@%zu set reorder 5", i + 1);
		fault_tell(fault, "@%zu set far 50", i + 1);
	}
}

/* Ends it; answers how many faults there were. */
static unsigned stop_network(struct fault *fault) {
	unsigned faults = (unsigned)fault_total(fault);

	fault_stop(fault);
	return faults;
}

static const enum via mixed[CLIENTS] = {VIA_TCP, VIA_UDP, VIA_TCP, VIA_UDP};

static void append_through(enum via via) {
	const enum via ways[CLIENTS] = {via, via, via, via};
	struct server server;
	struct fault fault;
	struct worker workers[CLIENTS] = {0};

	server_start(&server, NULL);
	start_network(&fault, &server, ways, workers, CLIENTS);
	run_workers(workers, CLIENTS, append_lines);
	unsigned faults = stop_network(&fault);
	suite_figure("%d Appends, each once, through %u faults", 2 * CLIENTS * APPENDS, faults);
	ck_assert_uint_gt(faults, 20);

	struct peer peer;
	peer_open(&peer, &server, VIA_LOCAL);
	struct outcome outcome = get(&peer, "log");
	ck_assert_uint_eq(outcome.current, CLIENTS * APPENDS);
	suite_figure("%llu copies were answered from memory",
		     (unsigned long long)counter(&peer, "calls_replayed"));
	outcome_free(&outcome);
	peer_close(&peer);
	server_stop(&server);
}

CASE(appends);

TEST(appends_through_connections_that_are_cut_anywhere_happen_once) {
	append_through(VIA_TCP);
}

TEST(appends_through_datagrams_lost_repeated_and_delayed_happen_once) {
	append_through(VIA_UDP);
}

/* Without a session: each Put says which version it expects, and a copy can tell no one anything.
 */
static void *put_stateless(void *context) {
	struct worker *worker = context;
	struct kv_options options = {.server = worker->address,
				     .timeout_ms = 100000,
				     .attempt_ms = 30,
				     .backoff_ms = 1,
				     .backoff_max_ms = 20,
				     .stateless = true};
	struct kv_client *client;
	uint64_t version = 0;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	for (int i = 0; i < APPENDS; i++) {
		uint64_t expected = version;
		enum kv_status status =
		    kv_put(client, bytes("total"), bytes("x"), expected, &version);
		ck_assert(status == KV_OK || status == KV_VERSION || status == KV_MAYBE);
		ck_assert(status != KV_OK || version == expected + 1);
		ck_assert(status != KV_VERSION || version != expected);
		worker->done += status == KV_OK;
		worker->unknown += status == KV_MAYBE;
		if (status != KV_MAYBE) {
			continue;
		}
		struct kv_value value;
		status = kv_get(client, bytes("total"), &value);
		ck_assert(status == KV_OK || status == KV_NOKEY);
		version = status == KV_OK ? value.version : 0;
		kv_value_free(&value);
	}
	kv_close(client);
	return NULL;
}

TEST(stateless_puts_through_a_bad_network_are_never_told_wrong) {
	struct server server;
	struct fault fault;
	struct worker workers[CLIENTS] = {0};
	unsigned done = 0;
	unsigned unknown = 0;

	server_start(&server, NULL);
	start_network(&fault, &server, mixed, workers, CLIENTS);
	run_workers(workers, CLIENTS, put_stateless);
	unsigned faults = stop_network(&fault);
	for (int i = 0; i < CLIENTS; i++) {
		done += workers[i].done;
		unknown += workers[i].unknown;
	}

	/* Each KV_OK happened, each KV_MAYBE may have, and nothing else did. */
	struct peer peer;
	peer_open(&peer, &server, VIA_LOCAL);
	struct outcome outcome = get(&peer, "total");
	suite_figure("stateless: %u OK and %u MAYBE made version %llu, through %u faults", done,
		     unknown, (unsigned long long)outcome.current, faults);
	ck_assert_uint_ge(outcome.current, done);
	ck_assert_uint_le(outcome.current, done + unknown);
	outcome_free(&outcome);
	peer_close(&peer);
	server_stop(&server);
}

/* Adds one to a number in the store, ROUNDS times, with the lock held, reading and writing apart.
 */
static void *count_up(void *context) {
	struct worker *worker = context;
	struct kv_client *client = open_at(worker->address);
	struct kv_lock *lock;
	uint64_t token = 0;

	ck_assert_int_eq(kv_lock_open(client, bytes("lock"), &lock), KV_OK);
	for (int i = 0; i < ROUNDS; i++) {
		struct kv_value value;
		char text[32] = "0";
		ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
		ck_assert_uint_gt(kv_lock_token(lock), token);
		token = kv_lock_token(lock);
		enum kv_status status = kv_get(client, bytes("total"), &value);
		ck_assert(status == KV_OK || status == KV_NOKEY);
		if (status == KV_OK) {
			ck_assert_uint_lt(value.size, sizeof text);
			memcpy(text, value.data, value.size);
			text[value.size] = '\0';
			kv_value_free(&value);
		}
		(void)snprintf(text, sizeof text, "%d", atoi(text) + 1);
		ck_assert_int_eq(kv_put(client, bytes("total"), bytes(text), KV_ANY, NULL), KV_OK);
		ck_assert_int_eq(kv_lock_release(lock), KV_OK);
	}
	kv_lock_close(lock);
	kv_close(client);
	return NULL;
}

static void check_total(const struct server *server) {
	struct peer peer;
	char expected[16];

	(void)snprintf(expected, sizeof expected, "%d", CONTENDERS * ROUNDS);
	peer_open(&peer, server, VIA_LOCAL);
	check_key(&peer, "total", expected, CONTENDERS * ROUNDS);
	peer_close(&peer);
}

CASE(locks);

TEST(the_lock_excludes) {
	struct server server;
	struct worker workers[CONTENDERS] = {0};

	server_start(&server, NULL);
	for (int i = 0; i < CONTENDERS; i++) {
		(void)snprintf(workers[i].address, sizeof workers[i].address, "tcp:127.0.0.1:%u",
			       server.port[VIA_TCP]);
	}
	run_workers(workers, CONTENDERS, count_up);
	check_total(&server);
	server_stop(&server);
}

TEST(the_lock_excludes_through_a_bad_network) {
	struct server server;
	struct fault fault;
	struct worker workers[CONTENDERS] = {0};

	server_start(&server, NULL);
	start_network(&fault, &server, mixed, workers, CONTENDERS);
	run_workers(workers, CONTENDERS, count_up);
	unsigned faults = stop_network(&fault);
	suite_figure("%d turns of the lock through %u faults", CONTENDERS * ROUNDS, faults);
	check_total(&server);
	server_stop(&server);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/lock.h>

#include "sim.h"
#include "sim_lease.h"
#include "sim_locks.h"
#include "sim_watch.h"
#include "sim_worker.h"

enum {
	APPEND_KEYS = 2,
	LAST_CLIENTS = 3 + 1 + CLIENTS_IN_TURN, /* that read all, and hand over the lease */
	LIMIT_LEAST_MS = 200,			/* of a call */
	LIMIT_MOST_MS = 20000,
	VALUE_MAX_HERE = 4096,
};

const char *const clients_keys[] = {"a0", "a1", "r0", "r1", "r2", "l0", "l1", "l2",
				    "c0", "c1", "c2", "t0", "t1", "t2", NULL};
static const char *const append_keys[] = {"a0", "a1"};
static const char *const other_keys[] = {"r0", "r1", "r2"};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

bool worker_is_dead(const struct worker *worker) {
	return worker->process->host.is_dead;
}

void worker_rest(const struct worker *worker, uint64_t pause_ms) {
	uint64_t until_ms = sim()->now_ms + pause_ms;

	while (!worker_is_dead(worker) && sim()->now_ms < until_ms)
		(void)task_sleep(until_ms);
}

/* --- Judging on the way ------------------------------------------------------------------------
 */

void worker_count(enum kv_status status) {
	struct figures *figures = &sim()->figures;

	if (status == KV_MAYBE)
		figures->maybes++;
	else if (status == KV_TIMEOUT)
		figures->timeouts++;
	else if (status == KV_FULL || status == KV_TOOBIG)
		figures->refusals++;
	else if (status == KV_BADSESSION)
		figures->lost_sessions++;
}

/* "Each handle that knew the old store is told once." */
static void watch_store(struct worker *worker, const struct op *op) {
	const struct process *process = worker->process;

	if (process->contract.is_durable || process->worker_count > 1)
		return;
	if (op->status == KV_BADSESSION || op->status == KV_MAYBE) {
		worker->known_generation = 0;
		return;
	}
	if (op->status != KV_OK && op->status != KV_NOKEY && op->status != KV_VERSION &&
	    op->status != KV_UNMET)
		return;
	if (worker->known_generation != 0 && worker->known_generation != op->heard_generation)
		sim_fail("worker %u was answered by another store, and was not told before",
			 worker->actor.worker);
	worker->known_generation = op->heard_generation;
}

enum kv_status worker_checked(struct worker *worker, enum kv_status status) {
	const struct op *op = op_log_last();

	if (worker_is_dead(worker))
		return status;
	worker_count(status);
	if (invariant_status(&worker->process->contract, op))
		worker->process->clients->unexplained++;
	watch_store(worker, op);
	return status;
}

/* --- Appends and Puts --------------------------------------------------------------------------
 */

static void append_token(struct worker *worker) {
	char token[TOKEN_MAX];
	int size = snprintf(token, sizeof(token), "%u.%u;", worker->actor.worker, ++worker->tokens);
	struct kv_value old = {0};
	uint64_t version;

	(void)worker_checked(
	    worker, op_append(worker->client, append_keys[between(0, APPEND_KEYS - 1)],
			      (struct kv_bytes){token, (size_t)size}, KV_ANY, &old, &version));
	kv_value_free(&old);
}

static void get_some(struct worker *worker) {
	const char *key = clients_keys[between(0, CLIENTS_KEYS - 1)];
	uint64_t called = op_log_moment();
	struct kv_value value = {0};
	enum kv_status status = worker_checked(worker, op_get(worker->client, key, &value));

	if (!worker_is_dead(worker) && status == KV_OK && key[0] == 'l')
		lock_invariants_seen(worker->process->clients->invariants, (unsigned)(key[1] - '0'),
				     value.data, value.size, called);
	if (!worker_is_dead(worker) && status == KV_OK && key[0] == 'r')
		worker->versions[key[1] - '0'] = value.version;
	kv_value_free(&value);
}

/* Text, mostly short, never twice the same. */
static struct kv_bytes some_value(struct worker *worker, char text[VALUE_MAX_HERE]) {
	unsigned most = worker->process->clients->options.value_size;
	int size = snprintf(text, VALUE_MAX_HERE, "%u.%u;", worker->actor.worker, ++worker->tokens);
	size_t whole = (size_t)size;

	if (most > whole && most < VALUE_MAX_HERE && happens(1000)) {
		whole = between(whole, most);
		memset(text + size, '.', whole - (size_t)size);
	}
	return (struct kv_bytes){text, whole};
}

static void write_some(struct worker *worker) {
	unsigned index = (unsigned)between(0, OTHER_KEYS - 1);
	char text[VALUE_MAX_HERE];
	struct kv_bytes value = some_value(worker, text);
	uint64_t expected = worker->versions[index];
	uint64_t version = 0;
	enum kv_status status;

	/* So that what was refused might run if it came again. */
	if (happens(worker->process->clients->options.ahead))
		expected += between(1, 3);
	/* Of a key that others delete, a create without a session may happen twice (kv/kv.h). */
	if (worker->process->contract.is_stateless && expected == 0 &&
	    worker->process->clients->options.deletes > 0)
		return;
	if (happens(worker->process->clients->options.deletes) && expected > 0) {
		status = worker_checked(
		    worker, op_delete(worker->client, other_keys[index], expected, &version));
	} else if (!worker->process->contract.is_stateless && happens(4000)) {
		struct kv_value old = {0};

		expected = happens(3000) ? expected : KV_ANY;
		status = worker_checked(worker, op_append(worker->client, other_keys[index], value,
							  expected, &old, &version));
		kv_value_free(&old);
	} else {
		if (!worker->process->contract.is_stateless && happens(3000))
			expected = KV_ANY;
		status = worker_checked(
		    worker, op_put(worker->client, other_keys[index], value, expected, &version));
	}
	if (!worker_is_dead(worker) && (status == KV_OK || status == KV_VERSION))
		worker->versions[index] = version;
	if (!worker_is_dead(worker) && status == KV_NOKEY)
		worker->versions[index] = 0;
}

/* --- Workers -----------------------------------------------------------------------------------
 */

static void do_one(struct worker *worker) {
	const struct clients_options *options = &worker->process->clients->options;
	bool is_idle = happens(options->idle);

	worker_rest(worker, is_idle ? between(0, options->idle_ms) : between(0, options->pause_ms));
	if (worker_is_dead(worker))
		return;
	if (options->leases > 0 && !worker->process->contract.is_stateless &&
	    happens(options->leases)) {
		sim_lease_use(worker);
		return;
	}
	if (options->watches > 0 && happens(options->watches)) {
		sim_watch_use(worker);
		return;
	}
	if (happens(worker->process->clients->options.transactions)) {
		worker->txn.worker = worker->actor.worker;
		(void)worker_checked(worker, sim_txn_any(worker->client, &worker->txn, append_keys,
							 &worker->tokens,
							 &worker->process->clients->position,
							 worker->process->contract.is_stateless,
							 worker->process->contract.is_durable));
		return;
	}
	switch (between(0, 9)) {
	case 0:
	case 1:
	case 2:
		if (!worker->process->contract.is_stateless)
			append_token(worker);
		else
			write_some(worker);
		break;
	case 3:
	case 4:
		write_some(worker);
		break;
	case 5:
	case 6:
		get_some(worker);
		break;
	default:
		sim_lock_use(worker);
	}
}

static void end_worker(struct worker *worker) {
	struct process *process = worker->process;

	sim_lease_end(worker);
	sim_watch_end(worker);
	kv_lock_close(worker->lock);
	if (worker->contender != NULL)
		lock_invariants_close(worker->contender);
	if (worker->client != process->client)
		kv_close(worker->client);
	if (--process->working == 0)
		kv_close(process->client);
}

static void work(void *context) {
	struct worker *worker = context;
	const struct clients *clients = worker->process->clients;
	unsigned ops = clients->options.ops;

	for (unsigned i = 0; i < ops && !worker_is_dead(worker) && !clients->is_finishing; i++)
		do_one(worker);
	/* A lock that was kept is given back, unless its holder dies with it. */
	if (!worker_is_dead(worker) && worker->lock != NULL && kv_lock_token(worker->lock) != 0)
		sim_lock_give_back(worker);
	end_worker(worker);
}

static void read_all(void *context) {
	struct worker *worker = context;
	struct clients *clients = worker->process->clients;

	for (unsigned i = 0; i < CLIENTS_KEYS; i++) {
		kv_value_free(&clients->values[i]);
		(void)worker_checked(worker,
				     op_get(worker->client, clients_keys[i], &clients->values[i]));
	}
	clients->has_read = true;
	end_worker(worker);
}

/* --- Processes ---------------------------------------------------------------------------------
 */

static const char *draw_addresses(const struct clients_options *options) {
	if (happens(options->both))
		return happens(5000) ? "datagram,stream" : "stream,datagram";
	return happens(options->datagram) ? "datagram" : "stream";
}

static struct process *process_new(struct clients *clients, unsigned threads, task_body *body,
				   const struct kv_options *options, const char *addresses) {
	struct process *process = or_die(calloc(1, sizeof(*process)));
	struct kv_options with_server = *options;
	char server[64];

	*process = (struct process){.next = clients->processes,
				    .clients = clients,
				    .host = {.number = clients->process_count++},
				    .worker_count = threads,
				    .working = threads};
	process->contract =
	    (struct client_contract){.is_stateless = options->stateless,
				     .is_for_ever = options->timeout_ms == 0,
				     .may_be_full = clients->options.may_be_full,
				     .is_durable = sim_server_is_durable(clients->server)};
	clients->processes = process;
	clients->stubs->hosts[process->host.number] = &process->host;
	(void)snprintf(server, sizeof(server), "%u:%s", process->host.number, addresses);
	with_server.server = server;
	if (kv_open(&with_server, &process->client) != KV_OK) {
		sim_fail("a client cannot be opened");
		return NULL;
	}
	for (unsigned i = 0; i < threads; i++) {
		struct worker *worker = &process->workers[i];

		worker->actor =
		    (struct actor){.worker = ++clients->worker_count, .host = &process->host};
		worker->process = process;
		worker->client = process->client;
		if (i > 0 && happens(5000))
			(void)kv_with_timeout(process->client, options->timeout_ms,
					      &worker->client);
		worker->task = task_new(body, worker);
	}
	sim_log("client %u: %u threads, %s%s, limit %u ms, attempt %u ms", process->host.number,
		threads, addresses, options->stateless ? ", stateless" : "", options->timeout_ms,
		options->attempt_ms);
	return process;
}

static bool is_room_for_another(const struct clients *clients) {
	return clients->process_count < HOSTS_MAX - LAST_CLIENTS &&
	       clients->worker_count + THREADS_MAX + LAST_CLIENTS < WORKERS_MAX;
}

static void begin_one(struct clients *clients) {
	const struct clients_options *options = &clients->options;
	struct kv_options for_client = {.stateless = happens(options->stateless)};
	uint64_t attempt_ms = between(options->attempt_ms / 10 + 1, options->attempt_ms);
	const char *addresses;
	unsigned threads;

	if (!happens(options->for_ever))
		for_client.timeout_ms = (unsigned)between(LIMIT_LEAST_MS, LIMIT_MOST_MS);
	for_client.attempt_ms = (unsigned)attempt_ms;
	threads = happens(options->two_threads) ? 2 : 1;
	addresses = draw_addresses(options);
	(void)process_new(clients, threads, work, &for_client, addresses);
}

struct clients *clients_new(const struct clients_options *options, struct link_stubs *stubs,
			    struct sim_server *server, struct lock_invariants *invariants) {
	struct clients *clients = or_die(calloc(1, sizeof(*clients)));

	*clients = (struct clients){
	    .options = *options, .stubs = stubs, .server = server, .invariants = invariants};
	for (unsigned i = 0; i < options->count; i++)
		begin_one(clients);
	return clients;
}

void clients_free(struct clients *clients) {
	if (clients == NULL)
		return;
	for (unsigned i = 0; i < CLIENTS_KEYS; i++)
		kv_value_free(&clients->values[i]);
	while (clients->processes != NULL) {
		struct process *process = clients->processes;

		clients->processes = process->next;
		free(process);
	}
	free(clients);
}

static struct process *draw_process(struct clients *clients) {
	struct process *chosen = NULL;
	unsigned seen = 0;

	for (struct process *process = clients->processes; process != NULL; process = process->next)
		if (process->working > 0 && !process->host.is_dead &&
		    prng_below(&sim()->prng, ++seen) == 0)
			chosen = process;
	return chosen;
}

struct host *clients_host(struct clients *clients) {
	struct process *process = draw_process(clients);

	return process == NULL ? NULL : &process->host;
}

void clients_kill_one(struct clients *clients) {
	struct process *process = draw_process(clients);

	if (process == NULL || clients->is_finishing || !is_room_for_another(clients))
		return;
	sim_log("client %u dies", process->host.number);
	sim()->figures.deaths++;
	process->host.is_dead = true;
	for (unsigned i = 0; i < process->worker_count; i++)
		task_wake(process->workers[i].task);
	begin_one(clients);
}

bool clients_have_ended(const struct clients *clients) {
	for (const struct process *process = clients->processes; process != NULL;
	     process = process->next)
		if (process->working > 0)
			return false;
	return true;
}

void clients_finish(struct clients *clients) {
	clients->is_finishing = true;
}

unsigned clients_unexplained(const struct clients *clients) {
	return clients->unexplained;
}

void clients_begin_reading(struct clients *clients) {
	const struct kv_options options = {.attempt_ms = 500};

	clients->has_read = false;
	(void)process_new(clients, 1, read_all, &options, "stream");
}

static void die_with_it(void *context) {
	sim_lease_die_with_it(context);
	end_worker(context);
}

static void take_turns(void *context) {
	sim_lease_take_turns(context);
	end_worker(context);
}

bool clients_hand_over(struct clients *clients) {
	const struct kv_options options = {.attempt_ms = 500};

	if (clients->options.leases == 0 || clients->hand_over_steps == 2)
		return false;
	if (clients->hand_over_steps++ == 0) {
		(void)process_new(clients, 1, die_with_it, &options, "stream");
		return true;
	}
	for (unsigned i = 0; i < CLIENTS_IN_TURN; i++)
		(void)process_new(clients, 1, take_turns, &options, "stream");
	return true;
}

bool clients_have_read(const struct clients *clients) {
	return clients->has_read && clients_have_ended(clients);
}

const struct kv_value *clients_values(const struct clients *clients) {
	return clients->values;
}

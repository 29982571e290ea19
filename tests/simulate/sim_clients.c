/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/lock.h>

#include "invariants.h"
#include "sim.h"
#include "sim_txn.h"

enum {
	THREADS_MAX = 2,
	APPEND_KEYS = 2,
	OTHER_KEYS = 3,
	LIMIT_LEAST_MS = 200, /* of a call */
	LIMIT_MOST_MS = 20000,
	ACQUIRE_MOST_MS = 6000,
	CRITICAL_MS = 60,
	VALUE_MAX_HERE = 4096,
};

const char *const clients_keys[] = {"a0", "a1", "r0", "r1", "r2", "l0", "l1",
				    "c0", "c1", "t0", "t1", "t2", NULL};
static const char *const append_keys[] = {"a0", "a1"};
static const char *const other_keys[] = {"r0", "r1", "r2"};
static const char *const lock_keys[] = {"l0", "l1"};
static const char *const counter_keys[] = {"c0", "c1"};

struct process;

/* A thread of a client. */
struct worker {
	struct actor actor; /* first: see op_log.h */
	struct process *process;
	struct task *task;
	struct kv_client *client; /* the process's, or a view of it */
	struct kv_lock *lock;
	struct contender *contender;
	unsigned tokens;
	uint64_t versions[OTHER_KEYS]; /* as last seen */
	struct txn_worker txn;
	uint64_t known_generation; /* of the store that it knows; 0: none */
};

struct process {
	struct process *next;
	struct clients *clients;
	struct host host;
	struct client_contract contract;
	struct kv_client *client;
	struct worker workers[THREADS_MAX];
	unsigned worker_count;
	unsigned working;
};

struct clients {
	struct clients_options options;
	struct link_stubs *stubs;
	struct sim_server *server;
	struct lock_invariants *invariants;
	struct process *processes;
	unsigned process_count;
	unsigned worker_count;
	bool is_finishing;
	bool has_read;
	uint64_t position;    /* the highest that a page told */
	unsigned unexplained; /* answers that only a lost session explains */
	struct kv_value values[CLIENTS_KEYS];
};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static bool happens(unsigned in_10000) {
	return prng_often(&sim()->prng, in_10000);
}

static bool is_dead(const struct worker *worker) {
	return worker->process->host.is_dead;
}

static void rest(const struct worker *worker, uint64_t pause_ms) {
	uint64_t until_ms = sim()->now_ms + pause_ms;

	while (!is_dead(worker) && sim()->now_ms < until_ms)
		(void)task_sleep(until_ms);
}

/* --- Judging on the way ------------------------------------------------------------------------
 */

static void count(enum kv_status status) {
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

static enum kv_status checked(struct worker *worker, enum kv_status status) {
	const struct op *op = op_log_last();

	if (is_dead(worker))
		return status;
	count(status);
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

	(void)checked(worker,
		      op_append(worker->client, append_keys[between(0, APPEND_KEYS - 1)],
				(struct kv_bytes){token, (size_t)size}, KV_ANY, &old, &version));
	kv_value_free(&old);
}

static void get_some(struct worker *worker) {
	const char *key = clients_keys[between(0, CLIENTS_KEYS - 1)];
	uint64_t called = op_log_moment();
	struct kv_value value = {0};
	enum kv_status status = checked(worker, op_get(worker->client, key, &value));

	if (!is_dead(worker) && status == KV_OK && key[0] == 'l')
		lock_invariants_seen(worker->process->clients->invariants, (unsigned)(key[1] - '0'),
				     value.data, value.size, called);
	if (!is_dead(worker) && status == KV_OK && key[0] == 'r')
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
		status = checked(worker,
				 op_delete(worker->client, other_keys[index], expected, &version));
	} else if (!worker->process->contract.is_stateless && happens(4000)) {
		struct kv_value old = {0};

		expected = happens(3000) ? expected : KV_ANY;
		status = checked(worker, op_append(worker->client, other_keys[index], value,
						   expected, &old, &version));
		kv_value_free(&old);
	} else {
		if (!worker->process->contract.is_stateless && happens(3000))
			expected = KV_ANY;
		status = checked(
		    worker, op_put(worker->client, other_keys[index], value, expected, &version));
	}
	if (!is_dead(worker) && (status == KV_OK || status == KV_VERSION))
		worker->versions[index] = version;
	if (!is_dead(worker) && status == KV_NOKEY)
		worker->versions[index] = 0;
}

/* --- The lock ----------------------------------------------------------------------------------
 */

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
	enum kv_status status = checked(worker, op_get(worker->client, lock_keys[number], &value));

	if (!is_dead(worker) && status == KV_OK) {
		lock_invariants_seen(invariants, number, value.data, value.size, called);
		if (lock_invariants_is_gone(invariants, value.data, value.size)) {
			uint64_t version = 0;

			(void)checked(worker, op_put(worker->client, lock_keys[number], unlocked,
						     value.version, &version));
		}
	}
	kv_value_free(&value);
}

/* Adds one to the counter, as only a holder may. */
static void add_one(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	const char *key = counter_keys[worker->contender->lock];
	struct kv_value value = {0};
	enum kv_status status = checked(worker, op_get(worker->client, key, &value));
	uint64_t version = value.version;
	char text[TOKEN_MAX] = "";
	uint64_t number;

	if (value.size > 0 && value.size < sizeof(text))
		memcpy(text, value.data, value.size);
	number = strtoull(text, NULL, 10);
	kv_value_free(&value);
	if (is_dead(worker) || (status != KV_OK && status != KV_NOKEY))
		return;
	lock_invariants_counted(invariants, worker->contender, number);
	rest(worker, between(0, CRITICAL_MS));
	if (is_dead(worker))
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64, number + 1);
	status = checked(worker, op_put(worker->client, key, (struct kv_bytes){text, strlen(text)},
					version, &version));
	lock_invariants_added(invariants, worker->contender, is_dead(worker) ? KV_MAYBE : status);
}

/*
 * After each use, a release too: it may have found that an acquire of before took the lock. The
 * server that said so is that of the call which saw the token.
 */
static void learn_token(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	struct contender *contender = worker->contender;
	uint64_t token = kv_lock_token(worker->lock);

	if (token != 0 && token != contender->token)
		lock_invariants_acquired(invariants, contender, token,
					 op_log_life_of_version(lock_keys[contender->lock],
								worker->actor.worker, token));
	contender->token = token;
}

static void give_back(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	bool held = lock_invariants_holds(invariants, worker->contender);
	enum kv_status status;

	lock_invariants_release(invariants, worker->contender);
	status = kv_lock_release(worker->lock);
	if (is_dead(worker))
		return;
	sim_log("worker %u: release: %s", worker->actor.worker, kv_status_name(status));
	count(status);
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

static void use_lock(struct worker *worker) {
	struct lock_invariants *invariants = worker->process->clients->invariants;
	enum lock_use use = happens(7000) ? USE_ACQUIRE : USE_TRY;
	enum kv_status status;

	if (!open_lock(worker))
		return;
	lock_invariants_begin(invariants, worker->contender);
	status = use == USE_ACQUIRE
		     ? kv_lock_acquire(worker->lock, (unsigned)between(1, ACQUIRE_MOST_MS))
		     : kv_lock_try(worker->lock);
	if (is_dead(worker))
		return;
	sim_log("worker %u: %s: %s", worker->actor.worker, use == USE_ACQUIRE ? "acquire" : "try",
		kv_status_name(status));
	count(status);
	invariant_lock_status(&worker->process->contract, use, status);
	if (status == KV_OK) {
		learn_token(worker);
		if (!lock_invariants_kept(invariants, worker->contender) &&
		    worker->process->contract.is_durable)
			sim_fail("worker %u holds a lock by a token that is not the last",
				 worker->actor.worker);
		add_one(worker);
		if (!is_dead(worker) && happens(9500))
			give_back(worker);
	} else if (status != KV_MAYBE) {
		lock_invariants_settled(invariants, worker->contender);
		break_for_the_gone(worker);
	} else if (happens(5000)) {
		/* A release settles, too. */
		give_back(worker);
	}
}

/* --- Workers -----------------------------------------------------------------------------------
 */

static void do_one(struct worker *worker) {
	const struct clients_options *options = &worker->process->clients->options;
	bool is_idle = happens(options->idle);

	rest(worker, is_idle ? between(0, options->idle_ms) : between(0, options->pause_ms));
	if (is_dead(worker))
		return;
	if (happens(worker->process->clients->options.transactions)) {
		worker->txn.worker = worker->actor.worker;
		(void)checked(worker,
			      sim_txn_any(worker->client, &worker->txn, append_keys,
					  &worker->tokens, &worker->process->clients->position,
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
		use_lock(worker);
	}
}

static void end_worker(struct worker *worker) {
	struct process *process = worker->process;

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

	for (unsigned i = 0; i < ops && !is_dead(worker) && !clients->is_finishing; i++)
		do_one(worker);
	/* A lock that was kept is given back, unless its holder dies with it. */
	if (!is_dead(worker) && worker->lock != NULL && kv_lock_token(worker->lock) != 0)
		give_back(worker);
	end_worker(worker);
}

static void read_all(void *context) {
	struct worker *worker = context;
	struct clients *clients = worker->process->clients;

	for (unsigned i = 0; i < CLIENTS_KEYS; i++) {
		kv_value_free(&clients->values[i]);
		(void)checked(worker, op_get(worker->client, clients_keys[i], &clients->values[i]));
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
	return clients->process_count < HOSTS_MAX - 3 &&
	       clients->worker_count + 2 * THREADS_MAX < WORKERS_MAX;
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

bool clients_have_read(const struct clients *clients) {
	return clients->has_read && clients_have_ended(clients);
}

const struct kv_value *clients_values(const struct clients *clients) {
	return clients->values;
}

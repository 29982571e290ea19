/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random calls through a faulty network to a model of a server that restarts and is replaced: what
 * was answered KV_OK ran once, what was refused never runs, KV_MAYBE ran once or not at all, and
 * what expects a version that was read in one store runs in no other.
 */
#include "fake_transport.h"
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEYS = 3,
	SESSIONS = 64,
	SLOTS = 2, /* few, so that threads wait for them */
	DELAYED = 32,
	CALLS = 4096,
	SEEDS = 200,
};

struct memory {
	uint64_t seq;
	uint64_t call;
	enum kv_status status;
	uint64_t current;
};

struct open_session {
	uint64_t client_id; /* 0: none */
	uint8_t nonce[NONCE_SIZE];
	struct memory slots[SLOTS];
};

/* One copy of a write on its way. */
struct message {
	struct request request;
	unsigned key;
	uint64_t call;
};

/* What the addresses of the server list are. */
enum network { STREAM, DATAGRAM, BOTH };

struct model {
	pthread_mutex_t mutex;
	uint64_t random;
	uint64_t now_ms;
	enum network network;
	bool is_replaced_at_times;
	bool is_calm; /* no faults */

	uint8_t store;
	uint64_t epoch;
	uint64_t versions[KEYS];
	struct open_session sessions[SESSIONS];
	uint64_t last_client_id;
	struct message delayed[DELAYED];
	size_t delayed_count;

	uint64_t last_call;
	unsigned runs[CALLS];
	uint64_t made[CALLS];  /* the version that the run made */
	uint8_t ran_in[CALLS]; /* the store */
};

struct conn {
	unsigned count;
	bool is_datagram;
	uint64_t epoch; /* of the server at its other end */
	bool is_broken;
};

static struct model model;
static _Thread_local uint8_t read_in; /* the store that answered this thread's last Get */

/* xorshift64* (Vigna 2016) */
static uint64_t draw(void) {
	model.random ^= model.random >> 12;
	model.random ^= model.random << 25;
	model.random ^= model.random >> 27;
	return model.random * 2685821657736338717u;
}

static bool happens(unsigned percent) {
	return !model.is_calm && (draw() >> 32) % 100 < percent;
}

/* --- The server ---------------------------------------------------------------------------- */

static struct open_session *find_session(uint64_t client_id) {
	for (size_t i = 0; i < SESSIONS; i++)
		if (model.sessions[i].client_id == client_id)
			return &model.sessions[i];
	return NULL;
}

static struct open_session *find_nonce(const uint8_t nonce[NONCE_SIZE]) {
	for (size_t i = 0; i < SESSIONS; i++)
		if (model.sessions[i].client_id != 0 &&
		    memcmp(model.sessions[i].nonce, nonce, NONCE_SIZE) == 0)
			return &model.sessions[i];
	return NULL;
}

static void serve_open(const struct request *request, struct response *response) {
	struct open_session *session = find_nonce(request->nonce);

	if (session == NULL) {
		session = &model.sessions[++model.last_client_id % SESSIONS];
		*session = (struct open_session){.client_id = model.last_client_id};
		memcpy(session->nonce, request->nonce, NONCE_SIZE);
	}
	response->client_id = session->client_id;
	response->slots = SLOTS;
	response->lease_ms = 3600000;
}

/* The table of versions. */
static enum kv_status run_write(const struct message *message, uint64_t *current) {
	uint64_t *version = &model.versions[message->key];
	uint64_t expected = message->request.expected;

	*current = *version;
	if (happens(5))
		return KV_FULL;
	if (expected != KV_ANY && expected > 0 && *version == 0)
		return KV_NOKEY;
	if (expected != KV_ANY && expected != *version)
		return KV_VERSION;
	*current = ++*version;
	model.runs[message->call]++;
	model.made[message->call] = *current;
	model.ran_in[message->call] = model.store;
	return KV_OK;
}

/* The table of slots. */
static enum kv_status serve_write(const struct message *message, uint64_t *current) {
	const struct request *request = &message->request;
	struct open_session *session;
	struct memory *slot;

	if (request->epoch != model.epoch)
		return KV_EPOCH;
	if (request->client_id == 0)
		return run_write(message, current);
	session = find_session(request->client_id);
	if (session == NULL)
		return KV_BADSESSION;
	ck_assert_uint_lt(request->slot, SLOTS);
	slot = &session->slots[request->slot];
	if (request->seq < slot->seq)
		return KV_STALE;
	if (request->seq == slot->seq && message->call != slot->call)
		return KV_FALSE_RETRY;
	if (request->seq > slot->seq) {
		*slot = (struct memory){.seq = request->seq, .call = message->call};
		slot->status = run_write(message, &slot->current);
	}
	*current = slot->current;
	return slot->status;
}

static struct message message_of(const struct request *request) {
	struct message message = {.request = *request};

	memcpy(&message.key, request->key.data, sizeof(message.key));
	memcpy(&message.call, request->value.data, sizeof(message.call));
	message.request.key = message.request.value = (struct kv_bytes){0};
	return message;
}

static void serve(const struct request *request, struct response *response) {
	struct message message;
	unsigned key;

	switch (request->kind) {
	case REQUEST_HELLO:
		memset(response->store, model.store, STORE_ID_SIZE);
		response->epoch = model.epoch;
		response->key_max = KV_KEY_MAX;
		response->value_max = KV_VALUE_MAX;
		response->datagram_max = 65507;
		return;
	case REQUEST_PING:
	case REQUEST_STATS:
	case REQUEST_WHOAMI:
	case REQUEST_SNAPSHOT:
	case REQUEST_BACKUP:
	case REQUEST_DELETE:
	case REQUEST_LIST:
	case REQUEST_TXN:
	case REQUEST_CHANGES:
	case REQUEST_WAIT:
		return;
	case REQUEST_OPEN:
	case REQUEST_CLOSE:
	case REQUEST_GET:
	case REQUEST_PUT:
	case REQUEST_APPEND:
		break;
	}
	if (request->epoch != model.epoch) {
		response->status = KV_EPOCH;
		return;
	}
	if (request->kind == REQUEST_OPEN) {
		serve_open(request, response);
	} else if (request->kind == REQUEST_GET) {
		memcpy(&key, request->key.data, sizeof(key));
		read_in = model.store;
		response->current = model.versions[key];
		response->status = response->current > 0 ? KV_OK : KV_NOKEY;
	} else if (request->kind != REQUEST_CLOSE) {
		message = message_of(request);
		response->status = serve_write(&message, &response->current);
	}
}

static void restart(void) {
	model.epoch++;
	if (!model.is_replaced_at_times || !happens(30))
		return;
	model.store++;
	memset(model.versions, 0, sizeof(model.versions));
	memset(model.sessions, 0, sizeof(model.sessions));
}

/* --- The network --------------------------------------------------------------------------- */

static bool is_write(const struct request *request) {
	return request->kind == REQUEST_PUT || request->kind == REQUEST_APPEND;
}

static void delay(const struct request *request) {
	if (is_write(request) && model.delayed_count < DELAYED)
		model.delayed[model.delayed_count++] = message_of(request);
}

static void deliver_one_late(void) {
	uint64_t unused;
	size_t i = draw() % model.delayed_count;

	(void)serve_write(&model.delayed[i], &unused);
	model.delayed[i] = model.delayed[--model.delayed_count];
}

/* What happens between the steps of the client. */
static void live(void) {
	if (happens(3))
		restart();
	if (happens(3))
		model.sessions[model.last_client_id % SESSIONS].client_id = 0;
	while (model.delayed_count > 0 && happens(30))
		deliver_one_late();
	model.now_ms++;
}

static enum attempt lose(struct conn *link, uint64_t deadline_ms) {
	if (!link->is_datagram && happens(50))
		link->is_broken = true;
	else if (model.now_ms < deadline_ms)
		model.now_ms = deadline_ms;
	return ATTEMPT_UNANSWERED;
}

static enum attempt exchange(struct conn *link, const struct request *request, uint64_t deadline_ms,
			     struct response *response) {
	live();
	if (link->is_broken || (!link->is_datagram && link->epoch != model.epoch)) {
		link->is_broken = true;
		return happens(50) ? ATTEMPT_UNANSWERED : ATTEMPT_UNSENT;
	}
	if (happens(10)) { /* lost, or slow: it arrives when no call waits for it any more */
		if (happens(50))
			delay(request);
		return lose(link, deadline_ms);
	}
	serve(request, response);
	if (link->is_datagram && happens(15)) { /* repeated: the second answer may come first */
		live();
		if (happens(50)) {
			delay(request);
		} else {
			memset(response, 0, sizeof(*response));
			serve(request, response);
		}
	}
	live();
	if (happens(10)) {
		memset(response, 0, sizeof(*response));
		return lose(link, deadline_ms);
	}
	return ATTEMPT_ANSWERED;
}

static enum attempt model_attempt(struct conn *link, const struct request *request,
				  uint64_t deadline_ms, struct response *response) {
	enum attempt outcome;

	(void)pthread_mutex_lock(&model.mutex);
	outcome = exchange(link, request, deadline_ms, response);
	(void)pthread_mutex_unlock(&model.mutex);
	return outcome;
}

static struct conn *model_connect(void *context, size_t index, bool look_again,
				  uint64_t deadline_ms) {
	struct conn *link = NULL;

	(void)context;
	(void)look_again;
	(void)deadline_ms;
	(void)pthread_mutex_lock(&model.mutex);
	live();
	if (!happens(10)) {
		link = calloc(1, sizeof(*link));
		*link = (struct conn){
		    .count = 1,
		    .is_datagram = model.network == DATAGRAM || index == 1,
		    .epoch = model.epoch,
		};
	}
	(void)pthread_mutex_unlock(&model.mutex);
	return link;
}

static struct conn *model_hold(struct conn *link) {
	(void)pthread_mutex_lock(&model.mutex);
	link->count++;
	(void)pthread_mutex_unlock(&model.mutex);
	return link;
}

static void model_drop(struct conn *link) {
	bool is_last;

	(void)pthread_mutex_lock(&model.mutex);
	is_last = --link->count == 0;
	(void)pthread_mutex_unlock(&model.mutex);
	if (is_last)
		free(link);
}

static bool model_is_stream(const struct conn *link) {
	return !link->is_datagram;
}

static bool model_is_usable(const struct conn *link) {
	bool is_usable;

	(void)pthread_mutex_lock(&model.mutex);
	is_usable = !link->is_broken;
	(void)pthread_mutex_unlock(&model.mutex);
	return is_usable;
}

static bool model_heard_since(const struct conn *link, uint64_t since_ms) {
	bool is_heard;

	(void)link;
	(void)since_ms;
	(void)pthread_mutex_lock(&model.mutex);
	is_heard = happens(50);
	(void)pthread_mutex_unlock(&model.mutex);
	return is_heard;
}

static uint64_t model_now_ms(void *context) {
	uint64_t now_ms;

	(void)context;
	(void)pthread_mutex_lock(&model.mutex);
	now_ms = model.now_ms;
	(void)pthread_mutex_unlock(&model.mutex);
	return now_ms;
}

static void model_pause(void *context, uint64_t until_ms) {
	(void)context;
	(void)pthread_mutex_lock(&model.mutex);
	if (model.now_ms < until_ms)
		model.now_ms = until_ms;
	(void)pthread_mutex_unlock(&model.mutex);
}

static uint64_t model_chance(void *context) {
	uint64_t bits;

	(void)context;
	(void)pthread_mutex_lock(&model.mutex);
	bits = draw();
	(void)pthread_mutex_unlock(&model.mutex);
	return bits;
}

static void begin(uint64_t seed, enum network network) {
	const struct transport table = {.address_count = network == BOTH ? 2 : 1,
					.connect = model_connect,
					.ref = model_hold,
					.unref = model_drop,
					.is_stream = model_is_stream,
					.is_usable = model_is_usable,
					.received_since = model_heard_since,
					.attempt = model_attempt,
					.name = fake.table.name,
					.last_error = fake.table.last_error,
					.now_ms = model_now_ms,
					.sleep_until = model_pause,
					.random = model_chance};

	memset(&model, 0, sizeof(model));
	(void)pthread_mutex_init(&model.mutex, NULL);
	model.random = seed * 0x9e3779b97f4a7c15u + 1;
	model.now_ms = 1000;
	model.network = network;
	model.store = 1;
	model.epoch = 1;
	fake.table = table;
}

/* --- The callers --------------------------------------------------------------------------- */

/* What a caller heard of each call; KV_BUSY: nothing yet. */
static struct outcome {
	enum kv_status status;
	uint64_t version;
	uint8_t known_in; /* it named a version, and the store was read before; 0: not so */
} heard[CALLS];

static uint64_t choose(uint64_t limit) {
	return (model_chance(NULL) >> 32) % limit;
}

static void write_once(struct kv_client *client, unsigned key, uint64_t expected, bool appends) {
	struct kv_bytes key_bytes = {&key, sizeof(key)};
	struct kv_bytes value = {NULL, sizeof(uint64_t)};
	uint64_t version, call;

	(void)pthread_mutex_lock(&model.mutex);
	call = ++model.last_call;
	(void)pthread_mutex_unlock(&model.mutex);
	ck_assert_uint_lt(call, CALLS);
	value.data = &call;
	heard[call].known_in = expected > 0 && expected != KV_ANY ? read_in : 0;
	heard[call].status = appends ? kv_append(client, key_bytes, value, expected, NULL, &version)
				     : kv_put(client, key_bytes, value, expected, &version);
	heard[call].version = version;
}

/* A few calls, most of them at the version that was seen last. */
static void call_often(struct kv_client *client, bool is_stateless, unsigned calls) {
	for (unsigned i = 0; i < calls; i++) {
		unsigned key = (unsigned)choose(KEYS);
		struct kv_value value;
		uint64_t expected;

		if (kv_get(client, (struct kv_bytes){&key, sizeof(key)}, &value) > KV_NOKEY)
			read_in = 0; /* it was not told what that was */
		expected = value.version;
		kv_value_free(&value);
		if (choose(10) == 0)
			expected = choose(5);
		if (!is_stateless && choose(2) == 0)
			expected = KV_ANY;
		write_once(client, key, expected, !is_stateless && choose(2) == 0);
	}
}

static void check_each_call(uint64_t seed) {
	for (uint64_t call = 1; call <= model.last_call; call++) {
		const struct outcome *outcome = &heard[call];
		unsigned runs = model.runs[call];

		ck_assert(runs == 0 || outcome->known_in == 0 ||
			  outcome->known_in == model.ran_in[call]);
		if (outcome->status == KV_OK)
			ck_assert_msg(runs == 1 && outcome->version == model.made[call],
				      "seed %llu: a call answered KV_OK ran %u times",
				      (unsigned long long)seed, runs);
		else if (outcome->status == KV_MAYBE)
			ck_assert_msg(runs <= 1, "seed %llu: a call ran %u times",
				      (unsigned long long)seed, runs);
		else
			ck_assert_msg(runs == 0, "seed %llu: a call answered %s ran",
				      (unsigned long long)seed, kv_status_name(outcome->status));
	}
}

static unsigned count_heard(enum kv_status status) {
	unsigned count = 0;

	for (uint64_t call = 1; call <= model.last_call; call++)
		count += heard[call].status == status;
	return count;
}

/* One caller, virtual time, as many worlds as there are seeds. */
static void explore(bool is_stateless, enum network network) {
	unsigned calls = 0, ok = 0, maybe = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		const struct kv_options options = {.stateless = is_stateless, .timeout_ms = 3000};
		struct kv_client *client;

		begin(seed, network);
		model.is_replaced_at_times = seed % 2 == 0;
		ck_assert_int_eq(kv_open(&options, &client), KV_OK);
		call_often(client, is_stateless, 40);
		kv_close(client);
		while (model.delayed_count > 0)
			deliver_one_late();
		check_each_call(seed);
		calls += 40;
		ok += count_heard(KV_OK);
		maybe += count_heard(KV_MAYBE);
	}
	/* The worlds are rough enough to matter, and calm enough to live in. */
	ck_assert_uint_gt(ok, calls / 3);
	ck_assert_uint_gt(maybe, calls / 1000);
}

CASE(clerk_model, .setup = fake_reset);

TEST(in_a_session_over_a_stream_what_is_said_of_a_write_is_true) {
	explore(false, STREAM);
}

TEST(in_a_session_over_udp_what_is_said_of_a_write_is_true) {
	explore(false, DATAGRAM);
}

TEST(in_a_session_over_both_what_is_said_of_a_write_is_true) {
	explore(false, BOTH);
}

TEST(stateless_over_a_stream_what_is_said_of_a_write_is_true) {
	explore(true, STREAM);
}

TEST(stateless_over_udp_what_is_said_of_a_write_is_true) {
	explore(true, DATAGRAM);
}

TEST(stateless_over_both_what_is_said_of_a_write_is_true) {
	explore(true, BOTH);
}

/* Versions are remembered where they are told: each thread has a view of its own. */
static void *call_in_a_thread(void *client) {
	struct kv_client *view;

	ck_assert_int_eq(kv_with_timeout(client, 0, &view), KV_OK);
	call_often(view, false, 30);
	kv_close(view);
	return NULL;
}

static void run_threads(uint64_t seed, bool is_calm) {
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	struct kv_client *client;

	begin(seed, STREAM);
	model.is_calm = is_calm;
	model.is_replaced_at_times = seed % 2 == 0;
	ck_assert_int_eq(kv_open(NULL, &client), KV_OK);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_in_a_thread, client), 0);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	kv_close(client);
	while (model.delayed_count > 0)
		deliver_one_late();
	check_each_call(seed);
}

TEST(many_threads_in_one_session_with_few_slots_are_told_the_truth) {
	for (uint64_t seed = 1; seed <= 20; seed++)
		run_threads(seed, false);
}

TEST(many_threads_on_a_calm_network_share_one_session_and_never_hear_maybe) {
	run_threads(1, true);
	ck_assert_uint_eq(count_heard(KV_MAYBE), 0);
	ck_assert_uint_eq(model.last_client_id, 1);
}

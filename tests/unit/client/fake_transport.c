/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_transport.h"

#include <stdlib.h>
#include <string.h>

#include "prng.h"
#include "rpc/rpc_transport.h"

struct conn {
	unsigned number;
	unsigned count;
	size_t server;
	bool is_broken;
	bool is_heard;
	uint64_t answered_ms; /* last; 0: never */
};

struct queue {
	struct step steps[FAKE_STEPS_MAX];
	size_t head;
	size_t tail;
};

struct fake fake;
static struct queue queues[REQUEST_WAIT + 1];

/* --- The table ----------------------------------------------------------------------------- */

static struct conn *fake_connect(void *context, size_t index, bool look_again,
				 uint64_t deadline_ms) {
	struct fake_server *server = &fake.servers[index];
	struct conn *link;

	(void)context;
	if (look_again)
		server->looked_again++;
	if (server->reach == REACH_SILENT)
		fake.now_ms = deadline_ms;
	if (server->reach != REACH_UP)
		return NULL;
	link = calloc(1, sizeof(*link));
	*link = (struct conn){.number = ++fake.connects, .count = 1, .server = index};
	fake.live_links++;
	return link;
}

static struct conn *fake_hold(struct conn *link) {
	link->count++;
	return link;
}

static void fake_drop(struct conn *link) {
	if (--link->count == 0) {
		fake.live_links--;
		free(link);
	}
}

static bool fake_is_stream(const struct conn *link) {
	return !fake.servers[link->server].is_datagram;
}

static bool fake_is_usable(const struct conn *link) {
	return !link->is_broken;
}

static bool fake_heard_since(const struct conn *link, uint64_t since_ms) {
	/* What was answered at that very moment came before: nothing here takes time by itself. */
	return link->is_heard || link->answered_ms > since_ms;
}

/* What a server does that was told nothing. */
static void answer(const struct fake_server *server, const struct request *request,
		   struct response *response) {
	response->status = KV_OK;
	switch (request->kind) {
	case REQUEST_HELLO:
		memset(response->store, server->store, STORE_ID_SIZE);
		response->epoch = server->epoch;
		response->key_max = KV_KEY_MAX;
		response->value_max = fake.value_max;
		response->datagram_max = fake.datagram_max;
		return;
	case REQUEST_PING:
	case REQUEST_STATS:
	case REQUEST_WHOAMI:
		return;
	case REQUEST_OPEN:
		response->client_id = ++fake.last_client_id;
		response->slots = fake.slots;
		response->lease_ms = fake.lease_ms;
		break;
	case REQUEST_CLOSE:
		break;
	case REQUEST_GET:
	case REQUEST_PUT:
	case REQUEST_APPEND:
	case REQUEST_SNAPSHOT:
	case REQUEST_BACKUP:
	case REQUEST_DELETE:
	case REQUEST_LIST:
	case REQUEST_TXN:
	case REQUEST_CHANGES:
	case REQUEST_WAIT:
		response->current = 1;
		break;
	}
	if (request->epoch != server->epoch)
		*response = (struct response){.status = KV_EPOCH};
}

static enum attempt fake_attempt(struct conn *link, const struct request *request,
				 uint64_t deadline_ms, struct response *response) {
	struct queue *queue = &queues[request->kind];
	struct fake_server *server = &fake.servers[link->server];
	struct step step = {0};
	bool is_scripted = queue->head < queue->tail;

	ck_assert_uint_lt(fake.log_count, FAKE_LOG_MAX);
	fake.log[fake.log_count++] = (struct sent){.request = *request,
						   .server = link->server,
						   .link = link->number,
						   .began_ms = fake.now_ms,
						   .until_ms = deadline_ms};
	if (link->is_broken)
		return ATTEMPT_UNSENT;
	if (is_scripted)
		step = queue->steps[queue->head++];
	if (step.during != NULL)
		step.during();
	link->is_heard = step.is_heard;
	link->is_broken = step.breaks_link;
	if (step.outcome == ATTEMPT_UNANSWERED && !step.breaks_link &&
	    (request->interrupted_ms == NULL || atomic_load(request->interrupted_ms) == 0))
		fake.now_ms = deadline_ms;
	else
		fake.now_ms += step.takes_ms;
	if (step.outcome == ATTEMPT_ANSWERED)
		link->answered_ms = fake.now_ms;
	*response = step.response;
	if (!is_scripted)
		answer(server, request, response);
	return step.outcome;
}

static const char *fake_name(void *context, size_t index) {
	static const char *const names[FAKE_SERVERS_MAX] = {"tcp:a", "tcp:b", "tcp:c", "tcp:d"};

	(void)context;
	return names[index];
}

static const char *fake_reason(void *context) {
	(void)context;
	return fake.reason;
}

static uint64_t fake_now_ms(void *context) {
	(void)context;
	return fake.now_ms;
}

static void fake_pause(void *context, uint64_t until_ms) {
	(void)context;
	ck_assert_uint_lt(fake.pause_count, FAKE_LOG_MAX);
	fake.pauses[fake.pause_count++] = until_ms - fake.now_ms;
	fake.now_ms = until_ms;
}

static uint64_t fake_chance(void *context) {
	static struct prng prng;

	(void)context;
	return fake.chance != 0 ? fake.chance : prng_next(&prng);
}

enum kv_status rpc_transport_new(const struct kv_options *options, struct transport *transport) {
	(void)options;
	*transport = fake.table;
	return KV_OK;
}

void rpc_transport_free(struct transport *transport) {
	*transport = (struct transport){0};
}

/* --- What a test says ---------------------------------------------------------------------- */

void fake_reset(void) {
	memset(queues, 0, sizeof(queues));
	fake = (struct fake){
	    .table =
		{
		    .connect = fake_connect,
		    .ref = fake_hold,
		    .unref = fake_drop,
		    .is_stream = fake_is_stream,
		    .is_usable = fake_is_usable,
		    .received_since = fake_heard_since,
		    .attempt = fake_attempt,
		    .name = fake_name,
		    .last_error = fake_reason,
		    .now_ms = fake_now_ms,
		    .sleep_until = fake_pause,
		    .random = fake_chance,
		},
	    .now_ms = 1000,
	    .reason = "",
	    .slots = 8,
	    .lease_ms = 3600000,
	    .value_max = KV_VALUE_MAX,
	    .datagram_max = 65507,
	    .last_client_id = 100,
	};
	fake_serve(1);
}

void fake_serve(size_t count) {
	for (size_t i = fake.table.address_count; i < count; i++)
		fake.servers[i] = (struct fake_server){.store = 'A', .epoch = 7};
	fake.table.address_count = count;
}

void fake_next(enum request_kind kind, struct step step) {
	struct queue *queue = &queues[kind];

	ck_assert_uint_lt(queue->tail, FAKE_STEPS_MAX);
	queue->steps[queue->tail++] = step;
}

void fake_answers(enum request_kind kind, enum kv_status status, uint64_t current) {
	fake_next(kind, (struct step){.response = {.status = status, .current = current}});
}

void fake_fails(enum request_kind kind, enum attempt outcome) {
	fake_next(kind, (struct step){.outcome = outcome});
}

void fake_breaks(enum request_kind kind) {
	fake_next(kind, (struct step){.outcome = ATTEMPT_UNANSWERED, .breaks_link = true});
}

void fake_restart(size_t server) {
	fake.servers[server].epoch++;
}

const struct sent *fake_log(enum request_kind kind, size_t n) {
	for (size_t i = 0; i < fake.log_count; i++)
		if (fake.log[i].request.kind == kind && n-- == 0)
			return &fake.log[i];
	ck_abort_msg("there was no such attempt");
	return NULL;
}

const struct request *fake_sent(enum request_kind kind, size_t n) {
	return &fake_log(kind, n)->request;
}

size_t fake_count(enum request_kind kind) {
	size_t count = 0;

	for (size_t i = 0; i < fake.log_count; i++)
		count += fake.log[i].request.kind == kind;
	return count;
}

static struct kv_client *open_client(const struct kv_options *options) {
	struct kv_client *client;

	ck_assert_int_eq(kv_open(options, &client), KV_OK);
	return client;
}

struct kv_client *fake_open(unsigned timeout_ms) {
	return open_client(&(struct kv_options){.timeout_ms = timeout_ms});
}

struct kv_client *fake_open_stateless(unsigned timeout_ms) {
	return open_client(&(struct kv_options){.timeout_ms = timeout_ms, .stateless = true});
}

void fake_close(struct kv_client *client) {
	kv_close(client);
	ck_assert_uint_eq(fake.live_links, 0);
}

enum kv_status fake_put(struct kv_client *client, uint64_t expected) {
	return kv_put(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"v", 1}, expected, NULL);
}

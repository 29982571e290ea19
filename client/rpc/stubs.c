/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/stubs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "rpc/rpc_call.h"
#include "rpc/last_error.h"

/* What surrounds a value in an answer: the RPC header with a verifier, status and versions. */
_Static_assert(LINK_RECORD_MAX >= KV1_VALUE_BOUND + 1024, "an answer with a value fits a record");
_Static_assert((int)STORE_ID_SIZE == KV1_STORE_SIZE, "kv.x and attempt.h agree");
_Static_assert((int)NONCE_SIZE == KV1_NONCE_SIZE, "kv.x and attempt.h agree");
_Static_assert(KV_KEY_MAX == KV1_KEY_MAX, "kv.x and kv.h agree");
_Static_assert(KV_VALUE_MAX == KV1_VALUE_MAX, "kv.x and kv.h agree");
_Static_assert(KV_ANY == KV1_ANY, "kv.x and kv.h agree");
_Static_assert(sizeof(((struct kv_counter *)0)->name) > KV1_COUNTER_NAME_BOUND, "a name fits");
_Static_assert(sizeof(((struct kv_stats *)0)->software) > KV1_SOFTWARE_BOUND, "a name fits");

static bool status_from_wire(kv1_status wire, enum kv_status *status) {
	switch (wire) {
	case KV1_OK:
	case KV1_NOKEY:
	case KV1_VERSION:
	case KV1_MAYBE:
	case KV1_BADSESSION:
	case KV1_STALE:
	case KV1_FALSE_RETRY:
	case KV1_TOOBIG:
	case KV1_FULL:
	case KV1_DENIED:
	case KV1_INVALID:
	case KV1_UNAVAILABLE:
	case KV1_EPOCH:
		/* The numbers are the same on purpose (kv/status.h). */
		*status = (enum kv_status)wire;
		return true;
	}
	return false;
}

/*
 * Whether the call was answered with a status that there is: then it is in the response. Enums are
 * not checked when they are decoded, so a number that is none gets here.
 */
static bool is_answered(struct caller *caller, kv1_status wire, struct response *response) {
	if (caller->outcome != ATTEMPT_ANSWERED)
		return false;
	if (status_from_wire(wire, &response->status))
		return true;
	caller_garbled(caller, "an answer with an unknown status came");
	return false;
}

/* kv1_key and kv1_value as rpcgen lays them out; encoding only reads them. */
static kv1_key wire_key(struct kv_bytes key) {
	return (kv1_key){.kv1_key_len = (u_int)key.size, .kv1_key_val = (char *)key.data};
}

static kv1_value wire_value(struct kv_bytes value) {
	return (kv1_value){.kv1_value_len = (u_int)value.size, .kv1_value_val = (char *)value.data};
}

static kv1_writer wire_writer(const struct request *request) {
	return (kv1_writer){
	    .epoch = request->epoch,
	    .client_id = request->client_id,
	    .slot = request->slot,
	    .seq = request->seq,
	};
}

/* libtirpc allocates with calloc(): what it decoded is handed on as it is, for free(). */
static void hand_over(kv1_value *decoded, uint64_t version, struct kv_value *value) {
	*value = (struct kv_value){
	    .data = decoded->kv1_value_val,
	    .size = decoded->kv1_value_len,
	    .version = version,
	};
	*decoded = (kv1_value){0};
}

static void ping(struct caller *caller) {
	char nothing = 0;

	(void)kvproc_null_1(&nothing, &nothing, &caller->client);
}

static void hello(struct caller *caller, struct response *response) {
	kv1_hello_res result = {0};
	char nothing = 0;

	(void)kvproc_hello_1(&nothing, &result, &caller->client);
	if (!is_answered(caller, result.status, response))
		return;
	memcpy(response->store, result.store, sizeof(response->store));
	response->epoch = result.epoch;
	response->key_max = result.key_max;
	response->value_max = result.value_max;
	response->datagram_max = result.datagram_max;
}

static void open_session(struct caller *caller, const struct request *request,
			 struct response *response) {
	kv1_open_args arguments = {.epoch = request->epoch, .slots = request->slots};
	kv1_open_res result = {0};

	memcpy(arguments.nonce, request->nonce, sizeof(arguments.nonce));
	(void)kvproc_open_1(&arguments, &result, &caller->client);
	if (!is_answered(caller, result.status, response))
		return;
	response->client_id = result.client_id;
	response->slots = result.slots;
	response->lease_ms = result.lease_ms;
}

static void close_session(struct caller *caller, const struct request *request,
			  struct response *response) {
	kv1_close_args arguments = {.epoch = request->epoch, .client_id = request->client_id};
	kv1_close_res result = {0};

	(void)kvproc_close_1(&arguments, &result, &caller->client);
	(void)is_answered(caller, result.status, response);
}

static void get(struct caller *caller, const struct request *request, struct response *response) {
	kv1_get_args arguments = {.epoch = request->epoch, .key = wire_key(request->key)};
	kv1_get_res result = {0};

	(void)kvproc_get_1(&arguments, &result, &caller->client);
	if (is_answered(caller, result.status, response)) {
		response->current = result.current;
		if (response->status == KV_OK)
			hand_over(&result.value, result.current, &response->value);
	}
	xdr_free((xdrproc_t)xdr_kv1_get_res, &result);
}

static void put(struct caller *caller, const struct request *request, struct response *response) {
	kv1_put_args arguments = {
	    .writer = wire_writer(request),
	    .expected = request->expected,
	    .key = wire_key(request->key),
	    .value = wire_value(request->value),
	};
	kv1_put_res result = {0};

	(void)kvproc_put_1(&arguments, &result, &caller->client);
	if (is_answered(caller, result.status, response))
		response->current = result.current;
}

static void append(struct caller *caller, const struct request *request,
		   struct response *response) {
	kv1_append_args arguments = {
	    .writer = wire_writer(request),
	    .expected = request->expected,
	    .key = wire_key(request->key),
	    .value = wire_value(request->value),
	    .want_old = request->want_old,
	};
	kv1_append_res result = {0};

	(void)kvproc_append_1(&arguments, &result, &caller->client);
	if (is_answered(caller, result.status, response)) {
		response->current = result.current;
		if (response->status == KV_OK)
			hand_over(&result.old, result.old_version, &response->value);
	}
	xdr_free((xdrproc_t)xdr_kv1_append_res, &result);
}

/* False: no memory. */
static bool copy_stats(const kv1_status_res *result, const char *server, struct kv_stats *stats) {
	size_t count = result->counters.counters_len;
	struct kv_counter *counters = calloc(count > 0 ? count : 1, sizeof(*counters));

	if (counters == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		const kv1_counter *from = &result->counters.counters_val[i];

		(void)snprintf(counters[i].name, sizeof(counters[i].name), "%s", from->name);
		counters[i].value = from->value;
	}
	(void)snprintf(stats->server, sizeof(stats->server), "%s", server);
	(void)snprintf(stats->software, sizeof(stats->software), "%s", result->software);
	memcpy(stats->store, result->store, sizeof(stats->store));
	stats->epoch = result->epoch;
	stats->counters = counters;
	stats->counter_count = count;
	return true;
}

static void stats_of(struct caller *caller, struct response *response) {
	kv1_status_res result = {0};
	char nothing = 0;

	(void)kvproc_status_1(&nothing, &result, &caller->client);
	if (is_answered(caller, result.status, response) && response->status == KV_OK &&
	    !copy_stats(&result, conn_name(caller->link), &response->stats)) {
		last_error_set("%s: no memory for the answer", conn_name(caller->link));
		caller->outcome = ATTEMPT_NOMEM;
		caller->status = KV_NOMEM;
	}
	xdr_free((xdrproc_t)xdr_kv1_status_res, &result);
}

static void snapshot(struct caller *caller, const struct request *request,
		     struct response *response) {
	kv1_snapshot_args arguments = {.epoch = request->epoch};
	kv1_snapshot_res result = {0};

	(void)kvproc_snapshot_1(&arguments, &result, &caller->client);
	if (is_answered(caller, result.status, response))
		response->current = result.position;
}

enum attempt stubs_call(struct link *link, const struct request *request,
				uint64_t deadline_ms, struct response *response) {
	struct caller caller;

	caller_init(&caller, link, conn_program(link), KV_V1, request->xid, deadline_ms);
	switch (request->kind) {
	case REQUEST_PING:
		ping(&caller);
		break;
	case REQUEST_HELLO:
		hello(&caller, response);
		break;
	case REQUEST_OPEN:
		open_session(&caller, request, response);
		break;
	case REQUEST_CLOSE:
		close_session(&caller, request, response);
		break;
	case REQUEST_GET:
		get(&caller, request, response);
		break;
	case REQUEST_PUT:
		put(&caller, request, response);
		break;
	case REQUEST_APPEND:
		append(&caller, request, response);
		break;
	case REQUEST_SNAPSHOT:
		snapshot(&caller, request, response);
		break;
	case REQUEST_STATS:
		stats_of(&caller, response);
		break;
	}
	if (caller.outcome != ATTEMPT_ANSWERED)
		response->status = caller.status;
	return caller.outcome;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/stubs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "rpc/last_error.h"
#include "rpc/rpc_call.h"

/* What surrounds a value in an answer: the RPC header with a verifier, status and versions. */
_Static_assert(CONN_RECORD_MAX >= KV1_VALUE_BOUND + 1024, "an answer with a value fits a record");
_Static_assert((int)STORE_ID_SIZE == KV1_STORE_SIZE, "kv.x and transport.h agree");
_Static_assert((int)NONCE_SIZE == KV1_NONCE_SIZE, "kv.x and transport.h agree");
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
	case KV1_UNMET:
	case KV1_COMPACTED:
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
static bool is_answered(struct rpc_call *call, kv1_status wire, struct response *response) {
	if (call->outcome != ATTEMPT_ANSWERED)
		return false;
	if (status_from_wire(wire, &response->status))
		return true;
	rpc_call_bad_reply(call, "the server sent an unknown status");
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

static void ping(struct rpc_call *call) {
	char nothing = 0;

	(void)kvproc_null_1(&nothing, &nothing, &call->client);
}

static void hello(struct rpc_call *call, struct response *response) {
	kv1_hello_res result = {0};
	char nothing = 0;

	(void)kvproc_hello_1(&nothing, &result, &call->client);
	if (!is_answered(call, result.status, response))
		return;
	memcpy(response->store, result.store, sizeof(response->store));
	response->epoch = result.epoch;
	response->key_max = result.key_max;
	response->value_max = result.value_max;
	response->datagram_max = result.datagram_max;
}

static void open_session(struct rpc_call *call, const struct request *request,
			 struct response *response) {
	kv1_open_args arguments = {.epoch = request->epoch, .slots = request->slots};
	kv1_open_res result = {0};

	memcpy(arguments.nonce, request->nonce, sizeof(arguments.nonce));
	(void)kvproc_open_1(&arguments, &result, &call->client);
	if (!is_answered(call, result.status, response))
		return;
	response->client_id = result.client_id;
	response->slots = result.slots;
	response->lease_ms = result.lease_ms;
}

static void close_session(struct rpc_call *call, const struct request *request,
			  struct response *response) {
	kv1_close_args arguments = {.epoch = request->epoch, .client_id = request->client_id};
	kv1_close_res result = {0};

	(void)kvproc_close_1(&arguments, &result, &call->client);
	(void)is_answered(call, result.status, response);
}

static void get(struct rpc_call *call, const struct request *request, struct response *response) {
	kv1_get_args arguments = {.epoch = request->epoch, .key = wire_key(request->key)};
	kv1_get_res result = {0};

	(void)kvproc_get_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response)) {
		response->current = result.current;
		if (response->status == KV_OK)
			hand_over(&result.value, result.current, &response->value);
	}
	xdr_free((xdrproc_t)xdr_kv1_get_res, &result);
}

static void wait_for(struct rpc_call *call, const struct request *request,
		     struct response *response) {
	kv1_wait_args arguments = {.epoch = request->epoch,
				   .key = wire_key(request->key),
				   .seen = request->expected,
				   .wait_ms = request->copy_wait_ms};
	kv1_wait_res result = {0};

	(void)kvproc_wait_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response)) {
		response->current = result.current;
		if (response->status == KV_OK)
			hand_over(&result.value, result.current, &response->value);
	}
	xdr_free((xdrproc_t)xdr_kv1_wait_res, &result);
}

static void put(struct rpc_call *call, const struct request *request, struct response *response) {
	kv1_put_args arguments = {
	    .writer = wire_writer(request),
	    .expected = request->expected,
	    .key = wire_key(request->key),
	    .value = wire_value(request->value),
	};
	kv1_put_res result = {0};

	(void)kvproc_put_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response))
		response->current = result.current;
}

static void append(struct rpc_call *call, const struct request *request,
		   struct response *response) {
	kv1_append_args arguments = {
	    .writer = wire_writer(request),
	    .expected = request->expected,
	    .key = wire_key(request->key),
	    .value = wire_value(request->value),
	    .want_old = request->want_old,
	};
	kv1_append_res result = {0};

	(void)kvproc_append_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response)) {
		response->current = result.current;
		if (response->status == KV_OK)
			hand_over(&result.old, result.old_version, &response->value);
	}
	xdr_free((xdrproc_t)xdr_kv1_append_res, &result);
}

static void no_memory(struct rpc_call *call) {
	last_error_set("%s: no memory for the reply", conn_name(call->conn));
	call->outcome = ATTEMPT_NOMEM;
	call->status = KV_NOMEM;
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

static void stats_of(struct rpc_call *call, struct response *response) {
	kv1_status_res result = {0};
	char nothing = 0;

	(void)kvproc_status_1(&nothing, &result, &call->client);
	if (is_answered(call, result.status, response) && response->status == KV_OK &&
	    !copy_stats(&result, conn_name(call->conn), &response->stats))
		no_memory(call);
	xdr_free((xdrproc_t)xdr_kv1_status_res, &result);
}

/* The calls of later servers: an older one has no such procedure. */
static void delete_key(struct rpc_call *call, const struct request *request,
		       struct response *response) {
	kv1_delete_args arguments = {
	    .writer = wire_writer(request),
	    .expected = request->expected,
	    .key = wire_key(request->key),
	};
	kv1_delete_res result = {0};

	(void)kvproc_delete_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response))
		response->current = result.current;
}

/* One block: the keys, and behind them their bytes. False: no memory. */
static bool copy_list(const kv1_list_res *result, struct kv_list *list) {
	size_t count = result->keys.keys_len;
	size_t size = count * sizeof(struct kv_key);

	for (size_t i = 0; i < count; i++)
		size += result->keys.keys_val[i].key.kv1_key_len;
	struct kv_key *keys = malloc(size > 0 ? size : 1);
	if (keys == NULL)
		return false;
	char *bytes = (char *)(keys + count);
	for (size_t i = 0; i < count; i++) {
		const kv1_listed *from = &result->keys.keys_val[i];

		keys[i] = (struct kv_key){
		    .key = {bytes, from->key.kv1_key_len},
		    .version = from->current,
		    .ttl_left_ms = from->ttl_left_ms,
		    .size = from->size,
		    .waiting = from->waiting,
		};
		memcpy(bytes, from->key.kv1_key_val, from->key.kv1_key_len);
		bytes += from->key.kv1_key_len;
	}
	*list = (struct kv_list){
	    .keys = keys, .count = count, .more = result->more, .position = result->position};
	return true;
}

static void list(struct rpc_call *call, const struct request *request, struct response *response) {
	kv1_list_args arguments = {
	    .epoch = request->epoch,
	    .prefix = wire_key(request->key),
	    .after = wire_key(request->after),
	    .limit = request->limit,
	};
	kv1_list_res result = {0};

	(void)kvproc_list_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response) && response->status == KV_OK &&
	    !copy_list(&result, &response->list))
		no_memory(call);
	xdr_free((xdrproc_t)xdr_kv1_list_res, &result);
}

/* As copy_list(). */
static bool copy_changes(const kv1_changes_res *result, struct changes *changes) {
	size_t count = result->keys.keys_len;
	size_t size = count * sizeof(struct changed);

	for (size_t i = 0; i < count; i++)
		size += result->keys.keys_val[i].key.kv1_key_len;
	struct changed *keys = malloc(size > 0 ? size : 1);
	if (keys == NULL)
		return false;
	char *bytes = (char *)(keys + count);
	for (size_t i = 0; i < count; i++) {
		const kv1_changed *from = &result->keys.keys_val[i];

		keys[i] = (struct changed){
		    .key = {bytes, from->key.kv1_key_len},
		    .version = from->current,
		    .is_gone = from->is_gone != 0,
		};
		memcpy(bytes, from->key.kv1_key_val, from->key.kv1_key_len);
		bytes += from->key.kv1_key_len;
	}
	*changes = (struct changes){
	    .keys = keys, .count = count, .more = result->more, .position = result->position};
	return true;
}

static void get_changes(struct rpc_call *call, const struct request *request,
			struct response *response) {
	kv1_changes_args arguments = {
	    .epoch = request->epoch,
	    .prefix = wire_key(request->key),
	    .since = request->since,
	    .wait_ms = request->copy_wait_ms,
	    .limit = request->limit,
	};
	kv1_changes_res result = {0};

	(void)kvproc_changes_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response) && response->status == KV_OK &&
	    !copy_changes(&result, &response->changes))
		no_memory(call);
	xdr_free((xdrproc_t)xdr_kv1_changes_res, &result);
}

_Static_assert((int)KV_AT == KV1_AT && (int)KV_EXISTS == KV1_EXISTS && (int)KV_HOLDS == KV1_HOLDS &&
		   (int)KV_FREE == KV1_FREE,
	       "kv.x and kv.h agree");
_Static_assert((int)KV_CHANGE_PUT == KV1_CHANGE_PUT && (int)KV_CHANGE_APPEND == KV1_CHANGE_APPEND &&
		   (int)KV_CHANGE_DELETE == KV1_CHANGE_DELETE &&
		   (int)KV_CHANGE_TOUCH == KV1_CHANGE_TOUCH,
	       "kv.x and kv.h agree");
_Static_assert(KV_CONDITIONS_MAX == KV1_CONDITIONS_MAX && KV_CHANGES_MAX == KV1_CHANGES_MAX &&
		   KV_PAGE_MAX == KV1_PAGE_MAX,
	       "kv.x and kv.h agree");

/* False: no memory, or not as many as there are changes. */
static bool copy_versions(const kv1_txn_res *result, const struct kv_txn *txn,
			  struct response *response) {
	if (result->versions.versions_len != txn->change_count)
		return false;
	response->versions = calloc(txn->change_count, sizeof(*response->versions));
	if (response->versions == NULL)
		return false;
	for (size_t i = 0; i < txn->change_count; i++)
		response->versions[i] = result->versions.versions_val[i];
	return true;
}

static void transact(struct rpc_call *call, const struct request *request,
		     struct response *response) {
	const struct kv_txn *txn = request->txn;
	kv1_condition conditions[KV_CONDITIONS_MAX];
	kv1_change changes[KV_CHANGES_MAX];
	kv1_txn_args arguments = {
	    .writer = wire_writer(request),
	    .wait_ms = request->copy_wait_ms,
	    .conditions = {(u_int)txn->condition_count, conditions},
	    .changes = {(u_int)txn->change_count, changes},
	};
	kv1_txn_res result = {0};

	for (size_t i = 0; i < txn->condition_count; i++)
		conditions[i] = (kv1_condition){
		    .test = (kv1_test)txn->conditions[i].test,
		    .key = wire_key(txn->conditions[i].key),
		    .at = txn->conditions[i].version,
		    .value = wire_value(txn->conditions[i].value),
		};
	for (size_t i = 0; i < txn->change_count; i++)
		changes[i] = (kv1_change){
		    .kind = (kv1_change_kind)txn->changes[i].kind,
		    .key = wire_key(txn->changes[i].key),
		    .value = wire_value(txn->changes[i].value),
		    .ttl_ms = txn->changes[i].ttl_ms,
		};
	(void)kvproc_txn_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response)) {
		response->current = response->status == KV_OK ? result.position : result.current;
		response->which = result.which;
		if (response->status == KV_OK && !copy_versions(&result, txn, response))
			no_memory(call);
	}
	xdr_free((xdrproc_t)xdr_kv1_txn_res, &result);
}

static void snapshot(struct rpc_call *call, const struct request *request,
		     struct response *response) {
	kv1_snapshot_args arguments = {.epoch = request->epoch};
	kv1_snapshot_res result = {0};

	(void)kvproc_snapshot_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response))
		response->current = result.position;
}

static void backup(struct rpc_call *call, const struct request *request,
		   struct response *response) {
	kv1_backup_args arguments = {
	    .epoch = request->epoch, .position = request->position, .offset = request->offset};
	kv1_backup_res result = {0};

	(void)kvproc_backup_1(&arguments, &result, &call->client);
	if (is_answered(call, result.status, response)) {
		response->current = result.size;
		if (response->status == KV_OK)
			hand_over(&result.page, 0, &response->value);
	}
	xdr_free((xdrproc_t)xdr_kv1_backup_res, &result);
}

_Static_assert(KV_RIGHT_READ == KV1_RIGHT_READ && KV_RIGHT_LOCK == KV1_RIGHT_LOCK &&
		   KV_RIGHT_APPEND == KV1_RIGHT_APPEND && KV_RIGHT_WRITE == KV1_RIGHT_WRITE &&
		   KV_RIGHT_ADMIN == KV1_RIGHT_ADMIN,
	       "kv.x and kv.h agree");
_Static_assert(sizeof(((struct kv_identity *)0)->principal) > KV1_PRINCIPAL_BOUND, "a name fits");

/* One block, as copy_list(). */
static bool copy_identity(const kv1_whoami_res *result, struct kv_identity *identity) {
	size_t count = result->grants.grants_len;
	size_t size = count * sizeof(struct kv_grant);

	for (size_t i = 0; i < count; i++)
		size += result->grants.grants_val[i].prefix.kv1_key_len;
	struct kv_grant *grants = malloc(size > 0 ? size : 1);
	if (grants == NULL)
		return false;
	char *bytes = (char *)(grants + count);
	for (size_t i = 0; i < count; i++) {
		const kv1_grant *from = &result->grants.grants_val[i];

		grants[i] = (struct kv_grant){.prefix = {bytes, from->prefix.kv1_key_len},
					      .rights = from->rights};
		if (from->prefix.kv1_key_len > 0)
			memcpy(bytes, from->prefix.kv1_key_val, from->prefix.kv1_key_len);
		bytes += from->prefix.kv1_key_len;
	}
	*identity = (struct kv_identity){.has_rules = result->has_rules != 0,
					 .is_secure = result->tls != 0,
					 .more = result->more != 0,
					 .grants = grants,
					 .grant_count = count};
	(void)snprintf(identity->principal, sizeof(identity->principal), "%s", result->principal);
	return true;
}

static void whoami(struct rpc_call *call, struct response *response) {
	kv1_whoami_res result = {0};
	char nothing = 0;

	(void)kvproc_whoami_1(&nothing, &result, &call->client);
	if (is_answered(call, result.status, response) && response->status == KV_OK &&
	    !copy_identity(&result, &response->identity))
		no_memory(call);
	xdr_free((xdrproc_t)xdr_kv1_whoami_res, &result);
}

enum attempt stubs_call(struct conn *conn, const struct request *request, uint64_t deadline_ms,
			struct response *response) {
	struct rpc_call call;

	last_error_clear();
	rpc_call_init(&call, conn, conn_program(conn), KV_V1, request->xid, deadline_ms);
	call.time.interrupted_ms = request->interrupted_ms;
	call.time.limit_ms = request->limit_ms;
	switch (request->kind) {
	case REQUEST_PING:
		ping(&call);
		break;
	case REQUEST_HELLO:
		hello(&call, response);
		break;
	case REQUEST_OPEN:
		open_session(&call, request, response);
		break;
	case REQUEST_CLOSE:
		close_session(&call, request, response);
		break;
	case REQUEST_GET:
		get(&call, request, response);
		break;
	case REQUEST_PUT:
		put(&call, request, response);
		break;
	case REQUEST_APPEND:
		append(&call, request, response);
		break;
	case REQUEST_DELETE:
		delete_key(&call, request, response);
		break;
	case REQUEST_LIST:
		list(&call, request, response);
		break;
	case REQUEST_CHANGES:
		get_changes(&call, request, response);
		break;
	case REQUEST_TXN:
		transact(&call, request, response);
		break;
	case REQUEST_WAIT:
		wait_for(&call, request, response);
		break;
	case REQUEST_SNAPSHOT:
		snapshot(&call, request, response);
		break;
	case REQUEST_BACKUP:
		backup(&call, request, response);
		break;
	case REQUEST_STATS:
		stats_of(&call, response);
		break;
	case REQUEST_WHOAMI:
		whoami(&call, response);
		break;
	}
	if (call.outcome != ATTEMPT_ANSWERED)
		response->status = call.status;
	return call.outcome;
}

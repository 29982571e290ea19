/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"
#include "rpc/rpc_transport.h"
#include "fork_detect.h"
#include "history_log.h"

/* What a handle and its views have in common. The last one to be closed frees it. */
struct common {
	atomic_uint handles;
	struct origin origin; /* the process that opened it */
	struct transport transport;
	struct clerk *clerk;
	struct recorder *recorder; /* NULL: no history is wanted */
};

struct kv_client {
	struct common *common;
	atomic_uint timeout_ms;
	struct memo memo;
};

/* After fork() the locks may be held by threads that exist no more, and the links are shared. */
static bool is_child(const struct kv_client *client) {
	return !fork_detect_is_owner(&client->common->origin);
}

/* Knows nothing of the store yet. */
static struct kv_client *client_new(struct common *common, unsigned timeout_ms) {
	struct kv_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->common = common;
	atomic_init(&client->timeout_ms, timeout_ms);
	known_store_init(&client->memo, clerk_generation(common->clerk));
	return client;
}

enum kv_status kv_open(const struct kv_options *options, struct kv_client **client) {
	static const struct kv_options defaults;
	struct common *common = calloc(1, sizeof(*common));
	enum kv_status status = KV_NOMEM;

	*client = NULL;
	if (common == NULL)
		return KV_NOMEM;
	if (options == NULL)
		options = &defaults;
	fork_detect_init(&common->origin);
	atomic_init(&common->handles, 1);
	status = history_log_open(options->history, &common->recorder);
	if (status != KV_OK)
		goto no_recorder;
	status = connections_new(options, &common->transport);
	if (status != KV_OK)
		goto no_transport;
	status = KV_NOMEM;
	common->clerk = clerk_new(options, &common->transport);
	if (common->clerk == NULL)
		goto no_clerk;
	*client = client_new(common, options->timeout_ms);
	if (*client == NULL)
		goto no_client;
	return KV_OK;

no_client:
	clerk_free(common->clerk, false);
no_clerk:
	connections_free(&common->transport);
no_transport:
	history_log_close(common->recorder);
no_recorder:
	fork_detect_destroy(&common->origin);
	free(common);
	return status;
}

enum kv_status kv_within(struct kv_client *client, unsigned timeout_ms, struct kv_client **view) {
	*view = NULL;
	if (is_child(client))
		return KV_INVALID;
	*view = client_new(client->common, timeout_ms);
	if (*view == NULL)
		return KV_NOMEM;
	known_store_copy(&(*view)->memo, &client->memo);
	(void)atomic_fetch_add(&client->common->handles, 1);
	return KV_OK;
}

void kv_close(struct kv_client *client) {
	struct common *common;

	if (client == NULL)
		return;
	common = client->common;
	if (atomic_fetch_sub(&common->handles, 1) == 1) {
		if (!is_child(client))
			clerk_end_session(common->clerk);
		clerk_free(common->clerk, is_child(client));
		connections_free(&common->transport);
		history_log_close(common->recorder);
		fork_detect_destroy(&common->origin);
		free(common);
	}
	free(client);
}

unsigned kv_timeout(const struct kv_client *client) {
	return atomic_load(&client->timeout_ms);
}

void kv_set_timeout(struct kv_client *client, unsigned timeout_ms) {
	atomic_store(&client->timeout_ms, timeout_ms);
}

/* What needs no server to be refused. */
static enum kv_status check_bytes(struct kv_bytes key, struct kv_bytes value) {
	if (key.size == 0 || key.data == NULL || (value.size > 0 && value.data == NULL))
		return KV_INVALID;
	if (key.size > KV_KEY_MAX || value.size > KV_VALUE_MAX)
		return KV_TOOBIG;
	return KV_OK;
}

static enum kv_status call(struct kv_client *client, struct request *request,
			   struct response *response) {
	return clerk_call(client->common->clerk, &client->memo, kv_timeout(client), request,
			  response);
}

/* The call as a history tells of it, before it is made. */
static struct history_call noted(const struct request *request) {
	struct history_call note = {
	    .op = request->kind == REQUEST_GET	 ? HISTORY_GET
		  : request->kind == REQUEST_PUT ? HISTORY_PUT
						 : HISTORY_APPEND,
	    .key = request->key,
	    .value = request->value,
	    .expected = request->expected,
	};

	return note;
}

/* A call on a key: with its line in the history. */
static enum kv_status call_on_key(struct kv_client *client, struct request *request,
				  struct response *response) {
	struct recorder *recorder = client->common->recorder;
	struct history_call note = noted(request);
	enum kv_status status = history_log_begin(recorder, &note);

	if (status != KV_OK)
		return status;
	status = call(client, request, response);
	note.status = status;
	note.version = response->current;
	note.has_got = status == KV_OK && (request->kind == REQUEST_GET || request->want_old);
	note.got = (struct kv_bytes){response->value.data, response->value.size};
	history_log_end(recorder, &note);
	return status;
}

enum kv_status kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value) {
	struct request request = {.kind = REQUEST_GET, .key = key};
	struct response response = {0};
	enum kv_status status = check_bytes(key, (struct kv_bytes){0});

	*value = (struct kv_value){0};
	if (is_child(client))
		return KV_INVALID;
	if (status == KV_OK)
		status = call_on_key(client, &request, &response);
	if (status == KV_OK) {
		*value = response.value;
		value->version = response.current;
		response.value = (struct kv_value){0};
	}
	response_free(&response);
	return status;
}

static enum kv_status write_key(struct kv_client *client, struct request *request,
				struct kv_value *old, uint64_t *version) {
	struct response response = {0};
	enum kv_status status = check_bytes(request->key, request->value);

	if (old != NULL)
		*old = (struct kv_value){0};
	if (version != NULL)
		*version = 0;
	if (is_child(client))
		return KV_INVALID;
	if (status != KV_OK)
		return status;

	status = call_on_key(client, request, &response);
	if (version != NULL)
		*version = response.current;
	if (old != NULL) {
		*old = response.value;
		response.value = (struct kv_value){0};
	}
	response_free(&response);
	return status;
}

enum kv_status kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
		      uint64_t expected, uint64_t *version) {
	struct request request = {
	    .kind = REQUEST_PUT, .key = key, .value = value, .expected = expected};

	return write_key(client, &request, NULL, version);
}

enum kv_status kv_append(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			 uint64_t expected, struct kv_value *old, uint64_t *version) {
	struct request request = {.kind = REQUEST_APPEND,
				  .key = key,
				  .value = value,
				  .expected = expected,
				  .want_old = old != NULL};

	return write_key(client, &request, old, version);
}

void kv_value_free(struct kv_value *value) {
	if (value == NULL)
		return;
	free(value->data);
	*value = (struct kv_value){0};
}

enum kv_status kv_ping(struct kv_client *client) {
	struct request request = {.kind = REQUEST_PING};
	struct response response = {0};
	enum kv_status status = KV_INVALID;

	if (!is_child(client))
		status = call(client, &request, &response);
	response_free(&response);
	return status;
}

enum kv_status kv_stats(struct kv_client *client, struct kv_stats *stats) {
	struct request request = {.kind = REQUEST_STATS};
	struct response response = {0};
	enum kv_status status = KV_INVALID;

	if (!is_child(client))
		status = call(client, &request, &response);
	*stats = response.stats;
	response.stats = (struct kv_stats){0};
	response_free(&response);
	return status;
}

enum kv_status kv_snapshot(struct kv_client *client, struct kv_snapshot *snapshot) {
	struct request request = {.kind = REQUEST_SNAPSHOT};
	struct response response = {0};
	enum kv_status status = KV_INVALID;

	*snapshot = (struct kv_snapshot){0};
	if (!is_child(client))
		status = call(client, &request, &response);
	if (status == KV_OK)
		*snapshot =
		    (struct kv_snapshot){.position = response.current, .epoch = request.epoch};
	response_free(&response);
	return status;
}

void kv_stats_free(struct kv_stats *stats) {
	if (stats == NULL)
		return;
	free(stats->counters);
	*stats = (struct kv_stats){0};
}

void kv_reason(struct kv_client *client, char *text, size_t size) {
	if (is_child(client))
		(void)snprintf(text, size, "the handle belongs to the process that opened it");
	else if (kv_history_error(client) != 0)
		(void)snprintf(text, size, "the history cannot be written: %s",
			       strerror(kv_history_error(client)));
	else
		clerk_last_error(client->common->clerk, text, size);
}

int kv_history_error(const struct kv_client *client) {
	return history_log_error(client->common->recorder);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"
#include "client.h"
#include "fork_detect.h"
#include "history_log.h"
#include "history_notes.h"
#include "rpc/rpc_transport.h"
#include "ticket.h"

/* What a handle and its views have in common. The last one to be closed frees it. */
struct common {
	atomic_uint handles;
	struct fork_detect fork_detect; /* the process that opened it */
	struct transport transport;
	struct clerk *clerk;
	struct history_log *history; /* NULL: none is wanted */
	struct ticket *ticket;	     /* likewise */
};

struct kv_client {
	struct common *common;
	atomic_uint timeout_ms;
	struct known_store known_store;
	atomic_uint waiting;		     /* calls under way that may wait on the server */
	atomic_uint_fast64_t interrupted_ms; /* when they were interrupted; 0: they were not */
};

/* After fork() the locks may be held by threads that exist no more, and the links are shared. */
static bool is_child(const struct kv_client *client) {
	return !fork_detect_is_owner(&client->common->fork_detect);
}

/* Knows nothing of the store yet. */
static struct kv_client *client_new(struct common *common, unsigned timeout_ms) {
	struct kv_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->common = common;
	atomic_init(&client->timeout_ms, timeout_ms);
	atomic_init(&client->waiting, 0);
	atomic_init(&client->interrupted_ms, 0);
	known_store_init(&client->known_store, clerk_generation(common->clerk));
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
	/* A history has each write once, from before its first sending; a ticket may be sent again.
	 */
	if (options->ticket != NULL && (options->stateless || options->history != NULL)) {
		free(common);
		return KV_INVALID;
	}
	fork_detect_init(&common->fork_detect);
	atomic_init(&common->handles, 1);
	if (options->ticket != NULL) {
		common->ticket = ticket_new(options->ticket);
		if (common->ticket == NULL)
			goto no_history;
	}
	if (options->history != NULL) {
		status = history_log_open(options->history, &common->history);
		if (status != KV_OK)
			goto no_history;
	}
	status = rpc_transport_new(options, &common->transport);
	if (status != KV_OK)
		goto no_transport;
	status = KV_NOMEM;
	common->clerk = clerk_new(options, &common->transport, common->ticket);
	if (common->clerk == NULL)
		goto no_clerk;
	*client = client_new(common, options->timeout_ms);
	if (*client == NULL)
		goto no_client;
	return KV_OK;

no_client:
	clerk_free(common->clerk, false);
no_clerk:
	rpc_transport_free(&common->transport);
no_transport:
	history_log_close(common->history, false);
no_history:
	ticket_free(common->ticket, false);
	fork_detect_destroy(&common->fork_detect);
	free(common);
	return status;
}

enum kv_status kv_with_timeout(struct kv_client *client, unsigned timeout_ms,
			       struct kv_client **view) {
	*view = NULL;
	if (is_child(client))
		return KV_INVALID;
	*view = client_new(client->common, timeout_ms);
	if (*view == NULL)
		return KV_NOMEM;
	known_store_copy(&(*view)->known_store, &client->known_store);
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
		rpc_transport_free(&common->transport);
		history_log_close(common->history, is_child(client));
		ticket_free(common->ticket, is_child(client));
		fork_detect_destroy(&common->fork_detect);
		free(common);
	}
	free(client);
}

bool kv_is_owner(const struct kv_client *client) {
	return !is_child(client);
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
	const bool waits = request->wait_ms > 0;
	enum kv_status status;

	if (waits) {
		(void)atomic_fetch_add(&client->waiting, 1);
		request->interrupted_ms = &client->interrupted_ms;
	}
	status = clerk_call(client->common->clerk, &client->known_store, kv_timeout(client),
			    request, response);
	if (waits && atomic_fetch_sub(&client->waiting, 1) == 1)
		atomic_store(&client->interrupted_ms, 0);
	return status;
}

void kv_interrupt(struct kv_client *client) {
	const struct transport *transport = &client->common->transport;

	atomic_store(&client->interrupted_ms, transport->now_ms(transport->context));
}

enum kv_status kv_settle(struct kv_client *client) {
	return is_child(client) ? KV_INVALID
				: clerk_settle(client->common->clerk, kv_timeout(client));
}

enum kv_status client_call(struct kv_client *client, struct request *request,
			   struct response *response) {
	*response = (struct response){0};
	return is_child(client) ? KV_INVALID : call(client, request, response);
}

const struct transport *client_transport(const struct kv_client *client) {
	return &client->common->transport;
}

static enum kv_status noted_call(struct kv_client *client, struct request *request,
				 struct response *response) {
	struct history_log *history = client->common->history;
	struct history_notes notes;
	enum kv_status status;

	history_notes_make(&notes, request);
	status = history_log_begin(history, notes.calls, notes.count);
	if (status != KV_OK)
		return status;
	status = call(client, request, response);
	history_notes_reply(&notes, request, status, response);
	history_log_end(history, notes.calls, notes.count);
	return status;
}

/* A call on a key, or on several, noted in the history. */
static enum kv_status call_on_key(struct kv_client *client, struct request *request,
				  struct response *response) {
	return client->common->history == NULL ? call(client, request, response)
					       : noted_call(client, request, response);
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

/* Of those that one attempt answers; the others are left at KV_TIMEOUT. */
static void get_batch(struct kv_client *client, const struct kv_bytes keys[], size_t count,
		      struct kv_value values[], enum kv_status statuses[]) {
	struct request requests[CLERK_GETS_MAX];
	struct response responses[CLERK_GETS_MAX];
	bool answered[CLERK_GETS_MAX];

	for (size_t i = 0; i < count; i++)
		requests[i] = (struct request){.kind = REQUEST_GET, .key = keys[i]};
	clerk_get_batch(client->common->clerk, &client->known_store, kv_timeout(client), requests,
			count, responses, answered);
	for (size_t i = 0; i < count; i++) {
		if (!answered[i])
			continue;
		statuses[i] = responses[i].status;
		values[i] = responses[i].value;
		responses[i].value = (struct kv_value){0};
		response_free(&responses[i]);
	}
}

/* A history has the times of each call, so there they are made one by one. */
static bool can_batch(const struct kv_client *client, const struct kv_bytes keys[], size_t count) {
	for (size_t i = 0; i < count; i++)
		if (check_bytes(keys[i], (struct kv_bytes){0}) != KV_OK)
			return false;
	return count > 1 && client->common->history == NULL && !is_child(client);
}

enum kv_status kv_get_many(struct kv_client *client, const struct kv_bytes keys[], size_t count,
			   struct kv_value values[], enum kv_status statuses[]) {
	enum kv_status worst = KV_OK;

	for (size_t i = 0; i < count; i++) {
		values[i] = (struct kv_value){0};
		statuses[i] = KV_TIMEOUT;
	}
	for (size_t at = 0; at < count; at += CLERK_GETS_MAX) {
		size_t part = count - at < CLERK_GETS_MAX ? count - at : CLERK_GETS_MAX;

		if (can_batch(client, keys + at, part))
			get_batch(client, keys + at, part, values + at, statuses + at);
	}
	for (size_t i = 0; i < count; i++) {
		if (statuses[i] == KV_TIMEOUT)
			statuses[i] = kv_get(client, keys[i], &values[i]);
		if (worst == KV_OK && statuses[i] != KV_OK && statuses[i] != KV_NOKEY)
			worst = statuses[i];
	}
	return worst;
}

/* The checker knows nothing of waits: a history with one would be blamed. */
static bool is_in_history(const struct kv_client *client) {
	return client->common->history != NULL;
}

enum kv_status kv_wait(struct kv_client *client, struct kv_bytes key, uint64_t seen_version,
		       unsigned wait_ms, struct kv_value *value) {
	struct request request = {
	    .kind = REQUEST_WAIT, .key = key, .expected = seen_version, .wait_ms = wait_ms};
	struct response response = {0};
	enum kv_status status = check_bytes(key, (struct kv_bytes){0});

	*value = (struct kv_value){0};
	if (is_child(client) || is_in_history(client))
		return KV_INVALID;
	if (status == KV_OK)
		status = call(client, &request, &response);
	if (status == KV_OK) {
		*value = response.value;
		value->version = response.current;
		response.value = (struct kv_value){0};
	}
	response_free(&response);
	return status == KV_UNMET ? KV_TIMEOUT : status;
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

enum kv_status kv_delete(struct kv_client *client, struct kv_bytes key, uint64_t expected,
			 uint64_t *version) {
	struct request request = {.kind = REQUEST_DELETE, .key = key, .expected = expected};
	struct response response = {0};
	enum kv_status status = check_bytes(key, (struct kv_bytes){0});

	if (version != NULL)
		*version = 0;
	if (is_child(client))
		return KV_INVALID;
	if (status == KV_OK)
		status = call_on_key(client, &request, &response);
	if (version != NULL)
		*version = response.current;
	response_free(&response);
	return status;
}

enum kv_status kv_list(struct kv_client *client, struct kv_bytes prefix, struct kv_bytes after,
		       size_t limit, struct kv_list *list) {
	struct request request = {
	    .kind = REQUEST_LIST,
	    .key = prefix,
	    .after = after,
	    .limit = limit > KV_PAGE_MAX ? KV_PAGE_MAX : (uint32_t)limit,
	};
	struct response response = {0};
	enum kv_status status;

	*list = (struct kv_list){0};
	if (is_child(client) || (prefix.size > 0 && prefix.data == NULL) ||
	    (after.size > 0 && after.data == NULL))
		return KV_INVALID;
	if (prefix.size > KV_KEY_MAX || after.size > KV_KEY_MAX)
		return KV_TOOBIG;
	status = call(client, &request, &response);
	if (status == KV_OK) {
		*list = response.list;
		response.list = (struct kv_list){0};
	}
	response_free(&response);
	return status;
}

void kv_list_free(struct kv_list *list) {
	if (list == NULL)
		return;
	free(list->keys);
	*list = (struct kv_list){0};
}

enum kv_status kv_list_each(struct kv_client *client, struct kv_bytes prefix,
			    bool (*visit)(void *context, const struct kv_key *key), void *context) {
	struct kv_bytes after = {0};
	char last[KV_KEY_MAX];
	bool more = true;

	while (more) {
		struct kv_list list;
		enum kv_status status = kv_list(client, prefix, after, 0, &list);
		bool goes_on = true;

		if (status != KV_OK)
			return status;
		for (size_t i = 0; i < list.count && goes_on; i++)
			goes_on = visit(context, &list.keys[i]);
		if (list.count > 0) {
			after = (struct kv_bytes){last, list.keys[list.count - 1].key.size};
			memcpy(last, list.keys[list.count - 1].key.data, after.size);
		}
		more = list.more && list.count > 0 && goes_on;
		kv_list_free(&list);
	}
	return KV_OK;
}

static enum kv_status check_txn(const struct kv_txn *txn) {
	enum kv_status status = KV_OK;

	if (txn->condition_count > KV_CONDITIONS_MAX || txn->change_count == 0 ||
	    txn->change_count > KV_CHANGES_MAX)
		return KV_INVALID;
	for (size_t i = 0; i < txn->condition_count && status == KV_OK; i++)
		status = check_bytes(txn->conditions[i].key, txn->conditions[i].value);
	for (size_t i = 0; i < txn->change_count && status == KV_OK; i++)
		status = check_bytes(txn->changes[i].key, txn->changes[i].value);
	return status;
}

enum kv_status kv_txn(struct kv_client *client, struct kv_txn *txn) {
	struct request request = {.kind = REQUEST_TXN, .txn = txn, .wait_ms = txn->wait_ms};
	struct response response = {0};
	enum kv_status status = check_txn(txn);

	txn->which = 0;
	txn->current = 0;
	for (size_t i = 0; i < txn->change_count; i++)
		txn->changes[i].version = 0;
	if (is_child(client))
		return KV_INVALID;
	if (status != KV_OK)
		return status;
	status = call_on_key(client, &request, &response);
	txn->which = response.which;
	txn->current = status == KV_OK ? 0 : response.current;
	for (size_t i = 0; status == KV_OK && i < txn->change_count; i++)
		txn->changes[i].version = response.versions[i];
	response_free(&response);
	return status;
}

enum kv_status kv_touch(struct kv_client *client, struct kv_bytes key, uint64_t expected,
			uint64_t ttl_ms) {
	struct kv_condition at = {.test = KV_AT, .key = key, .version = expected};
	struct kv_change touch = {.kind = KV_CHANGE_TOUCH, .key = key, .ttl_ms = ttl_ms};
	struct kv_txn txn = {
	    .conditions = &at,
	    .condition_count = expected == KV_ANY ? 0 : 1,
	    .changes = &touch,
	    .change_count = 1,
	};
	enum kv_status status = kv_txn(client, &txn);

	if (status != KV_UNMET)
		return status;
	return txn.current == 0 ? KV_NOKEY : KV_VERSION;
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

enum kv_status kv_backup(struct kv_client *client, uint64_t position, uint64_t offset,
			 struct kv_backup_page *page) {
	struct request request = {.kind = REQUEST_BACKUP, .position = position, .offset = offset};
	struct response response = {0};
	enum kv_status status = KV_INVALID;

	*page = (struct kv_backup_page){0};
	if (!is_child(client))
		status = call(client, &request, &response);
	if (status == KV_OK) {
		*page = (struct kv_backup_page){.data = response.value.data,
						.size = response.value.size,
						.total = response.current};
		response.value = (struct kv_value){0};
	}
	response_free(&response);
	return status;
}

void kv_backup_page_free(struct kv_backup_page *page) {
	if (page == NULL)
		return;
	free(page->data);
	*page = (struct kv_backup_page){0};
}

void kv_stats_free(struct kv_stats *stats) {
	if (stats == NULL)
		return;
	free(stats->counters);
	*stats = (struct kv_stats){0};
}

void kv_last_error(struct kv_client *client, char *text, size_t size) {
	if (is_child(client))
		(void)snprintf(text, size, "the handle belongs to the process that opened it");
	else if (kv_history_error(client) != 0)
		(void)snprintf(text, size, "the history cannot be written: %s",
			       strerror(kv_history_error(client)));
	else if (kv_ticket_error(client) != NULL)
		(void)snprintf(text, size, "%s", kv_ticket_error(client));
	else
		clerk_last_error(client->common->clerk, text, size);
}

const char *kv_ticket_error(const struct kv_client *client) {
	const struct ticket *ticket = client->common->ticket;

	return ticket != NULL ? ticket_error(ticket) : NULL;
}

uint64_t kv_history_hold(struct kv_client *client, struct kv_bytes name, uint64_t token) {
	const bool is_noted = is_in_history(client) && !is_child(client);

	return is_noted ? history_log_hold(client->common->history, name, token) : 0;
}

void kv_history_hold_end(struct kv_client *client, struct kv_bytes name, uint64_t token,
			 uint64_t began, uint64_t late_ms) {
	if (began != 0 && !is_child(client))
		history_log_hold_end(client->common->history, name, token, began, late_ms);
}

int kv_history_error(const struct kv_client *client) {
	const struct history_log *history = client->common->history;

	return history != NULL ? history_log_error(history) : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "op_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history_notes.h"
#include "sim.h"

struct op_log {
	struct op *list;
	size_t count;
	size_t room;
	uint64_t moment;
	size_t last[256]; /* of each worker, from 1 */
	uint64_t (*generation)(void *context);
	void *context;
};

/* Of the one world: kv_get() and kv_put() have no argument for it. */
static struct op_log *all;

struct op_log *op_log_new(void) {
	return or_die(calloc(1, sizeof(struct op_log)));
}

void op_log_free(struct op_log *op_log) {
	if (op_log == NULL)
		return;
	for (size_t i = 0; i < op_log->count; i++) {
		free(op_log->list[i].value);
		free(op_log->list[i].seen);
	}
	free(op_log->list);
	free(op_log);
}

void op_log_set(struct op_log *op_log, uint64_t (*generation)(void *context), void *context) {
	all = op_log;
	if (op_log == NULL)
		return;
	op_log->generation = generation;
	op_log->context = context;
}

size_t op_log_count(const struct op_log *op_log) {
	return op_log->count;
}

const struct op *op_log_at(const struct op_log *op_log, size_t index) {
	return &op_log->list[index];
}

void op_log_end(struct op_log *op_log) {
	for (size_t i = 0; i < op_log->count; i++)
		if (op_log->list[i].is_open)
			op_log->list[i].last_generation = op_log->generation(op_log->context);
}

/* Later ones of the same millisecond come later; there are never a million of them. */
uint64_t op_log_moment(void) {
	uint64_t least = sim()->now_ms * 1000000;

	all->moment = all->moment + 1 > least ? all->moment + 1 : least;
	return all->moment;
}

static uint8_t *copy(const void *data, size_t size) {
	uint8_t *bytes = or_die(malloc(size + 1));

	if (size > 0)
		memcpy(bytes, data, size);
	bytes[size] = '\0';
	return bytes;
}

static const struct actor *actor(void) {
	return task_context(task_self());
}

const struct op *op_log_last(void) {
	return &all->list[all->last[actor()->worker]];
}

uint64_t op_log_life_of_version(const char *key, unsigned worker, uint64_t version) {
	for (size_t i = all->count; i-- > 0;) {
		const struct op *op = &all->list[i];
		uint64_t seen = op->kind == OP_GET ? op->seen_version : op->version;

		if (op->worker == worker && op->status == KV_OK && !op->is_open &&
		    seen == version && strcmp(op->key, key) == 0)
			return op->heard_generation;
	}
	return 0;
}

/* Answers its index: the list moves as it grows. */
static size_t begin(enum op_kind kind, const char *key, struct kv_bytes value, uint64_t expected) {
	struct op *op;

	if (all->count == all->room) {
		all->room = 2 * all->room + 256;
		all->list = or_die(realloc(all->list, all->room * sizeof(*all->list)));
	}
	op = &all->list[all->count];
	*op = (struct op){.worker = actor()->worker,
			  .kind = kind,
			  .is_open = true,
			  .value = copy(value.data, value.size),
			  .value_size = value.size,
			  .expected = expected,
			  .called = op_log_moment(),
			  .first_generation = all->generation(all->context)};
	(void)snprintf(op->key, sizeof(op->key), "%s", key);
	all->last[op->worker] = all->count;
	*task_note(task_self()) = 0;
	sim()->figures.operations++;
	return all->count++;
}

static const char *word_of(enum op_kind kind) {
	switch (kind) {
	case OP_GET:
		return "get";
	case OP_PUT:
		return "put";
	case OP_APPEND:
		return "append";
	case OP_DELETE:
		return "delete";
	case OP_TOUCH:
		return "touch";
	case OP_CHECK:
		return "check";
	}
	return "";
}

static void say_expected(char text[32], uint64_t expected) {
	if (expected == KV_ANY)
		(void)snprintf(text, 32, "any");
	else
		(void)snprintf(text, 32, "%" PRIu64, expected);
}

static void end(size_t index, enum kv_status status, uint64_t version,
		const struct kv_value *seen) {
	struct op *op = &all->list[index];
	char expected[32];

	/* A reply to a dead client is lost. */
	if (actor()->host->is_dead)
		return;
	sim()->figures.done += status == KV_OK;
	op->is_open = false;
	op->status = status;
	op->version = version;
	op->returned = op_log_moment();
	op->last_generation = all->generation(all->context);
	op->heard_generation = *task_note(task_self());
	if (seen != NULL) {
		op->seen = copy(seen->data, seen->size);
		op->seen_size = seen->size;
		op->seen_version = seen->version;
	}
	say_expected(expected, op->expected);
	sim_log("worker %u: %s %s \"%.24s\" at %s: %s, version %" PRIu64 ", sees \"%.40s\"",
		op->worker, word_of(op->kind), op->key, (const char *)op->value, expected,
		kv_status_name(status), version, op->seen != NULL ? (const char *)op->seen : "");
}

enum kv_status op_get(struct kv_client *client, const char *key, struct kv_value *value) {
	size_t index = begin(OP_GET, key, (struct kv_bytes){NULL, 0}, KV_ANY);
	enum kv_status status = kv_get(client, (struct kv_bytes){key, strlen(key)}, value);

	end(index, status, value->version, value);
	return status;
}

enum kv_status op_put(struct kv_client *client, const char *key, struct kv_bytes value,
		      uint64_t expected, uint64_t *version) {
	size_t index = begin(OP_PUT, key, value, expected);
	enum kv_status status =
	    kv_put(client, (struct kv_bytes){key, strlen(key)}, value, expected, version);

	end(index, status, *version, NULL);
	return status;
}

enum kv_status op_append(struct kv_client *client, const char *key, struct kv_bytes value,
			 uint64_t expected, struct kv_value *old, uint64_t *version) {
	size_t index = begin(OP_APPEND, key, value, expected);
	enum kv_status status =
	    kv_append(client, (struct kv_bytes){key, strlen(key)}, value, expected, old, version);

	end(index, status, *version, old);
	return status;
}

enum kv_status op_delete(struct kv_client *client, const char *key, uint64_t expected,
			 uint64_t *version) {
	size_t index = begin(OP_DELETE, key, (struct kv_bytes){NULL, 0}, expected);
	enum kv_status status =
	    kv_delete(client, (struct kv_bytes){key, strlen(key)}, expected, version);

	end(index, status, *version, NULL);
	return status;
}

/* --- Several keys at one moment ------------------------------------------------------------------
 */

static enum op_kind kind_of(enum history_op op) {
	switch (op) {
	case HISTORY_GET:
		return OP_GET;
	case HISTORY_PUT:
		return OP_PUT;
	case HISTORY_APPEND:
		return OP_APPEND;
	case HISTORY_DELETE:
		return OP_DELETE;
	case HISTORY_TOUCH:
		return OP_TOUCH;
	case HISTORY_CHECK:
	case HISTORY_HOLD:
		break;
	}
	return OP_CHECK;
}

/* Answers the index of the first; the others follow it. */
static size_t begin_parts(const struct history_notes *notes) {
	size_t first = all->count;

	for (size_t i = 0; i < notes->count; i++) {
		const struct history_call *call = &notes->calls[i];
		char key[OP_KEY_MAX];
		(void)snprintf(key, sizeof(key), "%.*s", (int)call->key.size,
			       (const char *)call->key.data);
		size_t index = begin(kind_of(call->op), key, call->value, call->expected);
		struct op *op = &all->list[index];
		op->part = call->part;
		op->test = call->test;
		op->ttl_ms = call->ttl_ms;
		op->called = all->list[first].called;
	}
	return first;
}

static void end_parts(size_t first, const struct history_notes *notes) {
	for (size_t i = 0; i < notes->count; i++) {
		end(first + i, notes->calls[i].status, notes->calls[i].version, NULL);
		all->list[first + i].returned = all->list[first].returned;
	}
}

enum kv_status op_txn(struct kv_client *client, struct kv_txn *txn) {
	const struct request request = {.kind = REQUEST_TXN, .txn = txn};
	uint64_t versions[OP_CHANGES_MAX];
	struct response response = {.versions = versions};
	struct history_notes *notes = or_die(malloc(sizeof(*notes)));
	enum kv_status status;
	size_t first;

	history_notes_make(notes, &request);
	first = begin_parts(notes);
	status = kv_txn(client, txn);
	for (size_t i = 0; i < txn->change_count; i++)
		versions[i] = txn->changes[i].version;
	response.which = (uint32_t)txn->which;
	response.current = txn->current;
	history_notes_reply(notes, &request, status, &response);
	end_parts(first, notes);
	free(notes);
	return status;
}

static const struct kv_key *listed(const struct kv_list *list, const char *key) {
	for (size_t i = 0; i < list->count; i++)
		if (list->keys[i].key.size == strlen(key) &&
		    memcmp(list->keys[i].key.data, key, strlen(key)) == 0)
			return &list->keys[i];
	return NULL;
}

/* In order, none twice, and of those asked for. */
static void check_page(const struct kv_list *list, const char *prefix, const char *after) {
	const char *before = after;
	char last[OP_KEY_MAX] = "";

	for (size_t i = 0; i < list->count; i++) {
		char key[OP_KEY_MAX];
		(void)snprintf(key, sizeof(key), "%.*s", (int)list->keys[i].key.size,
			       (const char *)list->keys[i].key.data);
		if (strcmp(key, before) <= 0 || strncmp(key, prefix, strlen(prefix)) != 0)
			sim_fail("a page of %s after %s has %s behind %s", prefix, after, key,
				 before);
		memcpy(last, key, sizeof(last));
		before = last;
	}
}

enum kv_status op_list(struct kv_client *client, const char *prefix, const char *after,
		       size_t limit, const char *const *keys, uint64_t *position) {
	struct history_notes *notes = or_die(calloc(1, sizeof(*notes)));
	struct kv_list list;
	enum kv_status status;
	size_t first;

	for (size_t i = 0; keys[i] != NULL; i++)
		if (strcmp(keys[i], after) > 0)
			notes->calls[notes->count++] =
			    (struct history_call){.op = HISTORY_CHECK,
						  .test = HISTORY_EXISTS,
						  .part = (unsigned)notes->count + 1,
						  .key = {keys[i], strlen(keys[i])},
						  .expected = HISTORY_ANY};
	first = begin_parts(notes);
	status = kv_list(client, (struct kv_bytes){prefix, strlen(prefix)},
			 (struct kv_bytes){after, strlen(after)}, limit, &list);
	if (status == KV_OK)
		check_page(&list, prefix, after);
	for (size_t i = 0; i < notes->count; i++) {
		struct history_call *call = &notes->calls[i];
		const struct kv_key *key = listed(&list, call->key.data);
		bool is_behind =
		    list.more && list.count > 0 &&
		    memcmp(call->key.data, list.keys[list.count - 1].key.data, call->key.size) > 0;

		/* What is behind the page was not asked. */
		call->status = status != KV_OK ? status
			       : is_behind     ? KV_UNMET
			       : key == NULL   ? KV_NOKEY
					       : KV_OK;
		call->version = key != NULL ? key->version : 0;
	}
	end_parts(first, notes);
	*position = list.position;
	kv_list_free(&list);
	free(notes);
	return status;
}

void op_log_copy(const char *const *keys, const uint64_t *versions, uint64_t called) {
	struct history_notes *notes = or_die(calloc(1, sizeof(*notes)));
	uint64_t heard = *task_note(task_self());
	size_t first;

	for (size_t i = 0; keys[i] != NULL; i++)
		notes->calls[notes->count++] =
		    (struct history_call){.op = HISTORY_CHECK,
					  .test = HISTORY_EXISTS,
					  .part = (unsigned)i + 1,
					  .key = {keys[i], strlen(keys[i])},
					  .expected = HISTORY_ANY,
					  .status = versions[i] == 0 ? KV_NOKEY : KV_OK,
					  .version = versions[i]};
	first = begin_parts(notes);
	for (size_t i = 0; i < notes->count; i++)
		all->list[first + i].called = called;
	*task_note(task_self()) = heard;
	end_parts(first, notes);
	free(notes);
}

/* --- The lock's calls: linked in place of kv_get(), kv_put() and kv_txn()
 * ---------------------------------
 */

enum kv_status __wrap_kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value);
enum kv_status __wrap_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version);
enum kv_status __wrap_kv_txn(struct kv_client *client, struct kv_txn *txn);

static void text_of(struct kv_bytes key, char text[OP_KEY_MAX]) {
	(void)snprintf(text, OP_KEY_MAX, "%.*s", (int)key.size, (const char *)key.data);
}

enum kv_status __wrap_kv_get(struct kv_client *client, struct kv_bytes key,
			     struct kv_value *value) {
	char text[OP_KEY_MAX];

	text_of(key, text);
	return op_get(client, text, value);
}

enum kv_status __wrap_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version) {
	char text[OP_KEY_MAX];

	text_of(key, text);
	return op_put(client, text, value, expected, version);
}

enum kv_status __wrap_kv_txn(struct kv_client *client, struct kv_txn *txn) {
	return op_txn(client, txn);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "history_notes.h"

#include <string.h>

_Static_assert(KV_CONDITIONS_MAX + KV_CHANGES_MAX <= HISTORY_PARTS_MAX, "a part for each");

static bool is_same(struct kv_bytes a, struct kv_bytes b) {
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static enum history_op op_of(enum request_kind kind) {
	return kind == REQUEST_PUT	? HISTORY_PUT
	       : kind == REQUEST_APPEND ? HISTORY_APPEND
	       : kind == REQUEST_DELETE ? HISTORY_DELETE
					: HISTORY_GET;
}

static enum history_op op_of_change(enum kv_change_kind kind) {
	switch (kind) {
	case KV_CHANGE_PUT:
		return HISTORY_PUT;
	case KV_CHANGE_APPEND:
		return HISTORY_APPEND;
	case KV_CHANGE_DELETE:
		return HISTORY_DELETE;
	case KV_CHANGE_TOUCH:
		return HISTORY_TOUCH;
	}
	return HISTORY_PUT;
}

static struct history_call of_condition(const struct kv_condition *condition) {
	struct history_call note = {
	    .op = HISTORY_CHECK,
	    .test = (enum history_test)condition->test,
	    .key = condition->key,
	    .value = condition->value,
	    .expected = condition->test == KV_AT ? condition->version : HISTORY_ANY,
	};

	return note;
}

static struct history_call of_change(const struct kv_txn *txn, const struct kv_change *change) {
	struct history_call note = {
	    .op = op_of_change(change->kind),
	    .key = change->key,
	    .value = change->value,
	    .ttl_ms = change->ttl_ms,
	    .expected = HISTORY_ANY,
	};

	for (size_t i = 0; i < txn->condition_count; i++)
		if (txn->conditions[i].test == KV_AT &&
		    is_same(txn->conditions[i].key, change->key))
			note.expected = txn->conditions[i].version;
	return note;
}

void history_notes_make(struct history_notes *notes, const struct request *request) {
	const struct kv_txn *txn = request->txn;

	if (request->kind != REQUEST_TXN) {
		notes->calls[0] = (struct history_call){
		    .op = op_of(request->kind),
		    .key = request->key,
		    .value = request->value,
		    .expected = request->expected,
		};
		notes->count = 1;
		return;
	}
	notes->count = 0;
	for (size_t i = 0; i < txn->condition_count; i++)
		notes->calls[notes->count++] = of_condition(&txn->conditions[i]);
	for (size_t i = 0; i < txn->change_count; i++)
		notes->calls[notes->count++] = of_change(txn, &txn->changes[i]);
	for (size_t i = 0; i < notes->count; i++)
		notes->calls[i].part = (unsigned)i + 1;
}

/* The version at which a condition found its key, if the changes of that key tell it; else 0. */
static uint64_t version_found(const struct kv_txn *txn, const struct kv_condition *condition,
			      const uint64_t *versions) {
	if (condition->test == KV_AT)
		return condition->version;
	for (size_t i = 0; i < txn->change_count; i++)
		if (is_same(txn->changes[i].key, condition->key))
			return versions[i] - (txn->changes[i].kind != KV_CHANGE_TOUCH);
	return 0;
}

static void note_done(struct history_notes *notes, const struct kv_txn *txn,
		      const struct response *response) {
	struct history_call *change = notes->calls + txn->condition_count;

	for (size_t i = 0; i < notes->count; i++)
		notes->calls[i].position = response->current;
	for (size_t i = 0; i < txn->condition_count; i++)
		notes->calls[i].version =
		    version_found(txn, &txn->conditions[i], response->versions);
	for (size_t i = 0; i < txn->change_count; i++)
		change[i].version = response->versions[i];
}

static void note_refused(struct history_notes *notes, const struct kv_txn *txn,
			 enum kv_status status, const struct response *response) {
	size_t first = status == KV_UNMET ? 0 : txn->condition_count;
	struct history_call *which;

	for (size_t i = 0; i < notes->count; i++)
		notes->calls[i].status = KV_UNMET;
	if (response->which >= notes->count - first)
		return;
	which = &notes->calls[first + response->which];
	which->version = response->current;
	if (response->current == 0)
		which->status = KV_NOKEY;
}

void history_notes_reply(struct history_notes *notes, const struct request *request,
			 enum kv_status status, const struct response *response) {
	struct history_call *note = notes->calls;

	for (size_t i = 0; i < notes->count; i++)
		notes->calls[i].status = status;
	if (request->kind == REQUEST_TXN && status == KV_OK) {
		note_done(notes, request->txn, response);
	} else if (request->kind == REQUEST_TXN) {
		if (status == KV_UNMET || status == KV_NOKEY)
			note_refused(notes, request->txn, status, response);
	} else {
		note->version = response->current;
		note->has_got =
		    status == KV_OK && (request->kind == REQUEST_GET || request->want_old);
		note->got = (struct kv_bytes){response->value.data, response->value.size};
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MODEL_H
#define MODEL_H

/*
 * model.h - a model of the service, as simple as possible: fixed arrays, copies of all bytes,
 * linear search, calls compared field by field. It has no memory limit.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/operation.h"

enum {
	MODEL_KEYS = 40,
	MODEL_SESSIONS = 8,
	MODEL_VALUE_MAX = 3000,
	MODEL_LEASE_MS = 1000,
};

struct model_value {
	size_t size;
	unsigned char bytes[MODEL_VALUE_MAX];
};

struct model_reply {
	enum kv_status status;
	uint64_t current;
	uint64_t old_version;
	struct model_value old;
};

/* A call, and what was answered. */
struct model_call {
	struct operation operation; /* with bytes that live as long as the model */
	struct model_reply reply;
};

struct model_slot {
	struct model_call last;	   /* seq 0: none */
	struct model_call applied; /* the last that was not refused: what a journal knows */
};

struct model_session {
	bool is_open;
	bool has_written;
	uint64_t client_id;
	uint8_t nonce[NONCE_SIZE];
	uint32_t slot_count;
	uint64_t active_ms;
	uint64_t turn; /* the order among those of one time */
	struct model_slot slots[SLOTS_MAX];
};

struct model_entry {
	uint64_t version; /* 0: no such key */
	uint64_t position;
	struct model_value value;
};

struct model {
	struct kv_bytes keys[MODEL_KEYS];
	struct model_entry entries[MODEL_KEYS];
	struct model_session sessions[MODEL_SESSIONS];
	uint64_t turn;
	uint64_t position; /* operations recorded */
	bool journal_is_full;
};

static inline bool model_same_bytes(struct kv_bytes a, struct kv_bytes b) {
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline struct model_entry *model_entry(struct model *model, struct kv_bytes key) {
	for (size_t i = 0; i < MODEL_KEYS; i++)
		if (model_same_bytes(model->keys[i], key))
			return &model->entries[i];
	return NULL;
}

static inline struct model_session *model_session(struct model *model, uint64_t client_id) {
	for (size_t i = 0; i < MODEL_SESSIONS; i++)
		if (model->sessions[i].is_open && model->sessions[i].client_id == client_id)
			return &model->sessions[i];
	return NULL;
}

/* The one idle for longest; of those alike, one that never wrote. */
static inline struct model_session *model_oldest(struct model *model, bool only_silent) {
	struct model_session *oldest = NULL;

	for (size_t i = 0; i < MODEL_SESSIONS; i++) {
		struct model_session *session = &model->sessions[i];
		if (!session->is_open || (only_silent && session->has_written))
			continue;
		bool is_older = oldest == NULL || session->active_ms < oldest->active_ms;
		if (oldest != NULL && session->active_ms == oldest->active_ms)
			is_older = session->has_written == oldest->has_written
				       ? session->turn < oldest->turn
				       : oldest->has_written;
		if (is_older)
			oldest = session;
	}
	return oldest;
}

static inline void model_renew(struct model *model, struct model_session *session,
			       uint64_t now_ms) {
	session->active_ms = now_ms;
	session->turn = ++model->turn;
}

/* True: it is recorded. */
static inline bool model_record(struct model *model) {
	if (model->journal_is_full)
		return false;
	model->position++;
	return true;
}

static inline bool model_expire(struct model *model, struct model_session *session) {
	if (!model_record(model))
		return false;
	session->is_open = false;
	return true;
}

/* What a slot does not decide. */
static inline void model_write(struct model *model, const struct operation *operation,
			       uint32_t reply_max, struct model_reply *reply) {
	struct model_entry *entry = model_entry(model, operation->key);
	bool appends = operation->kind == OPERATION_APPEND;

	reply->status = KV_INVALID;
	if (operation->key.size == 0)
		return;
	reply->status = KV_TOOBIG;
	if (operation->key.size > KEY_MAX || operation->value.size > MODEL_VALUE_MAX)
		return;
	assert(entry != NULL);
	reply->current = entry->version;
	if (operation->expected != VERSION_ANY && operation->expected != entry->version) {
		reply->status = entry->version == 0 ? KV_NOKEY : KV_VERSION;
		return;
	}
	if (appends && entry->value.size + operation->value.size > MODEL_VALUE_MAX)
		return;
	if (appends && operation->want_old && entry->value.size > reply_max)
		return;
	reply->status = KV_FULL;
	if (!model_record(model))
		return;
	reply->status = KV_OK;
	if (appends) {
		reply->old_version = entry->version;
		if (operation->want_old)
			reply->old = entry->value;
	} else {
		entry->value.size = 0;
	}
	if (operation->value.size > 0)
		memcpy(entry->value.bytes + entry->value.size, operation->value.data,
		       operation->value.size);
	entry->value.size += operation->value.size;
	entry->version++;
	entry->position = model->position;
	reply->current = entry->version;
}

static inline bool model_same_call(const struct operation *a, const struct operation *b) {
	return a->kind == b->kind && a->expected == b->expected &&
	       model_same_bytes(a->key, b->key) && model_same_bytes(a->value, b->value) &&
	       (a->kind == OPERATION_PUT || a->want_old == b->want_old);
}

static inline void model_run_write(struct model *model, const struct operation *operation,
				   uint32_t reply_max, uint64_t now_ms, struct model_reply *reply) {
	if (operation->client_id == 0) {
		reply->status = KV_INVALID;
		if (operation->kind == OPERATION_PUT && operation->expected != VERSION_ANY)
			model_write(model, operation, reply_max, reply);
		return;
	}
	struct model_session *session = model_session(model, operation->client_id);
	reply->status = KV_BADSESSION;
	if (session == NULL)
		return;
	model_renew(model, session, now_ms);
	reply->status = KV_INVALID;
	if (operation->slot >= session->slot_count || operation->seq == 0)
		return;
	struct model_slot *slot = &session->slots[operation->slot];
	reply->status = KV_STALE;
	if (operation->seq < slot->last.operation.seq)
		return;
	if (operation->seq == slot->last.operation.seq) {
		if (!model_same_call(operation, &slot->last.operation))
			reply->status = KV_FALSE_RETRY;
		else if (slot->last.reply.old.size > reply_max)
			reply->status = KV_MAYBE;
		else
			*reply = slot->last.reply;
		return;
	}
	model_write(model, operation, reply_max, reply);
	slot->last = (struct model_call){.operation = *operation, .reply = *reply};
	if (reply->status == KV_OK)
		slot->applied = slot->last;
	session->has_written = true;
}

/* Answers the client id, if KV_OK, and the slots. */
static inline enum kv_status model_open(struct model *model, const struct operation *operation,
					uint64_t now_ms, uint64_t *client_id, uint32_t *slots) {
	struct model_session *session = NULL;

	if (operation->slots == 0)
		return KV_INVALID;
	for (size_t i = 0; i < MODEL_SESSIONS; i++)
		if (model->sessions[i].is_open && !model->sessions[i].has_written &&
		    memcmp(model->sessions[i].nonce, operation->nonce, NONCE_SIZE) == 0)
			session = &model->sessions[i];
	if (session == NULL) {
		for (size_t i = 0; i < MODEL_SESSIONS && session == NULL; i++)
			if (!model->sessions[i].is_open)
				session = &model->sessions[i];
		if (session == NULL) {
			session = model_oldest(model, true);
			if (session == NULL || !model_expire(model, session))
				return KV_FULL;
		}
		if (!model_record(model))
			return KV_FULL;
		*session = (struct model_session){
		    .is_open = true,
		    .client_id = operation->client_id,
		    .slot_count = operation->slots < SLOTS_MAX ? operation->slots : SLOTS_MAX,
		};
		memcpy(session->nonce, operation->nonce, NONCE_SIZE);
	}
	model_renew(model, session, now_ms);
	*client_id = session->client_id;
	*slots = session->slot_count;
	return KV_OK;
}

static inline enum kv_status model_close(struct model *model, uint64_t client_id, uint64_t now_ms) {
	struct model_session *session = model_session(model, client_id);

	if (session == NULL)
		return KV_BADSESSION;
	if (!model_expire(model, session)) {
		model_renew(model, session, now_ms);
		return KV_FULL;
	}
	return KV_OK;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "crash_model.h"

#include "journal_fixture.h"

const char *const model_keys[RUN_KEYS] = {"a", "b", "key", "another key", "k5", "k6"};

struct crash_session *model_session(struct crash_model *model, uint64_t client_id) {
	for (size_t i = 0; i < RUN_SESSIONS; i++)
		if (model->sessions[i].client_id == client_id)
			return &model->sessions[i];
	return NULL;
}

struct crash_entry *model_entry(struct crash_model *model, struct kv_bytes key) {
	for (size_t i = 0; i < RUN_KEYS; i++)
		if (same_bytes(text(model_keys[i]), key))
			return &model->entries[i];
	ck_abort_msg("no such key");
	return NULL;
}

static void model_write(struct crash_model *model, const struct operation *operation,
			uint64_t position, struct crash_reply *reply) {
	struct crash_entry *entry = model_entry(model, operation->key);
	struct kv_bytes value = operation->value;
	struct crash_session *session;

	if (operation->kind == OPERATION_APPEND) {
		reply->old_version = entry->version;
		if (operation->want_old)
			reply->old = tape_copy((struct kv_bytes){entry->bytes, entry->size});
	} else {
		entry->size = 0;
	}
	must(entry->size + value.size <= RUN_VALUE_MAX, "an Append above the limit");
	memcpy(entry->bytes + entry->size, value.data, value.size);
	entry->size += value.size;
	reply->current = ++entry->version;
	session = operation->client_id == 0 ? NULL : model_session(model, operation->client_id);
	if (session != NULL) {
		session->last[operation->slot] = position;
		session->taken[operation->slot] = operation->seq;
	}
}

void model_apply(struct crash_model *model, const struct operation *operation, uint64_t position,
		 struct crash_reply *reply) {
	struct crash_session *session;

	*reply = (struct crash_reply){.status = KV_OK};
	switch (operation->kind) {
	case OPERATION_OPEN:
		session = model_session(model, 0);
		must(session != NULL, "session");
		*session = (struct crash_session){.client_id = operation->client_id};
		break;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		session = model_session(model, operation->client_id);
		must(session != NULL, "session");
		session->client_id = 0;
		model->ended_id = operation->client_id;
		break;
	case OPERATION_PUT:
	case OPERATION_APPEND:
		model_write(model, operation, position, reply);
		break;
	case OPERATION_DELETE:
	case OPERATION_TXN:
	case OPERATION_END:
		must(false, "an operation that this model knows");
		break;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/write.h"

#include <assert.h>

enum kv_status write_check_key(struct kv_bytes key) {
	if (key.size == 0)
		return KV_INVALID;
	return key.size > KEY_MAX ? KV_TOOBIG : KV_OK;
}

/* What an Append makes, and what it returns. */
static enum kv_status check_append(const struct entry *entry, const struct operation *operation,
				   uint32_t value_max, uint32_t reply_max) {
	uint32_t old_size = entry == NULL ? 0 : entry->value.size;

	if (old_size + operation->value.size > value_max)
		return KV_TOOBIG;
	return operation->want_old && old_size > reply_max ? KV_TOOBIG : KV_OK;
}

static void check_one_key(const struct store *store, const struct operation *operation,
			  uint32_t value_max, uint32_t reply_max, struct write *write,
			  struct reply *reply) {
	reply->status = write_check_key(operation->key);
	if (reply->status == KV_OK && operation->value.size > value_max)
		reply->status = KV_TOOBIG;
	if (reply->status != KV_OK)
		return;
	const struct entry *entry = write->entry = store_find(store, operation->key);
	reply->current = entry == NULL ? 0 : entry->version;
	reply->status = store_check(entry, operation->expected);
	if (reply->status != KV_OK)
		return;
	if (operation->kind == OPERATION_DELETE && entry == NULL)
		reply->status = KV_NOKEY;
	else if (operation->kind == OPERATION_APPEND)
		reply->status = check_append(entry, operation, value_max, reply_max);
}

void write_check(const struct store *store, const struct operation *operation, uint32_t value_max,
		 uint32_t reply_max, struct write *write, struct reply *reply) {
	if (operation->kind != OPERATION_TXN) {
		check_one_key(store, operation, value_max, reply_max, write, reply);
		return;
	}
	reply->status = txn_check_sizes(operation->txn, value_max, &reply->which);
	if (reply->status == KV_OK && operation->txn->change_count * sizeof(uint64_t) > reply_max)
		reply->status = KV_TOOBIG;
	if (reply->status == KV_OK)
		reply->status =
		    txn_check(store, operation->txn, value_max, &reply->which, &reply->current);
}

void write_find(const struct store *store, const struct operation *operation, struct write *write) {
	if (operation->kind != OPERATION_TXN)
		write->entry = store_find(store, operation->key);
}

bool write_prepare(struct store *store, const struct operation *operation, bool is_replay,
		   struct write *write) {
	if (operation->kind == OPERATION_TXN)
		return txn_prepare(store, operation->txn, is_replay, &write->txn);
	if (operation->kind == OPERATION_DELETE || operation->kind == OPERATION_END)
		return true;
	store_plan(store, write->entry, operation, &write->plan);
	return (is_replay || store_has_memory_for(store, &write->plan)) &&
	       store_prepare(store, operation, &write->plan);
}

void write_cancel(struct store *store, const struct operation *operation, struct write *write) {
	if (operation->kind == OPERATION_TXN)
		txn_cancel(store, &write->txn);
	else if (operation->kind == OPERATION_PUT || operation->kind == OPERATION_APPEND)
		store_cancel(store, &write->plan);
}

/* A replay of what was recorded finds the entry there, at the version that an END names. */
static uint64_t end_entry(struct store *store, const struct operation *operation,
			  struct entry *entry, uint64_t position) {
	if (entry == NULL ||
	    (operation->kind == OPERATION_END && entry->version != operation->expected))
		return 0;
	return store_end(store, entry, position);
}

void write_commit(struct store *store, const struct operation *operation, struct write *write,
		  uint64_t position, uint64_t now_ms, struct reply *reply) {
	switch (operation->kind) {
	case OPERATION_PUT:
	case OPERATION_APPEND:
		store_commit(store, &write->plan, operation, position, now_ms, reply);
		break;
	case OPERATION_TXN:
		txn_commit(store, operation->txn, &write->txn, position, now_ms, reply);
		break;
	case OPERATION_DELETE:
	case OPERATION_END:
		*reply = (struct reply){
		    .status = KV_OK,
		    .current = end_entry(store, operation, write->entry, position),
		};
		break;
	case OPERATION_OPEN:
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		assert(!"a session is no write");
		break;
	}
}

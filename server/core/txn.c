/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/txn.h"

#include <string.h>

#include "le.h"

enum { VERSION_SIZE = 8 };

/* Puts and appends go the way of the calls of that name. */
static bool is_write(const struct change *change) {
	return change->kind == CHANGE_PUT || change->kind == CHANGE_APPEND;
}

static struct operation operation_of(const struct change *change) {
	return (struct operation){
	    .kind = change->kind == CHANGE_PUT ? OPERATION_PUT : OPERATION_APPEND,
	    .key = change->key,
	    .value = change->value,
	    .ttl_ms = change->kind == CHANGE_PUT ? change->ttl_ms : 0,
	};
}

static bool is_same(struct kv_bytes a, struct kv_bytes b) {
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static enum kv_status check_size(struct kv_bytes key, struct kv_bytes value, uint32_t value_max) {
	if (key.size == 0)
		return KV_INVALID;
	return key.size > KEY_MAX || value.size > value_max ? KV_TOOBIG : KV_OK;
}

static enum kv_status check_change(const struct txn *txn, uint32_t at, uint32_t value_max) {
	const struct change *change = &txn->changes[at];

	if ((unsigned)change->kind > CHANGE_TOUCH || change->ttl_ms > TTL_MAX_MS ||
	    (change->kind == CHANGE_TOUCH && change->ttl_ms == 0))
		return KV_INVALID;
	for (uint32_t i = 0; i < at; i++)
		if (is_same(txn->changes[i].key, change->key))
			return KV_INVALID;
	return check_size(change->key, change->value, value_max);
}

enum kv_status txn_check_sizes(const struct txn *txn, uint32_t value_max, uint32_t *which) {
	enum kv_status status = KV_OK;

	if (txn->condition_count > CONDITIONS_MAX || txn->change_count == 0 ||
	    txn->change_count > CHANGES_MAX)
		return KV_INVALID;
	for (uint32_t i = 0; i < txn->condition_count && status == KV_OK; i++) {
		const struct condition *condition = &txn->conditions[i];

		status = (unsigned)condition->test > CONDITION_FREE
			     ? KV_INVALID
			     : check_size(condition->key, condition->value, value_max);
	}
	for (uint32_t i = 0; i < txn->change_count && status == KV_OK; i++) {
		*which = i;
		status = check_change(txn, i, value_max);
	}
	return status;
}

size_t txn_bytes(const struct txn *txn) {
	size_t size = 0;

	for (uint32_t i = 0; i < txn->condition_count; i++)
		size += txn->conditions[i].key.size + txn->conditions[i].value.size;
	for (uint32_t i = 0; i < txn->change_count; i++)
		size += txn->changes[i].key.size + txn->changes[i].value.size;
	return size;
}

/* As of a lock, whose key is free and then changed: a copy has it once. */
static bool is_first_key(const struct txn *txn, uint32_t change) {
	return txn->condition_count > 0 &&
	       is_same(txn->conditions[0].key, txn->changes[change].key);
}

size_t txn_copy_size(const struct txn *txn) {
	size_t size = txn->condition_count * sizeof(struct condition) +
		      txn->change_count * sizeof(struct change) + txn_bytes(txn);

	for (uint32_t i = 0; i < txn->change_count; i++)
		size -= is_first_key(txn, i) ? txn->changes[i].key.size : 0;
	return size;
}

static void move_bytes(unsigned char **to, struct kv_bytes *bytes) {
	if (bytes->size > 0)
		memcpy(*to, bytes->data, bytes->size);
	bytes->data = *to;
	*to += bytes->size;
}

void txn_copy(struct txn *copy, void *memory, const struct txn *txn) {
	struct condition *conditions = memory;
	struct change *changes = (struct change *)(void *)(conditions + txn->condition_count);
	unsigned char *bytes = (unsigned char *)(changes + txn->change_count);

	*copy = *txn;
	copy->conditions = conditions;
	copy->changes = changes;
	for (uint32_t i = 0; i < txn->condition_count; i++) {
		conditions[i] = txn->conditions[i];
		move_bytes(&bytes, &conditions[i].key);
		move_bytes(&bytes, &conditions[i].value);
	}
	for (uint32_t i = 0; i < txn->change_count; i++) {
		changes[i] = txn->changes[i];
		if (is_first_key(txn, i))
			changes[i].key = conditions[0].key;
		else
			move_bytes(&bytes, &changes[i].key);
		move_bytes(&bytes, &changes[i].value);
	}
}

bool txn_holds(const struct store *store, const struct condition *condition, uint64_t *current) {
	struct entry *entry = store_find(store, condition->key);

	*current = entry == NULL ? 0 : entry->version;
	switch (condition->test) {
	case CONDITION_AT:
		return *current == condition->version;
	case CONDITION_EXISTS:
		return entry != NULL;
	case CONDITION_HOLDS:
		return entry != NULL &&
		       is_same(view_bytes(view_all(&entry->value)), condition->value);
	case CONDITION_FREE:
		return entry == NULL ||
		       is_same(view_bytes(view_all(&entry->value)), condition->value);
	}
	return false;
}

enum kv_status txn_check(const struct store *store, const struct txn *txn, uint32_t value_max,
			 uint32_t *which, uint64_t *current) {
	for (*which = 0; *which < txn->condition_count; ++*which)
		if (!txn_holds(store, &txn->conditions[*which], current))
			return KV_UNMET;
	for (*which = 0; *which < txn->change_count; ++*which) {
		const struct change *change = &txn->changes[*which];
		struct entry *entry = store_find(store, change->key);

		*current = entry == NULL ? 0 : entry->version;
		if (entry == NULL && !is_write(change))
			return KV_NOKEY;
		if (entry != NULL && change->kind == CHANGE_APPEND &&
		    entry->value.size + change->value.size > value_max)
			return KV_TOOBIG;
	}
	return KV_OK;
}

static bool prepare_change(struct store *store, const struct change *change, bool is_replay,
			   struct write_plan *plan) {
	struct entry *entry = store_find(store, change->key);

	*plan = (struct write_plan){.entry = entry};
	if (change->kind == CHANGE_TOUCH)
		return entry == NULL || store_prepare_touch(store, entry, plan);
	if (change->kind == CHANGE_DELETE)
		return true;
	const struct operation operation = operation_of(change);
	store_plan(store, entry, &operation, plan);
	return (is_replay || store_has_memory_for(store, plan)) &&
	       store_prepare(store, &operation, plan);
}

bool txn_prepare(struct store *store, const struct txn *txn, bool is_replay,
		 struct txn_plan *plan) {
	plan->count = 0;
	plan->versions = buffer_make(store->memory, sizeof(struct buffer),
				     (size_t)txn->change_count * VERSION_SIZE);
	if (plan->versions == NULL)
		return false;
	for (; plan->count < txn->change_count; plan->count++)
		if (!prepare_change(store, &txn->changes[plan->count], is_replay,
				    &plan->writes[plan->count])) {
			txn_cancel(store, plan);
			return false;
		}
	return true;
}

void txn_cancel(struct store *store, struct txn_plan *plan) {
	struct view versions = view_all(plan->versions);

	while (plan->count > 0)
		store_cancel(store, &plan->writes[--plan->count]);
	view_unref(store->memory, &versions);
}

/* Returns the version after it; of a delete the one that it spends. */
static uint64_t commit_change(struct store *store, const struct change *change,
			      struct write_plan *plan, uint64_t position, uint64_t now_ms) {
	struct reply reply;

	switch (change->kind) {
	case CHANGE_PUT:
	case CHANGE_APPEND:
		break;
	case CHANGE_DELETE:
		return plan->entry == NULL ? 0 : store_end(store, plan->entry, position);
	case CHANGE_TOUCH:
		if (plan->entry == NULL)
			return 0;
		store_touch(store, plan, now_ms + change->ttl_ms);
		return plan->entry->version;
	}
	const struct operation operation = operation_of(change);
	store_commit(store, plan, &operation, position, now_ms, &reply);
	return reply.current;
}

void txn_commit(struct store *store, const struct txn *txn, struct txn_plan *plan,
		uint64_t position, uint64_t now_ms, struct reply *reply) {
	uint8_t *versions = buffer_bytes(plan->versions);

	for (uint32_t i = 0; i < txn->change_count; i++)
		le_put64(
		    versions + (size_t)i * VERSION_SIZE,
		    commit_change(store, &txn->changes[i], &plan->writes[i], position, now_ms));
	*reply = (struct reply){
	    .status = KV_OK,
	    .current = position,
	    .value = view_all(plan->versions),
	};
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* service_reads.c - the calls that change nothing: see service.h. */
#include "core/service_private.h"
#include "core/write.h"

/* Position of the last write of the key, or of its end. */
static uint64_t key_position(const struct service *service, struct kv_bytes key) {
	const struct entry *entry = store_find(&service->store, key);

	return entry == NULL ? store_ended(&service->store, key)
			     : store_position(entry, service->position);
}

void service_get(struct service *service, uint64_t epoch, struct kv_bytes key, uint32_t reply_max,
		 struct reply *reply) {
	*reply = (struct reply){.status = KV_EPOCH};
	if (!service_is_epoch(service, epoch))
		return;
	reply->status = write_check_key(key);
	if (reply->status != KV_OK)
		return;

	struct entry *entry = store_find(&service->store, key);
	if (entry == NULL) {
		/* Else a crash could bring back a key that was shown as missing. */
		reply->position = service_until(service, store_ended(&service->store, key));
		reply->status = KV_NOKEY;
		service->reads_missed++;
		return;
	}
	/* Because the reply shows this one write, it waits for no other to be durable. */
	reply->position = service_until(service, store_position(entry, service->position));
	reply->current = entry->version;
	struct view value = view_all(&entry->value);
	if (value.size > reply_max) {
		reply->status = KV_TOOBIG;
		return;
	}
	reply->value = view_ref(value);
	service->reads_served++;
}

uint64_t refusal_position(const struct service *service, const struct operation *operation) {
	const struct txn *txn = operation->txn;
	uint64_t last = 0;

	if (operation->key.size > 0)
		last = key_position(service, operation->key);
	for (uint32_t i = 0; txn != NULL && i < txn->condition_count; i++) {
		uint64_t position = key_position(service, txn->conditions[i].key);

		last = position > last ? position : last;
	}
	for (uint32_t i = 0; txn != NULL && i < txn->change_count; i++) {
		uint64_t position = key_position(service, txn->changes[i].key);

		last = position > last ? position : last;
	}
	return last;
}

uint64_t service_version(const struct service *service, struct kv_bytes key) {
	const struct entry *entry = store_find(&service->store, key);

	return entry == NULL ? 0 : entry->version;
}

void service_wait(struct service *service, uint64_t epoch, struct kv_bytes key, uint64_t seen,
		  uint32_t reply_max, struct reply *reply) {
	/* Nothing of the value is shown to those whose version it is. */
	bool is_at = service_is_epoch(service, epoch) && write_check_key(key) == KV_OK &&
		     service_version(service, key) == seen;

	service_get(service, epoch, key, is_at ? 0 : reply_max, reply);
	if (!is_at)
		return;
	reply_drop(&service->memory, reply);
	reply->status = KV_UNMET;
}

bool service_condition_holds(const struct service *service, const struct condition *condition) {
	uint64_t current;

	return txn_holds(&service->store, condition, &current);
}

void service_list(struct service *service, uint64_t epoch, const struct list_request *request,
		  struct reply *reply) {
	*reply = (struct reply){.status = KV_EPOCH};
	if (!service_is_epoch(service, epoch))
		return;
	reply->status = KV_TOOBIG;
	if (request->prefix.size > KEY_MAX || request->after.size > KEY_MAX)
		return;
	reply->status =
	    list_page_make(&service->store, request, service->now_ms, &reply->value, &reply->more);
	/* It shows missing keys as well: all that happened must be durable. */
	reply->position = service_until(service, service->position);
	reply->current = service->position;
	service->reads_served++;
}

void service_prefetch(const struct service *service, const struct kv_bytes *keys, unsigned count) {
	store_prefetch(&service->store, keys, count);
}

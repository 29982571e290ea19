/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/wire_lists.h"

#include "le.h"

_Static_assert((int)KV1_CONDITIONS_MAX == CONDITIONS_MAX && (int)KV1_CHANGES_MAX == CHANGES_MAX &&
		   (int)KV1_PAGE_MAX == LIST_PAGE_MAX && (int)KV1_PAGE_MAX == CHANGES_PAGE_MAX,
	       "the limits of kv.x");
_Static_assert((int)KV1_AT == CONDITION_AT && (int)KV1_EXISTS == CONDITION_EXISTS &&
		   (int)KV1_HOLDS == CONDITION_HOLDS && (int)KV1_FREE == CONDITION_FREE,
	       "the tests of kv.x");
_Static_assert((int)KV1_CHANGE_PUT == CHANGE_PUT && (int)KV1_CHANGE_APPEND == CHANGE_APPEND &&
		   (int)KV1_CHANGE_DELETE == CHANGE_DELETE && (int)KV1_CHANGE_TOUCH == CHANGE_TOUCH,
	       "the changes of kv.x");

void wire_lists_lend(struct wire_lists *lists, kv1_txn_args *arguments) {
	arguments->conditions.conditions_val = lists->wire_conditions;
	arguments->changes.changes_val = lists->wire_changes;
}

void wire_lists_txn_in(struct wire_lists *lists, const kv1_txn_args *arguments, struct txn *txn) {
	*txn = (struct txn){
	    .conditions = lists->conditions,
	    .changes = lists->changes,
	    .condition_count = arguments->conditions.conditions_len,
	    .change_count = arguments->changes.changes_len,
	};
	for (uint32_t i = 0; i < txn->condition_count; i++) {
		const kv1_condition *from = &arguments->conditions.conditions_val[i];

		lists->conditions[i] = (struct condition){
		    .test = (enum condition_test)from->test,
		    .version = from->at,
		    .key = {from->key.kv1_key_val, from->key.kv1_key_len},
		    .value = {from->value.kv1_value_val, from->value.kv1_value_len},
		};
	}
	for (uint32_t i = 0; i < txn->change_count; i++) {
		const kv1_change *from = &arguments->changes.changes_val[i];

		lists->changes[i] = (struct change){
		    .kind = (enum change_kind)from->kind,
		    .key = {from->key.kv1_key_val, from->key.kv1_key_len},
		    .value = {from->value.kv1_value_val, from->value.kv1_value_len},
		    .ttl_ms = from->ttl_ms,
		};
	}
	txn->hash = txn_hash(txn);
}

void wire_lists_txn_out(struct wire_lists *lists, const struct reply *reply, kv1_txn_res *result) {
	struct kv_bytes versions = view_bytes(reply->value);
	const uint8_t *from = versions.data;

	if (reply->status != KV_OK) {
		result->which = reply->which;
		result->current = reply->current;
		return;
	}
	result->position = reply->current;
	result->versions.versions_len = (u_int)(versions.size / sizeof(uint64_t));
	result->versions.versions_val = lists->versions;
	for (u_int i = 0; i < result->versions.versions_len; i++)
		lists->versions[i] = le_get64(from + i * sizeof(uint64_t));
}

void wire_lists_page_out(struct wire_lists *lists, const struct reply *reply,
			 kv1_list_res *result) {
	struct kv_bytes page = view_bytes(reply->value);
	struct list_key key;
	u_int count = 0;

	while (list_page_next(&page, &key))
		lists->keys[count++] = (kv1_listed){
		    .key = {(u_int)key.key.size, (char *)(uintptr_t)key.key.data},
		    .current = key.version,
		    .size = key.size,
		    .ttl_left_ms = key.ttl_left_ms,
		};
	result->position = reply->current;
	result->more = reply->more;
	result->keys.keys_len = count;
	result->keys.keys_val = lists->keys;
}

void wire_lists_changes_out(struct wire_lists *lists, const struct reply *reply,
			    kv1_changes_res *result) {
	struct kv_bytes page = view_bytes(reply->value);
	struct changed_key key;
	u_int count = 0;

	if (reply->status != KV_OK)
		return;
	while (change_ring_next(&page, &key))
		lists->changed[count++] = (kv1_changed){
		    .key = {(u_int)key.key.size, (char *)(uintptr_t)key.key.data},
		    .current = key.version,
		    .is_gone = key.is_gone,
		};
	result->position = reply->current;
	result->more = reply->more;
	result->keys.keys_len = count;
	result->keys.keys_val = lists->changed;
}

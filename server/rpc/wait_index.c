/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/wait_index.h"

#include <stddef.h>
#include <string.h>

#include "rpc/parking.h"

static struct kv_bytes bytes_of(const struct waited_key *key) {
	return (struct kv_bytes){key->key, key->size};
}

static bool is_same(struct kv_bytes a, struct kv_bytes b) {
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static uint64_t hash_key(uint64_t seed, const void *element) {
	const struct waited_key *key = element;

	return hash_bytes(seed, key->key, key->size);
}

static bool has_key(const void *element, const void *wanted) {
	return is_same(bytes_of(element), *(const struct kv_bytes *)wanted);
}

bool wait_index_init(struct wait_index *index, struct service *service, uint64_t seed) {
	*index = (struct wait_index){
	    .service = service,
	    .memory.slabs.shared = slab_regions(&service_memory(service)->slabs),
	};
	return hash_table_init(&index->keys, &index->memory, hash_key, seed);
}

void wait_index_destroy(struct wait_index *index) {
	hash_table_destroy(&index->keys);
}

struct waited_key *wait_index_find(const struct wait_index *index, struct kv_bytes key) {
	if (index->keys.count == 0)
		return NULL;
	return hash_table_find(&index->keys, hash_bytes(index->keys.seed, key.data, key.size),
			       has_key, &key);
}

/* --- Keys and conditions -----------------------------------------------------------------------
 */

/* NULL: no memory. */
static struct waited_key *make_key(struct wait_index *index, struct kv_bytes bytes) {
	struct waited_key *key;

	if (!hash_table_reserve_one(&index->keys))
		return NULL;
	key = mem_account_alloc(&index->memory, sizeof(*key) + bytes.size);
	if (key == NULL)
		return NULL;
	*key = (struct waited_key){.size = (uint32_t)bytes.size};
	memcpy(key->key, bytes.data, bytes.size);
	hash_table_insert(&index->keys, key);
	return key;
}

static void drop_key_if_unused(struct wait_index *index, struct waited_key *key) {
	if (key->waiting > 0)
		return;
	hash_table_remove(&index->keys, key);
	mem_account_free(&index->memory, key, sizeof(*key) + key->size);
}

/* --- Watchers ----------------------------------------------------------------------------------
 */

/* The list of the key's watchers. NULL: no memory. */
static struct watch_list *watchers_of(struct wait_index *index, struct waited_key *key,
				      uint64_t seen) {
	struct watch_list *list = key->watchers;

	if (list != NULL)
		return list;
	list = mem_account_alloc(&index->memory, sizeof(*list));
	if (list == NULL)
		return NULL;
	*list = (struct watch_list){.seen = seen};
	key->watchers = list;
	return list;
}

static void append(struct watch_list *list, struct parked *parked) {
	parked->list = list;
	parked->next = NULL;
	parked->previous = list->last;
	if (list->last != NULL)
		list->last->next = parked;
	else
		list->first = parked;
	list->last = parked;
}

static void unlink_woken(struct wait_index *index, struct watch_list *list) {
	if (list->previous != NULL)
		list->previous->next = list->next;
	else
		index->woken = list->next;
	if (list->next != NULL)
		list->next->previous = list->previous;
	else
		index->last_woken = list->previous;
}

static void leave(struct wait_index *index, struct parked *parked) {
	struct watch_list *list = parked->list;

	if (parked->previous != NULL)
		parked->previous->next = parked->next;
	else
		list->first = parked->next;
	if (parked->next != NULL)
		parked->next->previous = parked->previous;
	else
		list->last = parked->previous;
	if (list->first != NULL)
		return;
	if (list->is_woken)
		unlink_woken(index, list);
	else
		parked->key->watchers = NULL;
	mem_account_free(&index->memory, list, sizeof(*list));
}

/* All at once, however many they are. */
static void wake_watchers(struct wait_index *index, struct waited_key *key) {
	struct watch_list *list = key->watchers;

	key->watchers = NULL;
	list->is_woken = true;
	list->previous = index->last_woken;
	if (index->last_woken != NULL)
		index->last_woken->next = list;
	else
		index->woken = list;
	index->last_woken = list;
}

/* --- Prefixes ------------------------------------------------------------------------------ */

static void list_append(struct parked_list *list, struct parked *parked) {
	parked->calls = list;
	parked->next = NULL;
	parked->previous = list->last;
	if (list->last != NULL)
		list->last->next = parked;
	else
		list->first = parked;
	list->last = parked;
}

static void list_remove(struct parked *parked) {
	struct parked_list *list = parked->calls;

	if (parked->previous != NULL)
		parked->previous->next = parked->next;
	else
		list->first = parked->next;
	if (parked->next != NULL)
		parked->next->previous = parked->previous;
	else
		list->last = parked->previous;
}

/* NULL: no memory, or too many. */
static struct waited_prefix *prefix_of(struct wait_index *index, struct kv_bytes bytes) {
	struct waited_prefix *prefix = index->prefixes;

	while (prefix != NULL && !is_same((struct kv_bytes){prefix->bytes, prefix->size}, bytes))
		prefix = prefix->next;
	if (prefix != NULL || index->prefix_count == PARKING_PREFIXES_MAX)
		return prefix;
	prefix = mem_account_alloc(&index->memory, sizeof(*prefix) + bytes.size);
	if (prefix == NULL)
		return NULL;
	*prefix = (struct waited_prefix){.next = index->prefixes, .size = (uint32_t)bytes.size};
	if (bytes.size > 0)
		memcpy(prefix->bytes, bytes.data, bytes.size);
	index->prefixes = prefix;
	index->prefix_count++;
	return prefix;
}

enum kv_status wait_index_add_changes(struct wait_index *index, struct parked *parked,
				      struct kv_bytes bytes) {
	struct waited_prefix *prefix = prefix_of(index, bytes);

	if (prefix == NULL)
		return KV_FULL;
	prefix->waiting++;
	parked->prefix = prefix;
	list_append(&prefix->calls, parked);
	return KV_OK;
}

bool wait_index_is_awaiting_changes(const struct parked *parked) {
	return parked->calls == &parked->prefix->calls;
}

void wait_index_await_changes(struct parked *parked) {
	list_remove(parked);
	list_append(&parked->prefix->calls, parked);
}

static void remove_changes(struct wait_index *index, struct parked *parked) {
	struct waited_prefix *prefix = parked->prefix;
	struct waited_prefix **link = &index->prefixes;

	list_remove(parked);
	if (--prefix->waiting > 0)
		return;
	while (*link != prefix)
		link = &(*link)->next;
	*link = prefix->next;
	index->prefix_count--;
	mem_account_free(&index->memory, prefix, sizeof(*prefix) + prefix->size);
}

static void wake_changes(struct wait_index *index, struct kv_bytes key) {
	for (struct waited_prefix *prefix = index->prefixes; prefix != NULL;
	     prefix = prefix->next) {
		if (prefix->size > key.size || memcmp(prefix->bytes, key.data, prefix->size) != 0)
			continue;
		while (prefix->calls.first != NULL) {
			struct parked *parked = prefix->calls.first;

			/* Nothing under the prefix changed before this, or it were not here. */
			parked->since = service_position(index->service) - 1;
			list_remove(parked);
			list_append(&index->woken_changes, parked);
		}
	}
}

/* --- Conditions ------------------------------------------------------------------------------ */

static bool is_same_condition(const struct condition *one, const struct condition *other) {
	if (one->test != other->test)
		return false;
	switch (one->test) {
	case CONDITION_AT:
		return one->version == other->version;
	case CONDITION_EXISTS:
		return true;
	case CONDITION_HOLDS:
	case CONDITION_FREE:
		return is_same(one->value, other->value);
	}
	return false;
}

static struct awaited *find_condition(const struct waited_key *key,
				      const struct condition *condition) {
	struct awaited *awaited = key->conditions;

	while (awaited != NULL && !is_same_condition(&awaited->condition, condition))
		awaited = awaited->next;
	return awaited;
}

struct awaited *wait_index_find_condition(const struct wait_index *index,
					  const struct condition *condition) {
	const struct waited_key *key = wait_index_find(index, condition->key);

	return key == NULL ? NULL : find_condition(key, condition);
}

static struct awaited *make_condition(struct wait_index *index, struct waited_key *key,
				      const struct condition *condition) {
	size_t size = sizeof(struct awaited) + condition->value.size;
	struct awaited *awaited;

	if (key->condition_count == PARKING_CONDITIONS_MAX)
		return NULL;
	awaited = mem_account_alloc(&index->memory, size);
	if (awaited == NULL)
		return NULL;
	*awaited = (struct awaited){.key = key, .next = key->conditions, .condition = *condition};
	awaited->condition.key = bytes_of(key);
	if (condition->value.size > 0)
		memcpy(awaited + 1, condition->value.data, condition->value.size);
	awaited->condition.value.data = awaited + 1;
	awaited->holds = service_condition_holds(index->service, &awaited->condition);
	key->conditions = awaited;
	key->condition_count++;
	return awaited;
}

static void drop_condition_if_unused(struct wait_index *index, struct awaited *awaited) {
	struct awaited **link = &awaited->key->conditions;

	if (awaited->waiting > 0)
		return;
	while (*link != awaited)
		link = &(*link)->next;
	*link = awaited->next;
	awaited->key->condition_count--;
	mem_account_free(&index->memory, awaited, sizeof(*awaited) + awaited->condition.value.size);
}

/* Where the condition is among those that are able to run. */
static void place(struct wait_index *index, struct awaited *awaited) {
	pairing_heap_remove(&index->able, &awaited->place);
	if (!awaited->holds || awaited->queue.first == NULL)
		return;
	awaited->place.key = awaited->queue.first->key;
	pairing_heap_insert(&index->able, &awaited->place);
}

/* --- Calls -------------------------------------------------------------------------------------
 */

enum kv_status wait_index_add_watcher(struct wait_index *index, struct parked *parked,
				      struct kv_bytes bytes, uint64_t seen) {
	struct waited_key *key = wait_index_find(index, bytes);

	if (key == NULL)
		key = make_key(index, bytes);
	if (key == NULL)
		return KV_FULL;
	struct watch_list *list = watchers_of(index, key, seen);
	if (list == NULL) {
		drop_key_if_unused(index, key);
		return KV_FULL;
	}
	key->waiting++;
	parked->key = key;
	append(list, parked);
	return KV_OK;
}

enum kv_status wait_index_add_txn(struct wait_index *index, struct parked *parked,
				  const struct condition *condition) {
	struct waited_key *key = wait_index_find(index, condition->key);
	struct awaited *awaited = NULL;

	if (key == NULL)
		key = make_key(index, condition->key);
	if (key == NULL)
		return KV_FULL;
	awaited = find_condition(key, condition);
	if (awaited == NULL)
		awaited = make_condition(index, key, condition);
	if (awaited == NULL) {
		drop_key_if_unused(index, key);
		return KV_FULL;
	}
	key->waiting++;
	awaited->waiting++;
	parked->key = key;
	parked->awaited = awaited;
	return KV_OK;
}

void wait_index_remove(struct wait_index *index, struct parked *parked) {
	struct waited_key *key = parked->key;

	switch (parked->kind) {
	case PARKED_CHANGES:
		remove_changes(index, parked);
		return;
	case PARKED_WAIT:
		leave(index, parked);
		break;
	case PARKED_TXN:
		wait_index_pass_over(index, parked);
		parked->awaited->waiting--;
		drop_condition_if_unused(index, parked->awaited);
		break;
	}
	key->waiting--;
	drop_key_if_unused(index, key);
}

void wait_index_queue(struct wait_index *index, struct parked *parked) {
	if (heap_node_is_listed(&parked->turn))
		return;
	pairing_heap_insert(&parked->awaited->queue, &parked->turn);
	place(index, parked->awaited);
}

void wait_index_pass_over(struct wait_index *index, struct parked *parked) {
	pairing_heap_remove(&parked->awaited->queue, &parked->turn);
	place(index, parked->awaited);
}

bool wait_index_watch_again(struct wait_index *index, struct parked *parked) {
	struct watch_list *list = watchers_of(index, parked->key, parked->list->seen);

	if (list == NULL)
		return false;
	leave(index, parked);
	append(list, parked);
	return true;
}

void wait_index_changed(struct wait_index *index, struct kv_bytes bytes) {
	struct waited_key *key = wait_index_find(index, bytes);

	wake_changes(index, bytes);
	if (key == NULL)
		return;
	if (key->watchers != NULL && service_version(index->service, bytes) != key->watchers->seen)
		wake_watchers(index, key);
	for (struct awaited *awaited = key->conditions; awaited != NULL; awaited = awaited->next) {
		bool holds = service_condition_holds(index->service, &awaited->condition);

		if (holds == awaited->holds)
			continue;
		awaited->holds = holds;
		place(index, awaited);
	}
}

struct parked *wait_index_first_able(const struct wait_index *index) {
	struct heap_node *first = index->able.first;
	struct awaited *awaited;

	if (first == NULL)
		return NULL;
	awaited = (struct awaited *)(void *)((char *)first - offsetof(struct awaited, place));
	return (struct parked *)(void *)((char *)awaited->queue.first -
					 offsetof(struct parked, turn));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "store.h"

#include <assert.h>
#include <string.h>

/* The key takes the place of what would be padding. */
static size_t entry_size(size_t key_size) {
	return offsetof(struct entry, key) + key_size;
}

static uint64_t hash_entry(uint64_t seed, const struct table_link *link) {
	const struct entry *entry = (const struct entry *)link;

	return table_hash_bytes(seed, entry->key, entry->key_size);
}

static void free_entry(struct memory *memory, struct entry *entry) {
	struct view value = view_whole(entry->value);

	view_drop(memory, &value);
	memory_free(memory, entry, entry_size(entry->key_size));
}

static void release_entry(void *context, struct table_link *link) {
	free_entry(context, (struct entry *)link);
}

bool store_open(struct store *store, struct memory *memory, uint64_t seed) {
	*store = (struct store){.memory = memory};
	return table_open(&store->entries, memory, hash_entry, seed);
}

void store_close(struct store *store) {
	table_drain(&store->entries, store->memory, release_entry);
	table_close(&store->entries);
}

struct entry *store_find(const struct store *store, struct kv_bytes key) {
	uint64_t hash = table_hash_bytes(store->entries.seed, key.data, key.size);
	struct table_link *link = table_bucket(&store->entries, hash);

	for (; link != NULL; link = link->next) {
		struct entry *entry = (struct entry *)link;
		if (entry->key_size == key.size && memcmp(entry->key, key.data, key.size) == 0)
			return entry;
	}
	return NULL;
}

enum kv_status store_check(const struct entry *entry, uint64_t expected) {
	if (expected == VERSION_ANY)
		return KV_OK;
	if (entry != NULL)
		return expected == entry->version ? KV_OK : KV_VERSION;
	return expected == 0 ? KV_OK : KV_NOKEY;
}

bool store_fits(const struct store *store, const struct entry *entry,
		const struct operation *operation) {
	struct memory *memory = store->memory;
	size_t added;
	size_t freed = 0;

	if (entry == NULL) {
		added = memory_cost(entry_size(operation->key.size)) +
			table_growth(&store->entries) + view_cost(operation->value.size);
	} else if (operation->kind == OPERATION_APPEND) {
		added = view_growth(view_whole(entry->value), operation->value.size);
	} else {
		added = view_cost(operation->value.size);
		freed = view_sole_bytes(view_whole(entry->value));
	}
	if (added <= freed || memory->used + (added - freed) <= memory->limit)
		return true;
	if (added - freed <= memory->limit)
		memory->wanted = added - freed;
	return false;
}

/* An entry that holds nothing yet, with the memory to insert it. NULL: there is none. */
static struct entry *make_entry(struct store *store, struct kv_bytes key) {
	assert(key.size > 0 && key.size <= KEY_MAX);
	if (!table_reserve(&store->entries))
		return NULL;
	struct entry *entry = memory_allocate(store->memory, entry_size(key.size));
	if (entry == NULL)
		return NULL;
	entry->value = NULL;
	/* Where versions of new keys start: above every version that a key ever gone had. */
	entry->version = 0;
	entry->position = 0;
	entry->key_size = (uint16_t)key.size;
	memcpy(entry->key, key.data, key.size);
	return entry;
}

static bool prepare_new(struct store *store, const struct operation *operation,
			struct change *change) {
	struct entry *entry = make_entry(store, operation->key);

	if (entry == NULL)
		return false;
	if (!view_make(store->memory, operation->value, &change->value)) {
		free_entry(store->memory, entry);
		return false;
	}
	change->entry = entry;
	change->is_new = true;
	return true;
}

bool store_prepare(struct store *store, struct entry *entry, const struct operation *operation,
		   struct change *change) {
	*change = (struct change){.entry = entry};
	if (entry == NULL)
		return prepare_new(store, operation, change);
	if (operation->kind != OPERATION_APPEND)
		return view_make(store->memory, operation->value, &change->value);

	struct view value = view_whole(entry->value);
	change->appends = true;
	if (!view_reserve(store->memory, &value, operation->value.size))
		return false;
	entry->value = value.buffer;
	return true;
}

void store_abandon(struct store *store, struct change *change) {
	view_drop(store->memory, &change->value);
	if (change->is_new)
		free_entry(store->memory, change->entry);
	*change = (struct change){0};
}

void store_commit(struct store *store, struct change *change, const struct operation *operation,
		  uint64_t position, struct reply *reply) {
	struct entry *entry = change->entry;
	struct view value = view_whole(entry->value);

	*reply = (struct reply){.status = KV_OK};
	if (operation->kind == OPERATION_APPEND) {
		reply->old_version = change->is_new ? 0 : entry->version;
		if (operation->want_old)
			reply->value = view_hold(value);
	}
	if (change->appends) {
		view_append(&value, operation->value);
	} else {
		view_drop(store->memory, &value);
		entry->value = change->value.buffer;
	}
	entry->version++;
	entry->position = position;
	if (change->is_new)
		table_insert(&store->entries, &entry->link);
	reply->current = entry->version;
	*change = (struct change){0};
}

/* What store_each() carries along. */
struct visit {
	store_visit *visit;
	void *context;
};

static bool visit_link(void *context, const struct table_link *link) {
	const struct visit *visit = context;

	return visit->visit(visit->context, (const struct entry *)link);
}

bool store_each(const struct store *store, store_visit *visit, void *context) {
	struct visit carried = {.visit = visit, .context = context};

	return table_each(&store->entries, &carried, visit_link);
}

bool store_restore(struct store *store, struct kv_bytes key, uint64_t version, struct view value) {
	struct entry *entry = make_entry(store, key);

	if (entry == NULL)
		return false;
	entry->version = version;
	entry->value = value.buffer;
	table_insert(&store->entries, &entry->link);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/store.h"

#include <assert.h>
#include <string.h>

enum {
	PREFETCH_SIZE = 192, /* bytes of an entry: its key, and a value that is not long */
};

static size_t head_size(size_t key_size) {
	return offsetof(struct entry, key) + key_size;
}

static uint64_t hash_key(const struct store *store, struct kv_bytes key) {
	return hash_bytes(store->entries.seed, key.data, key.size);
}

static uint64_t hash_entry(uint64_t seed, const void *element) {
	const struct entry *entry = element;

	return hash_bytes(seed, entry->key, entry->key_size);
}

static bool has_key(const void *element, const void *wanted) {
	const struct entry *entry = element;
	const struct kv_bytes *key = wanted;

	return entry->key_size == key->size && memcmp(entry->key, key->data, key->size) == 0;
}

/* The store's own view of the value. Others may hold the block for longer. */
static void drop_entry(struct memory *memory, struct entry *entry) {
	struct view value = view_all(&entry->value);

	view_unref(memory, &value);
}

static void release_entry(void *context, void *element) {
	drop_entry(context, element);
}

bool store_init(struct store *store, struct memory *memory, uint64_t seed) {
	*store = (struct store){.memory = memory};
	return hash_table_init(&store->entries, memory, hash_entry, seed);
}

void store_destroy(struct store *store) {
	hash_table_clear(&store->entries, store->memory, release_entry);
	hash_table_destroy(&store->entries);
}

struct entry *store_find(const struct store *store, struct kv_bytes key) {
	return hash_table_find(&store->entries, hash_key(store, key), has_key, &key);
}

void store_prefetch(const struct store *store, const struct kv_bytes *keys, unsigned count) {
	const struct table_line *lines[STORE_PREFETCH_MAX];
	uint64_t hashes[STORE_PREFETCH_MAX];
	unsigned left = count < STORE_PREFETCH_MAX ? count : STORE_PREFETCH_MAX;

	for (unsigned i = 0; i < left; i++) {
		hashes[i] = hash_key(store, keys[i]);
		lines[i] = hash_table_prefetch_bucket(&store->entries, hashes[i]);
	}
	/* Of all keys one line each, then of those that have more the next. */
	while (left > 0) {
		unsigned more = 0;

		for (unsigned i = 0; i < left; i++) {
			lines[more] = hash_table_prefetch_next(lines[i], hashes[i], PREFETCH_SIZE);
			hashes[more] = hashes[i];
			more += lines[more] != NULL;
		}
		left = more;
	}
}

enum kv_status store_check(const struct entry *entry, uint64_t expected) {
	if (expected == VERSION_ANY)
		return KV_OK;
	if (entry != NULL)
		return expected == entry->version ? KV_OK : KV_VERSION;
	return expected == 0 ? KV_OK : KV_NOKEY;
}

/* Whether the value stays where it came. */
static bool is_adopted(const struct operation *operation) {
	return operation->block != NULL && operation->kind == OPERATION_PUT &&
	       buffer_can_adopt(operation->block, operation->value);
}

/* Whether a write changes the entry where it is. */
static bool is_in_place(struct entry *entry, const struct operation *operation) {
	return entry != NULL &&
	       (operation->kind == OPERATION_APPEND ||
		(!is_adopted(operation) && buffer_fits_exactly(&entry->value, operation->value.size)));
}

/* What an entry for it takes. */
static size_t entry_cost(const struct operation *operation) {
	size_t head = head_size(operation->key.size);

	return is_adopted(operation) ? buffer_cost(head, 0) + mem_account_cost(operation->block->size)
				     : buffer_cost(head, operation->value.size);
}

bool store_has_memory_for(const struct store *store, struct entry *entry, const struct operation *operation) {
	struct memory *memory = store->memory;
	size_t added = 0;
	size_t freed = 0;

	if (!is_in_place(entry, operation))
		added = entry_cost(operation);
	else if (operation->kind == OPERATION_APPEND)
		added = buffer_growth(&entry->value, operation->value.size);
	if (entry == NULL)
		added += hash_table_reserve_cost(&store->entries);
	else if (added > 0 && operation->kind != OPERATION_APPEND)
		freed = buffer_exclusive_bytes(&entry->value);
	if (added <= freed || memory->used + (added - freed) <= memory->limit)
		return true;
	if (added - freed <= memory->limit)
		memory->wanted = added - freed;
	return false;
}

/* An entry that is not in the store, and whose value is to be written. NULL: no memory. */
static struct entry *make_entry(struct store *store, struct kv_bytes key, size_t size) {
	assert(key.size > 0 && key.size <= KEY_MAX);
	struct entry *entry = (struct entry *)buffer_make(store->memory, head_size(key.size), size);
	if (entry == NULL)
		return NULL;
	entry->key_size = (uint16_t)key.size;
	/* Where versions of new keys start: above every version that a key ever gone had. */
	entry->version = 0;
	entry->position = 0;
	memcpy(entry->key, key.data, key.size);
	return entry;
}

bool store_prepare(struct store *store, struct entry *entry, const struct operation *operation,
		   struct change *change) {
	*change = (struct change){.entry = entry};
	if (is_in_place(entry, operation))
		return operation->kind != OPERATION_APPEND ||
		       buffer_reserve(store->memory, &entry->value, operation->value.size);
	if (entry == NULL && !hash_table_reserve_one(&store->entries))
		return false;
	change->made =
	    make_entry(store, operation->key, is_adopted(operation) ? 0 : operation->value.size);
	if (change->made == NULL)
		return false;
	if (is_adopted(operation))
		buffer_adopt(store->memory, &change->made->value, operation->block,
			     operation->value);
	else
		buffer_overwrite(&change->made->value, operation->value);
	return true;
}

void store_cancel(struct store *store, struct change *change) {
	if (change->made != NULL)
		drop_entry(store->memory, change->made);
	*change = (struct change){0};
}

/* Puts the entry that was made into the store. */
static struct entry *place(struct store *store, struct change *change, struct kv_bytes key) {
	if (change->entry == NULL) {
		hash_table_insert(&store->entries, change->made);
		return change->made;
	}
	hash_table_replace(&store->entries, hash_key(store, key), change->entry, change->made);
	change->made->version = change->entry->version;
	drop_entry(store->memory, change->entry);
	return change->made;
}

void store_commit(struct store *store, struct change *change, const struct operation *operation,
		  uint64_t position, struct reply *reply) {
	struct entry *entry = change->entry;

	*reply = (struct reply){.status = KV_OK};
	if (operation->kind == OPERATION_APPEND && entry != NULL) {
		reply->old_version = entry->version;
		if (operation->want_old)
			reply->value = view_ref(view_all(&entry->value));
	}
	if (change->made != NULL)
		entry = place(store, change, operation->key);
	else if (operation->kind == OPERATION_APPEND)
		buffer_append(&entry->value, operation->value);
	else
		buffer_overwrite(&entry->value, operation->value);
	entry->version++;
	entry->position = position;
	reply->current = entry->version;
	*change = (struct change){0};
}

/* What store_foreach() carries along. */
struct visit {
	store_visit *visit;
	void *context;
};

static bool visit_entry(void *context, void *element) {
	const struct visit *visit = context;

	return visit->visit(visit->context, element);
}

bool store_foreach(const struct store *store, store_visit *visit, void *context) {
	struct visit carried = {.visit = visit, .context = context};

	return hash_table_foreach(&store->entries, &carried, visit_entry);
}

struct entry *store_restore(struct store *store, struct kv_bytes key, uint64_t version,
			    size_t size) {
	if (!hash_table_reserve_one(&store->entries))
		return NULL;
	struct entry *entry = make_entry(store, key, size);
	if (entry == NULL)
		return NULL;
	entry->version = version;
	hash_table_insert(&store->entries, entry);
	return entry;
}

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
	struct kv_bytes key = entry_key(element);

	return hash_bytes(seed, key.data, key.size);
}

static bool has_key(const void *element, const void *wanted) {
	const struct entry *entry = element;
	const struct kv_bytes *key = wanted;

	return entry->value.head_size == head_size(key->size) &&
	       memcmp(entry->key, key->data, key->size) == 0;
}

/* The store's own view of the value. Others may hold the block for longer. */
static void drop_entry(struct mem_account *memory, struct entry *entry) {
	struct view value = view_all(&entry->value);

	view_unref(memory, &value);
}

static void release_entry(void *context, void *element) {
	drop_entry(context, element);
}

static struct kv_bytes key_of(const void *element) {
	return entry_key(element);
}

bool store_init(struct store *store, struct mem_account *memory, uint64_t seed) {
	*store = (struct store){.memory = memory};
	if (!expiry_heap_init(&store->ttls, memory, seed))
		return false;
	if (!key_index_init(&store->order, memory, key_of))
		goto no_order;
	if (hash_table_init(&store->entries, memory, hash_entry, seed))
		return true;
	key_index_destroy(&store->order);
no_order:
	expiry_heap_destroy(&store->ttls);
	return false;
}

void store_destroy(struct store *store) {
	expiry_heap_destroy(&store->ttls);
	key_index_destroy(&store->order);
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

static enum write_way way_of(struct entry *entry, const struct operation *operation) {
	bool is_append = operation->kind == OPERATION_APPEND;

	if (entry != NULL && is_append)
		return WRITE_IN_PLACE;
	if (!is_append && operation->block != NULL &&
	    buffer_can_adopt(operation->block, operation->value))
		return WRITE_ADOPTED;
	return entry != NULL && buffer_fits_exactly(&entry->value, operation->value.size)
		   ? WRITE_IN_PLACE
		   : WRITE_COPIED;
}

void store_plan(const struct store *store, struct entry *entry, const struct operation *operation,
		struct write_plan *plan) {
	size_t head = head_size(operation->key.size);

	*plan = (struct write_plan){.way = way_of(entry, operation), .entry = entry};
	switch (plan->way) {
	case WRITE_IN_PLACE:
		if (operation->kind == OPERATION_APPEND)
			plan->added = buffer_growth(&entry->value, operation->value.size);
		return;
	case WRITE_ADOPTED:
		plan->added = buffer_cost(head, 0) + mem_account_cost(operation->block->size);
		break;
	case WRITE_COPIED:
		plan->added = buffer_cost(head, operation->value.size);
		break;
	}
	if (entry == NULL)
		plan->added += hash_table_reserve_cost(&store->entries) +
			       key_index_reserve_cost(&store->order, operation->key);
	else
		plan->freed = buffer_exclusive_bytes(&entry->value);
}

bool store_has_memory_for(const struct store *store, const struct write_plan *plan) {
	struct mem_account *memory = store->memory;
	size_t more = plan->added - plan->freed;

	if (plan->added <= plan->freed || memory->used + more <= memory->limit)
		return true;
	if (more <= memory->limit)
		memory->wanted = more;
	return false;
}

/* An entry that is not in the store, and whose value is to be written. NULL: no memory. */
static struct entry *make_entry(struct store *store, struct kv_bytes key, size_t size) {
	assert(key.size > 0 && key.size <= KEY_MAX);
	struct entry *entry = (struct entry *)buffer_make(store->memory, head_size(key.size), size);
	if (entry == NULL)
		return NULL;
	entry->version = 0;
	entry->position = 0;
	memcpy(entry->key, key.data, key.size);
	return entry;
}

static bool reserve_place(struct store *store, struct kv_bytes key) {
	return hash_table_reserve_one(&store->entries) && key_index_reserve_one(&store->order, key);
}

static void place(struct store *store, struct entry *entry) {
	hash_table_insert(&store->entries, entry);
	key_index_insert(&store->order, entry);
}

static void displace(struct store *store, struct entry *entry) {
	hash_table_remove(&store->entries, entry);
	key_index_remove(&store->order, entry);
	expiry_heap_remove(&store->ttls, entry);
}

/* The end of the ttl comes with the commit: until then it has no time. */
static bool reserve_ttl(struct store *store, struct entry *entry, struct write_plan *plan) {
	if ((entry->value.flags & ENTRY_HAS_TTL) != 0)
		return true;
	if (!expiry_heap_set(&store->ttls, entry, UINT64_MAX))
		return false;
	plan->timed = entry;
	return true;
}

/* Makes the entry that a plan needs. */
static bool make_planned(struct store *store, const struct operation *operation,
			 struct write_plan *plan) {
	bool is_adopted = plan->way == WRITE_ADOPTED;

	if (plan->entry == NULL && !reserve_place(store, operation->key))
		return false;
	plan->made = make_entry(store, operation->key, is_adopted ? 0 : operation->value.size);
	if (plan->made == NULL)
		return false;
	if (is_adopted)
		buffer_adopt(store->memory, &plan->made->value, operation->block, operation->value);
	else
		buffer_overwrite(&plan->made->value, operation->value);
	plan->is_placed = plan->entry == NULL;
	if (plan->is_placed)
		place(store, plan->made);
	return true;
}

bool store_prepare(struct store *store, const struct operation *operation,
		   struct write_plan *plan) {
	bool is_in_place = plan->way == WRITE_IN_PLACE;

	if (!is_in_place && !make_planned(store, operation, plan))
		return false;
	if (is_in_place && operation->kind == OPERATION_APPEND &&
	    !buffer_reserve(store->memory, &plan->entry->value, operation->value.size))
		return false;
	if (operation->ttl_ms == 0 ||
	    reserve_ttl(store, plan->entry != NULL ? plan->entry : plan->made, plan))
		return true;
	store_cancel(store, plan);
	return false;
}

void store_cancel(struct store *store, struct write_plan *plan) {
	if (plan->timed != NULL)
		expiry_heap_remove(&store->ttls, plan->timed);
	if (plan->is_placed)
		displace(store, plan->made);
	if (plan->made != NULL)
		drop_entry(store->memory, plan->made);
	*plan = (struct write_plan){0};
}

/* Puts the entry that was made into the place of the one that it replaces. */
static void replace(struct store *store, const struct write_plan *plan) {
	hash_table_replace(&store->entries, hash_key(store, key_of(plan->made)), plan->entry,
			   plan->made);
	key_index_replace(&store->order, plan->entry, plan->made);
	expiry_heap_replace(&store->ttls, plan->entry, plan->made);
	plan->made->version = plan->entry->version;
	drop_entry(store->memory, plan->entry);
}

/* A Put makes the whole entry, its ttl too; an Append keeps the ttl. */
static void set_ttl(struct store *store, struct entry *entry, const struct operation *operation,
		    uint64_t now_ms) {
	if (operation->kind == OPERATION_APPEND)
		return;
	if (operation->ttl_ms != 0)
		(void)expiry_heap_set(&store->ttls, entry, now_ms + operation->ttl_ms);
	else if ((entry->value.flags & ENTRY_HAS_TTL) != 0)
		expiry_heap_remove(&store->ttls, entry);
}

/* `key` has got that version. */
static void report_change(struct store *store, struct kv_bytes key, uint64_t version, bool is_gone,
			  uint64_t position) {
	const struct change_sink *sink = store->sink;

	store->changed = position;
	if (sink != NULL)
		sink->changed(sink->context, key, version, is_gone, position);
}

void store_commit(struct store *store, struct write_plan *plan, const struct operation *operation,
		  uint64_t position, uint64_t now_ms, struct reply *reply) {
	struct entry *entry = plan->made != NULL ? plan->made : plan->entry;

	*reply = (struct reply){.status = KV_OK};
	if (operation->kind == OPERATION_APPEND && plan->entry != NULL) {
		reply->old_version = entry->version;
		if (operation->want_old)
			reply->value = view_ref(view_all(&entry->value));
	}
	if (plan->is_placed)
		entry->version = store->floor;
	else if (plan->made != NULL)
		replace(store, plan);
	else if (operation->kind == OPERATION_APPEND)
		buffer_append(&entry->value, operation->value);
	else
		buffer_overwrite(&entry->value, operation->value);
	set_ttl(store, entry, operation, now_ms);
	entry->version++;
	entry->position = (uint32_t)position;
	reply->current = entry->version;
	report_change(store, key_of(entry), entry->version, false, position);
}

static size_t ended_index(const struct store *store, struct kv_bytes key) {
	return hash_key(store, key) % STORE_ENDED_SIZE;
}

uint64_t store_end(struct store *store, struct entry *entry, uint64_t position) {
	uint64_t version = entry->version + 1;

	if (version > store->floor)
		store->floor = version;
	store->ended[ended_index(store, key_of(entry))] = position;
	report_change(store, key_of(entry), version, true, position);
	displace(store, entry);
	drop_entry(store->memory, entry);
	return version;
}

bool store_prepare_touch(struct store *store, struct entry *entry, struct write_plan *plan) {
	*plan = (struct write_plan){.entry = entry};
	return reserve_ttl(store, entry, plan);
}

void store_touch(struct store *store, struct write_plan *plan, uint64_t at_ms) {
	if (plan->timed != NULL || store_expires(store, plan->entry) < at_ms)
		(void)expiry_heap_set(&store->ttls, plan->entry, at_ms);
}

uint64_t store_expires(const struct store *store, const struct entry *entry) {
	return expiry_heap_at(&store->ttls, entry);
}

uint64_t store_position(const struct entry *entry, uint64_t last) {
	uint64_t behind = (uint32_t)last - entry->position;

	return behind > last ? 0 : last - behind;
}

uint64_t store_ended(const struct store *store, struct kv_bytes key) {
	return store->ended[ended_index(store, key)];
}

/* What store_list() carries along. */
struct listing {
	struct kv_bytes prefix;
	store_visit *visit;
	void *context;
	bool is_stopped;
};

static bool visit_listed(void *context, void *element) {
	struct listing *listing = context;
	struct entry *entry = element;

	if (entry_key(entry).size < listing->prefix.size ||
	    (listing->prefix.size > 0 &&
	     memcmp(entry->key, listing->prefix.data, listing->prefix.size) != 0))
		return false;
	listing->is_stopped = !listing->visit(listing->context, entry);
	return !listing->is_stopped;
}

bool store_list(const struct store *store, struct kv_bytes prefix, struct kv_bytes from,
		bool is_after, store_visit *visit, void *context) {
	struct listing listing = {.prefix = prefix, .visit = visit, .context = context};
	bool is_behind = key_index_compare(from, prefix) >= 0;

	(void)key_index_foreach(&store->order, is_behind ? from : prefix, is_behind && is_after,
				visit_listed, &listing);
	return !listing.is_stopped;
}

struct entry *store_restore(struct store *store, struct kv_bytes key, uint64_t version,
			    uint64_t expires_ms, size_t size) {
	if (!reserve_place(store, key))
		return NULL;
	struct entry *entry = make_entry(store, key, size);
	if (entry == NULL)
		return NULL;
	entry->version = version;
	place(store, entry);
	if (expires_ms == 0 || expiry_heap_set(&store->ttls, entry, expires_ms))
		return entry;
	displace(store, entry);
	drop_entry(store->memory, entry);
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/change_ring.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash_table.h"
#include "le.h"

enum { HEAD_SIZE = 11 }; /* version 8, is gone 1, size of the key 2 */

/* The last change of a key. */
struct key_change {
	uint64_t version;
	uint64_t number; /* of its slot */
	uint16_t key_size;
	bool is_gone;
	unsigned char key[];
};

struct change_slot {
	uint64_t position;
	struct key_change *change; /* NULL: the key changed again */
};

/*
 * Slots have numbers that only grow: `first` to `end`, at most slots_max of them. Invariants:
 * positions do not fall; each change is in `index` and in the slot of its number; every change
 * behind `floor` is there.
 */
struct change_ring {
	struct service *service;
	struct change_sink sink;
	struct mem_account memory; /* its limit is that of the ring */
	size_t slots_max;
	struct change_slot *slots; /* NULL: there is no ring now */
	struct hash_table index;
	uint64_t first;
	uint64_t end;
	uint64_t floor; /* a position */
	uint64_t asked_ms;
	uint64_t now_ms;
};

static struct change_slot *slot_of(const struct change_ring *ring, uint64_t number) {
	return &ring->slots[number % ring->slots_max];
}

static struct kv_bytes key_of(const struct key_change *change) {
	return (struct kv_bytes){change->key, change->key_size};
}

static uint64_t hash_change(uint64_t seed, const void *element) {
	struct kv_bytes key = key_of(element);

	return hash_bytes(seed, key.data, key.size);
}

static bool has_key(const void *element, const void *wanted) {
	struct kv_bytes key = key_of(element);
	const struct kv_bytes *other = wanted;

	return key.size == other->size && memcmp(key.data, other->data, key.size) == 0;
}

static struct key_change *find(const struct change_ring *ring, struct kv_bytes key) {
	return hash_table_find(&ring->index, hash_bytes(ring->index.seed, key.data, key.size),
			       has_key, &key);
}

static size_t change_size(size_t key_size) {
	return sizeof(struct key_change) + key_size;
}

static void free_change(void *context, void *element) {
	struct key_change *change = element;

	mem_account_free(context, change, change_size(change->key_size));
}

/* --- The slots ----------------------------------------------------------------------------- */

/* Drops the oldest slot. What only an empty one remembered is in a later slot as well. */
static void drop_first(struct change_ring *ring) {
	struct change_slot *slot = slot_of(ring, ring->first++);

	if (slot->change == NULL)
		return;
	ring->floor = slot->position;
	hash_table_remove(&ring->index, slot->change);
	free_change(&ring->memory, slot->change);
}

static void forget_all(struct change_ring *ring, uint64_t position) {
	hash_table_clear(&ring->index, &ring->memory, free_change);
	ring->first = ring->end;
	ring->floor = position;
}

/* A key that is not in the ring. NULL: no memory. */
static struct key_change *make_change(struct change_ring *ring, struct kv_bytes key) {
	if (!hash_table_reserve_one(&ring->index))
		return NULL;
	struct key_change *change = mem_account_alloc(&ring->memory, change_size(key.size));
	if (change == NULL)
		return NULL;
	change->key_size = (uint16_t)key.size;
	memcpy(change->key, key.data, key.size);
	hash_table_insert(&ring->index, change);
	return change;
}

/* An answer that lacks a change would be worse than none: without memory all is forgotten. */
static void take_change(void *context, struct kv_bytes key, uint64_t version, bool is_gone,
			uint64_t position) {
	struct change_ring *ring = context;
	struct key_change *change = find(ring, key);

	if (change != NULL) {
		slot_of(ring, change->number)->change = NULL;
		if (change->number + 1 == ring->end)
			ring->end--;
	} else {
		change = make_change(ring, key);
	}
	if (change == NULL) {
		forget_all(ring, position);
		return;
	}
	change->number = ring->end;
	if (ring->end - ring->first == ring->slots_max)
		drop_first(ring);
	change->version = version;
	change->is_gone = is_gone;
	*slot_of(ring, ring->end++) = (struct change_slot){position, change};
	while (ring->memory.used > ring->memory.limit && ring->first < ring->end)
		drop_first(ring);
}

/* --- Begin and end ------------------------------------------------------------------------- */

static size_t bytes_max(const struct service *service) {
	size_t share = service_limits(service)->memory_max / CHANGE_RING_SHARE;

	if (share < CHANGE_RING_BYTES_MIN)
		return CHANGE_RING_BYTES_MIN;
	return share > CHANGE_RING_BYTES_MAX ? CHANGE_RING_BYTES_MAX : share;
}

struct change_ring *change_ring_new(struct service *service, uint32_t changes_max) {
	struct change_ring *ring = calloc(1, sizeof(*ring));
	size_t slots_max;

	if (ring == NULL)
		return NULL;
	ring->service = service;
	ring->sink = (struct change_sink){.context = ring, .changed = take_change};
	ring->memory.limit = bytes_max(service);
	ring->memory.slabs.shared = slab_regions(&service_memory(service)->slabs);
	ring->slots_max = changes_max == 0 ? CHANGE_RING_SLOTS_USUAL : changes_max;
	slots_max = ring->memory.limit / CHANGE_RING_SLOT_SHARE;
	if (ring->slots_max > slots_max)
		ring->slots_max = slots_max;
	return ring;
}

/* The floor is the last change: nothing came after it. False: no memory. */
static bool begin(struct change_ring *ring) {
	const size_t size = ring->slots_max * sizeof(*ring->slots);

	if (!hash_table_init(&ring->index, &ring->memory, hash_change,
			     service_identity(ring->service)->seed))
		return false;
	ring->slots = mem_account_alloc(&ring->memory, size);
	if (ring->slots == NULL) {
		hash_table_destroy(&ring->index);
		return false;
	}
	ring->first = ring->end = 0;
	ring->floor = service_changed_position(ring->service);
	service_set_change_sink(ring->service, &ring->sink);
	return true;
}

static void end(struct change_ring *ring) {
	if (ring->slots == NULL)
		return;
	service_set_change_sink(ring->service, NULL);
	forget_all(ring, 0);
	hash_table_destroy(&ring->index);
	mem_account_free(&ring->memory, ring->slots, ring->slots_max * sizeof(*ring->slots));
	ring->slots = NULL;
}

void change_ring_free(struct change_ring *ring) {
	if (ring == NULL)
		return;
	end(ring);
	free(ring);
}

void change_ring_set_time(struct change_ring *ring, uint64_t now_ms) {
	ring->now_ms = now_ms;
	if (ring->slots != NULL && now_ms - ring->asked_ms >= CHANGE_RING_IDLE_MS)
		end(ring);
}

/* --- Answers ------------------------------------------------------------------------------- */

/* The changes of a page as they are found. */
struct collector {
	const struct key_change *changes[CHANGES_PAGE_MAX];
	uint32_t count;
	size_t size; /* of the page, in bytes */
	size_t cost; /* in the reply */
};

/* The first slot behind the position. */
static uint64_t seek(const struct change_ring *ring, uint64_t position) {
	uint64_t low = ring->first, high = ring->end;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (slot_of(ring, middle)->position <= position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_shown(const struct key_filter *filter, const struct key_change *change) {
	return change != NULL && (filter == NULL || filter->shows(filter->context, key_of(change)));
}

static bool is_wanted(const struct key_change *change, const struct changes_request *request) {
	const struct kv_bytes prefix = request->prefix;

	return change != NULL && change->key_size >= prefix.size &&
	       (prefix.size == 0 || memcmp(change->key, prefix.data, prefix.size) == 0) &&
	       is_shown(request->filter, change);
}

/* Adds the wanted changes of the position of this slot. Returns the first slot behind them. */
static uint64_t collect_position(const struct change_ring *ring, uint64_t number,
				 const struct changes_request *request,
				 struct collector *collector) {
	const uint64_t position = slot_of(ring, number)->position;

	for (; number < ring->end && slot_of(ring, number)->position == position; number++) {
		const struct key_change *change = slot_of(ring, number)->change;

		if (!is_wanted(change, request))
			continue;
		if (collector->count < CHANGES_PAGE_MAX)
			collector->changes[collector->count] = change;
		collector->count++;
		collector->size += HEAD_SIZE + change->key_size;
		collector->cost += CHANGE_KEY_COST + (size_t)change->key_size;
	}
	return number;
}

/* Fills in reply->current and ->more. KV_TOOBIG: not even the first position fits. */
static enum kv_status collect(const struct change_ring *ring, const struct changes_request *request,
			      struct collector *collector, struct reply *reply) {
	const uint32_t limit =
	    request->limit - 1 < CHANGES_PAGE_MAX ? request->limit : CHANGES_PAGE_MAX;
	const uint64_t start = seek(ring, request->since);
	uint64_t number = start;
	uint64_t last = request->since;

	reply->current = request->since;
	while (number < ring->end && number - start < CHANGE_RING_LOOKS_MAX) {
		const uint64_t position = slot_of(ring, number)->position;
		const uint32_t count = collector->count;
		const size_t size = collector->size;
		const uint64_t next = collect_position(ring, number, request, collector);

		if (collector->count > count && (collector->cost > request->reply_max ||
						 (collector->count > limit && count > 0))) {
			collector->count = count;
			collector->size = size;
			reply->more = true;
			return count > 0 ? KV_OK : KV_TOOBIG;
		}
		number = next;
		last = position;
		if (request->filter == NULL || collector->count > count)
			reply->current = position;
	}
	reply->more = number < ring->end;
	if (request->filter == NULL && !reply->more)
		reply->current = service_position(ring->service);
	else if (reply->more && collector->count == 0)
		reply->current = last;
	return KV_OK;
}

static enum kv_status make_page(struct mem_account *memory, const struct collector *collector,
				struct view *page) {
	if (collector->count == 0)
		return KV_OK;
	struct buffer *buffer = buffer_make(memory, sizeof(*buffer), collector->size);
	if (buffer == NULL)
		return KV_FULL;
	uint8_t *to = buffer_bytes(buffer);
	for (uint32_t i = 0; i < collector->count; i++) {
		const struct key_change *change = collector->changes[i];

		le_put64(to, change->version);
		to[8] = change->is_gone;
		le_put16(to + 9, change->key_size);
		memcpy(to + HEAD_SIZE, change->key, change->key_size);
		to += HEAD_SIZE + change->key_size;
	}
	*page = view_all(buffer);
	return KV_OK;
}

uint64_t change_ring_last(const struct change_ring *ring, const struct key_filter *filter) {
	uint64_t looks = 0;

	if (ring->slots == NULL)
		return 0;
	for (uint64_t number = ring->end; number > ring->first; number--) {
		const struct change_slot *slot = slot_of(ring, number - 1);

		if (is_shown(filter, slot->change) || ++looks == CHANGE_RING_LOOKS_MAX)
			return slot->position;
	}
	return ring->floor;
}

/* The last position that the caller can know of: of others it must not even learn that they are. */
static uint64_t reached(const struct change_ring *ring, const struct changes_request *request) {
	if (request->filter == NULL || request->since <= ring->floor)
		return service_position(ring->service);
	return change_ring_last(ring, request->filter);
}

/*
 * A position that the ring cannot know of is compacted, and so is one that the store has not
 * reached: it was lost in a crash, or is that of another store.
 */
static enum kv_status answer(struct change_ring *ring, const struct changes_request *request,
			     struct reply *reply) {
	struct collector collector = {.count = 0};

	if (request->prefix.size > KEY_MAX)
		return KV_TOOBIG;
	ring->asked_ms = ring->now_ms;
	if (ring->slots == NULL && !begin(ring))
		return KV_FULL;
	if (request->since < ring->floor || request->since > reached(ring, request))
		return KV_COMPACTED;
	enum kv_status status = collect(ring, request, &collector, reply);
	return status == KV_OK ? make_page(service_memory(ring->service), &collector, &reply->value)
			       : status;
}

void change_ring_answer(struct change_ring *ring, uint64_t epoch,
			const struct changes_request *request, struct reply *reply) {
	*reply = (struct reply){.status = KV_EPOCH};
	if (!service_is_epoch(ring->service, epoch))
		return;
	reply->status = answer(ring, request, reply);
	/*
	 * Until all that happened is durable, for a key that changed again is left out here: a
	 * crash that took the later change would leave the earlier one untold.
	 */
	reply->position = service_position(ring->service);
}

bool change_ring_next(struct kv_bytes *page, struct changed_key *key) {
	const uint8_t *from = page->data;

	if (page->size == 0)
		return false;
	*key = (struct changed_key){
	    .version = le_get64(from),
	    .is_gone = from[8] != 0,
	    .key = {from + HEAD_SIZE, le_get16(from + 9)},
	};
	page->data = from + HEAD_SIZE + key->key.size;
	page->size -= HEAD_SIZE + key->key.size;
	return true;
}

void change_ring_add_stats(const struct change_ring *ring, struct stats *stats) {
	stats_add(stats, "changes_kept", ring->slots == NULL ? 0 : ring->index.count);
	stats_add(stats, "changes_max", ring->slots_max);
	stats_add(stats, "changes_bytes", ring->memory.used);
	stats_add(stats, "changes_bytes_max", ring->memory.limit);
}

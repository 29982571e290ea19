/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/list_page.h"

#include <string.h>

#include "le.h"

enum { HEAD_SIZE = 22 }; /* version 8, ttl left 8, size 4, size of the key 2 */

/* The entries of a page as they are found. */
struct collector {
	struct entry *entries[LIST_PAGE_MAX];
	uint32_t count;
	uint32_t limit;
	size_t reply_left; /* bytes */
	size_t size;	   /* of the page, in bytes */
	bool more;
	const struct key_filter *filter; /* NULL: every key */
	struct key_range range;		 /* of the filter, that the last key was in or before */
	bool seeks; /* the next key that may be shown is not before range.from */
};

/* Looks for the range of a key that is behind the one before. Returns whether the key is in it. */
static bool is_shown(struct collector *collector, struct kv_bytes key) {
	if (collector->range.end.size == 0 || key_index_compare(key, collector->range.end) < 0)
		return true;
	collector->seeks =
	    collector->filter->next_range(collector->filter->context, key, &collector->range);
	if (!collector->seeks || key_index_compare(key, collector->range.from) < 0)
		return false;
	collector->seeks = false;
	return true;
}

static bool collect(void *context, struct entry *entry) {
	struct collector *collector = context;
	size_t cost = LIST_KEY_COST + entry_key(entry).size;

	if (collector->filter != NULL && !is_shown(collector, entry_key(entry)))
		return false;
	if (collector->count == collector->limit || cost > collector->reply_left) {
		collector->more = true;
		return false;
	}
	collector->entries[collector->count++] = entry;
	collector->reply_left -= cost;
	collector->size += HEAD_SIZE + entry_key(entry).size;
	return true;
}

/* Collects the page: the keys of one range of the filter after the other. */
static void collect_page(const struct store *store, const struct list_request *request,
			 struct collector *collector) {
	const struct key_filter *filter = request->filter;
	struct kv_bytes from = request->after;
	bool is_after = request->after.size > 0;

	if (filter != NULL) {
		if (key_index_compare(from, request->prefix) < 0)
			from = request->prefix;
		if (!filter->next_range(filter->context, from, &collector->range))
			return;
		is_after =
		    is_after && key_index_compare(request->after, collector->range.from) == 0;
		from = collector->range.from;
	}
	do {
		collector->seeks = false;
		(void)store_list(store, request->prefix, from, is_after, collect, collector);
		from = collector->range.from;
		is_after = false;
	} while (collector->seeks);
}

/* The end of a ttl may be due, and not recorded yet: then 1 ms is left. */
static uint64_t ttl_left(const struct store *store, const struct entry *entry, uint64_t now_ms) {
	uint64_t expires_ms = store_expires(store, entry);

	if (expires_ms == 0)
		return 0;
	return expires_ms > now_ms ? expires_ms - now_ms : 1;
}

enum kv_status list_page_make(const struct store *store, const struct list_request *request,
			      uint64_t now_ms, struct view *page, bool *more) {
	struct collector collector = {
	    .limit = request->limit - 1 < LIST_PAGE_MAX ? request->limit : LIST_PAGE_MAX,
	    .reply_left = request->reply_max,
	    .filter = request->filter,
	};

	collect_page(store, request, &collector);
	*more = collector.more;
	*page = (struct view){0};
	if (collector.count == 0)
		return collector.more ? KV_TOOBIG : KV_OK;
	struct buffer *buffer = buffer_make(store->memory, sizeof(*buffer), collector.size);
	if (buffer == NULL)
		return KV_FULL;
	uint8_t *to = buffer_bytes(buffer);
	for (uint32_t i = 0; i < collector.count; i++) {
		const struct entry *entry = collector.entries[i];

		le_put64(to, entry->version);
		le_put64(to + 8, ttl_left(store, entry, now_ms));
		le_put32(to + 16, entry->value.size);
		le_put16(to + 20, (uint16_t)entry_key(entry).size);
		memcpy(to + HEAD_SIZE, entry->key, entry_key(entry).size);
		to += HEAD_SIZE + entry_key(entry).size;
	}
	*page = view_all(buffer);
	return KV_OK;
}

bool list_page_next(struct kv_bytes *page, struct list_key *key) {
	const uint8_t *from = page->data;

	if (page->size == 0)
		return false;
	*key = (struct list_key){
	    .version = le_get64(from),
	    .ttl_left_ms = le_get64(from + 8),
	    .size = le_get32(from + 16),
	    .key = {from + HEAD_SIZE, le_get16(from + 20)},
	};
	page->data = from + HEAD_SIZE + key->key.size;
	page->size -= HEAD_SIZE + key->key.size;
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIST_PAGE_H
#define LIST_PAGE_H

/*
 * list_page.h - page of a LIST: keys in order, with the fields of each, as one buffer of bytes,
 * so that a reply can wait for the journal while the store goes on.
 */

#include "core/store.h"

enum {
	LIST_PAGE_MAX = 1000, /* keys */
	LIST_KEY_COST = 32,   /* bytes of a reply that a key takes at most, besides its own */
};

/* One key of a page; `key` is borrowed from the page. */
struct list_key {
	struct kv_bytes key;
	uint64_t version;
	uint64_t ttl_left_ms; /* 0: it has no ttl */
	uint32_t size;	      /* bytes of its value */
};

/* Keys from `from` on, and before `end` if it has any bytes. */
struct key_range {
	struct kv_bytes from;
	struct kv_bytes end;
};

/* The keys that a request may show: all others are as if they were not there. */
struct key_filter {
	void *context;
	/*
	 * Fills in the first range of them at or behind `from`, at most KEY_MAX bytes; valid until
	 * the next call. False: there are none.
	 */
	bool (*next_range)(void *context, struct kv_bytes from, struct key_range *range);
	/* Whether this key is one of them. */
	bool (*shows)(void *context, struct kv_bytes key);
};

struct list_request {
	const struct key_filter *filter; /* NULL: every key */
	struct kv_bytes prefix;		 /* may be empty: every key */
	struct kv_bytes after;		 /* keys behind this one only; empty: from the first */
	uint32_t limit;			 /* keys; 0, or more than LIST_PAGE_MAX: LIST_PAGE_MAX */
	uint32_t reply_max;		 /* bytes that a reply can carry */
};

/*
 * Makes the page at `now_ms`: KV_OK, with the bytes in *page and whether keys are left behind it in
 * *more; KV_TOOBIG if not even one key fits in reply_max; KV_FULL if there is no memory.
 */
enum kv_status list_page_make(const struct store *store, const struct list_request *request,
			      uint64_t now_ms, struct view *page, bool *more);

/* Takes the next key off the front of the page. Returns false at its end. */
bool list_page_next(struct kv_bytes *page, struct list_key *key);

#endif

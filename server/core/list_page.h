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

struct list_request {
	struct kv_bytes prefix; /* may be empty: every key */
	struct kv_bytes after;	/* keys behind this one only; empty: from the first */
	uint32_t limit;		/* keys; 0, or more than LIST_PAGE_MAX: LIST_PAGE_MAX */
	uint32_t reply_max;	/* bytes that a reply can carry */
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

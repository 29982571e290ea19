/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WRITE_H
#define WRITE_H

/*
 * write.h - a write of any kind (PUT, APPEND, DELETE, TXN, END) in its steps over the store.
 *
 * write_check() looks at sizes, versions and conditions; write_prepare() allocates and may fail;
 * write_commit() cannot; write_cancel() gives up what was prepared. A replay begins with
 * write_find() in the place of the check.
 */

#include "core/store.h"
#include "core/txn.h"

/* One write on its way. */
struct write {
	struct entry *entry; /* of its key; NULL: there is none, or it is a TXN */
	union {
		struct write_plan plan; /* PUT, APPEND */
		struct txn_plan txn;	/* TXN */
	};
};

/* Keys are 1 to KEY_MAX bytes: KV_OK, KV_INVALID, KV_TOOBIG. */
enum kv_status write_check_key(struct kv_bytes key);

/*
 * Whether the write may happen, memory and disk aside: reply->status, and of the key that decides
 * its version in reply->current (TXN: and which one it is in reply->which). `reply_max` is how
 * many bytes of old value a reply can carry.
 */
void write_check(const struct store *store, const struct operation *operation, uint32_t value_max,
		 uint32_t reply_max, struct write *write, struct reply *reply);

/* Finds the entry that the write is about, as write_check() does. */
void write_find(const struct store *store, const struct operation *operation, struct write *write);

/*
 * Allocates what the write takes. Returns false, and changes nothing, if there is no memory or,
 * but for a replay, the limit on it would be passed.
 */
bool write_prepare(struct store *store, const struct operation *operation, bool is_replay,
		   struct write *write);
void write_cancel(struct store *store, const struct operation *operation, struct write *write);

/* Does it. Fills `reply`: KV_OK, and what the kind of write returns. */
void write_commit(struct store *store, const struct operation *operation, struct write *write,
		  uint64_t position, uint64_t now_ms, struct reply *reply);

#endif

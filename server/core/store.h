/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_H
#define STORE_H

/*
 * store.h - hash table of entries: the value of each key, and its version.
 *
 * A write has three steps. store_plan() decides how it is done and what it costs; store_prepare()
 * allocates that and may fail; store_commit() links things together and cannot fail. Between the
 * last two the write can be given up with store_cancel(), and nothing else may be done with the
 * store.
 */

#include "core/expiry_heap.h"
#include "core/hash_table.h"
#include "core/key_index.h"
#include "core/operation.h"

/*
 * One key: the head of the buffer that holds its value. Others than store.c only read, and keep no
 * pointer past the next write of the key.
 */
struct entry {
	struct buffer value; /* flags: enum entry_flags */
	uint32_t position;   /* of its last write: the low 32 bits, see store_position() */
	uint64_t version;    /* 1 or more; never goes back */
	unsigned char key[]; /* to the end of the head */
};

enum entry_flags {
	ENTRY_HAS_TTL = 1, /* it is in the heap of ttls */
};

static inline struct kv_bytes entry_key(const struct entry *entry) {
	return (struct kv_bytes){entry->key, entry->value.head_size - offsetof(struct entry, key)};
}

enum { STORE_ENDED_SIZE = 1024 };

/*
 * Where changes of keys are reported: each write of a key, with its new version, and each end, with
 * the version that it spends. Not touches. `changed` is called in the middle of an operation: it
 * only takes notes. Several keys of a TXN have one position.
 */
struct change_sink {
	void *context;
	void (*changed)(void *context, struct kv_bytes key, uint64_t version, bool is_gone,
			uint64_t position);
};

/*
 * Invariants: `entries` and `order` hold the same entries; those with a ttl are in `ttls`; `floor`
 * is at least the version of every key that ever ended.
 */
struct store {
	struct hash_table entries;
	struct key_index order;
	struct expiry_heap ttls;
	struct mem_account *memory;

	/*
	 * A key that is made begins one above this, so that its versions never go back, although
	 * nothing is kept of a key that ended (SEMANTICS of DELETE, docs/PROTOCOL.md). 0: none did.
	 */
	uint64_t floor;

	/* By a hash of the key: the position at which a key with that hash ended last. */
	uint64_t ended[STORE_ENDED_SIZE];

	uint64_t changed;		/* position of the last change of any key */
	const struct change_sink *sink; /* NULL: nowhere; borrowed */
};

/* False: no memory, and nothing to close. */
bool store_init(struct store *store, struct mem_account *memory, uint64_t seed);
void store_destroy(struct store *store);

/* NULL: no such key. */
struct entry *store_find(const struct store *store, struct kv_bytes key);

/* Keys; as many as the processor can fetch for at once, and more. */
enum { STORE_PREFETCH_MAX = 32 };

/*
 * Fetches into the processor's cache what calls that name these keys will read, for all of them at
 * the same time: one by one each would wait for it twice. Keys behind the first STORE_PREFETCH_MAX
 * are left out.
 */
void store_prefetch(const struct store *store, const struct kv_bytes *keys, unsigned count);

/*
 * The version table: may a write that expects this version be done on this entry (NULL: there is
 * none)? KV_OK; KV_VERSION; KV_NOKEY.
 */
enum kv_status store_check(const struct entry *entry, uint64_t expected);

enum write_way {
	WRITE_IN_PLACE, /* the entry's buffer takes the bytes */
	WRITE_ADOPTED,	/* a new entry, whose value stays in the block in which it came */
	WRITE_COPIED,	/* a new entry, into which the value is copied */
};

/* How a Put or Append is to be done: decided once, by store_plan(). */
struct write_plan {
	enum write_way way;
	struct entry *entry; /* the one to write; NULL: the key is missing */
	struct entry *made;  /* by store_prepare(): takes the place of `entry`; NULL: in place */
	bool is_placed;	     /* `made` is in the store, for its key was missing */
	struct entry *timed; /* got a place among the ttls; NULL: none, or it had one */
	size_t added;	     /* bytes that it takes ... */
	size_t freed; /* ... and bytes of the value that it replaces, if no view holds them */
};

/* Plans a write of `entry`, which is what store_find() returned. Changes nothing. */
void store_plan(const struct store *store, struct entry *entry, const struct operation *operation,
		struct write_plan *plan);

/* Whether the write leaves memory->used within its limit, or lower than it is. */
bool store_has_memory_for(const struct store *store, const struct write_plan *plan);

/*
 * Allocates what the plan needs. Returns false, and changes nothing, if there is no memory. A block
 * that is adopted is taken from operation->block, whatever comes of the write. A key that is made
 * stands in the store from here on, so that several writes can be prepared one after the other.
 */
bool store_prepare(struct store *store, const struct operation *operation, struct write_plan *plan);
void store_cancel(struct store *store, struct write_plan *plan);

/*
 * Does it, whatever version is expected: recorded operations were checked when they were. `now_ms`
 * is the time from which a ttl counts. Fills `reply`: KV_OK, the version, an Append's old version
 * and, if wanted, old value.
 */
void store_commit(struct store *store, struct write_plan *plan, const struct operation *operation,
		  uint64_t position, uint64_t now_ms, struct reply *reply);

/* Removes the entry: a delete, or the end of its ttl. Returns the version that this spends. */
uint64_t store_end(struct store *store, struct entry *entry, uint64_t position);

/*
 * A touch, in two steps as well: store_prepare_touch() allocates, and returns false, with nothing
 * changed, if there is no memory; store_touch() moves the end of the ttl to `at_ms`, if that is
 * later or there was none. store_cancel() gives up between them.
 */
bool store_prepare_touch(struct store *store, struct entry *entry, struct write_plan *plan);
void store_touch(struct store *store, struct write_plan *plan, uint64_t at_ms);

/* When the entry's ttl ends; 0: it has none. */
uint64_t store_expires(const struct store *store, const struct entry *entry);

/*
 * Position of the last write of the entry, given that of the last operation. An entry that was not
 * written for 2^32 operations may seem to have been written later than it was.
 */
uint64_t store_position(const struct entry *entry, uint64_t last);

/* Position of the last end of this key, or of one that shares its hash; 0: none. */
uint64_t store_ended(const struct store *store, struct kv_bytes key);

/*
 * Shows the entries whose key begins with `prefix`, in the order of their keys, those at or
 * behind `from` only (behind it, if `is_after`), until `visit` returns false. Returns false if it
 * did.
 */
typedef bool store_visit(void *context, struct entry *entry);
bool store_list(const struct store *store, struct kv_bytes prefix, struct kv_bytes from,
		bool is_after, store_visit *visit, void *context);

/*
 * Adds an entry as it was when it was saved: it counts as durable. The key must not be there yet.
 * The caller writes the `size` bytes of its value. `expires_ms` 0: no ttl. NULL: no memory, and
 * nothing is changed.
 */
struct entry *store_restore(struct store *store, struct kv_bytes key, uint64_t version,
			    uint64_t expires_ms, size_t size);

#endif

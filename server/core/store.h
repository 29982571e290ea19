/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_H
#define STORE_H

/*
 * store.h - the entries: what each key holds, and at which version.
 *
 * A write has two steps. store_prepare() gets all the memory that it needs and may fail;
 * store_commit() then only links things together and cannot. Between them the write can be given
 * up (store_cancel()), and nothing else may be done with the store.
 */

#include "core/operation.h"
#include "core/hash_table.h"

/*
 * One key: the head of the buffer that holds its value. Others than store.c only read, and keep no
 * pointer past the next write of the key.
 */
struct entry {
	struct buffer value;
	uint16_t key_size;
	uint64_t version;  /* 1 or more; never goes back */
	uint64_t position; /* of its last write in the journal; 0: durable, or no journal */
	unsigned char key[];
};

struct store {
	struct table entries;
	struct memory *memory;
};

/* False: no memory, and nothing to close. */
bool store_init(struct store *store, struct memory *memory, uint64_t seed);
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

/*
 * Whether a Put or Append leaves memory->used within its limit, or lower than it is. What it frees
 * counts as free: a value that is replaced and that nobody else holds.
 */
bool store_has_memory_for(const struct store *store, struct entry *entry, const struct operation *operation);

/* A write that has all the memory it needs. */
struct change {
	struct entry *entry; /* the one to write; NULL: there is none */
	struct entry
	    *made; /* with key and value, to take its place; NULL: it is written in place */
};

/*
 * `entry` is what store_find() said. False: no memory, and nothing is changed. A large value may
 * stay in operation->block, which is then taken, whatever comes of the write.
 */
bool store_prepare(struct store *store, struct entry *entry, const struct operation *operation,
		   struct change *change);
void store_cancel(struct store *store, struct change *change);

/*
 * Does it, whatever version is expected: recorded operations were checked when they were. Fills
 * `reply`: KV_OK, the version, an Append's old version and, if wanted, old value.
 */
void store_commit(struct store *store, struct change *change, const struct operation *operation,
		  uint64_t position, struct reply *reply);

/* Shows each entry, in no order, as long as `visit` answers true. False: it did not. */
typedef bool store_visit(void *context, struct entry *entry);
bool store_foreach(const struct store *store, store_visit *visit, void *context);

/*
 * Adds an entry as it was when it was saved: it counts as durable. The key must not be there yet.
 * The caller writes the `size` bytes of its value. NULL: no memory, and nothing is changed.
 */
struct entry *store_restore(struct store *store, struct kv_bytes key, uint64_t version,
			    size_t size);

#endif

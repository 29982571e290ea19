/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOAD_POOL_H
#define LOAD_POOL_H

/*
 * load_pool.h - Threads that write the entries of a load, over one handle. A key always goes to the
 * same thread, so that its lines are written in their order. Entries are handed in by one thread.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "load_line.h"

/* What becomes of a key that exists. */
enum load_mode {
	LOAD_COMPARE,	/* fine if it has the value already, else the load ends */
	LOAD_CREATE,	/* it is kept */
	LOAD_OVERWRITE, /* it is written over */
};

/* The first failure. */
struct load_failure {
	uint64_t line;
	enum kv_status status; /* KV_VERSION: the key has another value */
	uint64_t current;      /* with KV_VERSION: its version */
	size_t value_size;
	char key[KV_KEY_MAX];
	size_t key_size;
};

struct load_pool;

/* Borrows `client`. NULL: no memory, or not all threads. */
struct load_pool *load_pool_new(struct kv_client *client, enum load_mode mode);

/*
 * Hands in the entry of a line, whose memory it takes, and waits if too many are queued. False:
 * something failed, and the rest is not wanted.
 */
bool load_pool_add(struct load_pool *pool, struct load_entry *entry, uint64_t line);

/*
 * Ends the threads: after all that is queued (`finishes`), or after what is under way. Returns
 * whether nothing failed; if not, *failure is filled.
 */
bool load_pool_end(struct load_pool *pool, bool finishes, struct load_failure *failure);

/* Keys that were written, and that were left as they were. */
uint64_t load_pool_written(const struct load_pool *pool);
uint64_t load_pool_kept(const struct load_pool *pool);

/* After load_pool_end(). NULL does nothing. */
void load_pool_free(struct load_pool *pool);

#endif

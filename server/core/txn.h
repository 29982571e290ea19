/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TXN_H
#define TXN_H

/*
 * txn.h - transactions: the conditions and changes of a TXN, against the store.
 *
 * A TXN that may happen goes through txn_prepare(), which allocates for all of its changes and may
 * fail, and txn_commit(), which cannot; txn_cancel() gives it up between them.
 */

#include "core/store.h"

/* What the changes take, in their order; of deletes and touches only `entry`. */
struct txn_plan {
	struct write_plan writes[CHANGES_MAX];
	uint32_t count;		 /* changes that are prepared */
	struct buffer *versions; /* one for each change: 8 bytes, little-endian */
};

/*
 * Whether counts, keys, values and ttls are within their limits, each changed key once. KV_OK;
 * KV_INVALID; KV_TOOBIG, and *which change, if it is one.
 */
enum kv_status txn_check_sizes(const struct txn *txn, uint32_t value_max, uint32_t *which);

/* Bytes of all its keys and values. */
size_t txn_bytes(const struct txn *txn);

/*
 * Copies it: `copy` gets its arrays, keys and values in `memory`, which is aligned as malloc()'s
 * and has txn_copy_size() bytes.
 */
size_t txn_copy_size(const struct txn *txn);
void txn_copy(struct txn *copy, void *memory, const struct txn *txn);

/* Whether the condition holds. *current is the version of its key; 0: it does not exist. */
bool txn_holds(const struct store *store, const struct condition *condition, uint64_t *current);

/*
 * Whether the conditions hold, the keys of deletes and touches exist, and appends stay below
 * value_max. KV_OK; KV_UNMET, KV_NOKEY or KV_TOOBIG, with *which condition or change, and the
 * version of its key in *current.
 */
enum kv_status txn_check(const struct store *store, const struct txn *txn, uint32_t value_max,
			 uint32_t *which, uint64_t *current);

/*
 * Allocates what the changes take. Returns false, and changes nothing, if memory->limit would be
 * passed (unless `is_replay`) or there is no memory.
 */
bool txn_prepare(struct store *store, const struct txn *txn, bool is_replay, struct txn_plan *plan);
void txn_cancel(struct store *store, struct txn_plan *plan);

/* Does the changes in their order. Fills `reply`: KV_OK, and the versions as its value. */
void txn_commit(struct store *store, const struct txn *txn, struct txn_plan *plan,
		uint64_t position, uint64_t now_ms, struct reply *reply);

#endif

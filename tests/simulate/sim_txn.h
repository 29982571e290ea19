/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_TXN_H
#define SIM_TXN_H

/*
 * sim_txn.h - the part of the workload that is of several keys, and of keys that end: transactions
 * with conditions and ttls on "t0" to "t2", deletes of them, pages of them, and tokens that are
 * appended to two keys at once.
 */

#include "op_log.h"

enum { TXN_KEYS = 3 };

struct txn_worker {
	unsigned worker;
	unsigned tokens;
	uint64_t versions[TXN_KEYS]; /* as last seen; 0: missing */
};

/*
 * A transaction, a delete, a token appended to both keys, or a page; without a session a page.
 * *position is the highest that a page had; in a store that is durable no later page has a lower
 * one, because a page leaves when its position is durable.
 */
enum kv_status sim_txn_any(struct kv_client *client, struct txn_worker *worker,
			   const char *const append_keys[2], unsigned *append_tokens,
			   uint64_t *position, bool is_stateless, bool is_durable);

#endif

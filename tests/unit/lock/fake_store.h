/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

/* fake_store.h - the store in memory of fake_kv.h: a few keys, with leases. */

#include "fake_kv.h"

enum { FAKE_ENTRIES_MAX = 8 };

struct entry {
	char key[FAKE_TEXT_MAX + 1];
	char text[FAKE_TEXT_MAX + 1];
	uint64_t version; /* 0: missing */
	uint64_t highest; /* versions never go back, not across a delete either */
	uint64_t ends_ms; /* by the server's clock; 0: no ttl */
};

/* Forgets all keys. */
void fake_store_clear(void);

struct entry *fake_store_at(unsigned index);

/* It may be missing: version 0. */
struct entry *fake_store_entry(const char *key);

/* Ends leases whose time is up. Returns whether there are others. */
bool fake_store_end_leases(void);

/* A Put or a delete. */
enum kv_status fake_store_put(const struct fake_call *call, uint64_t *version);

/* KV_UNMET if the condition does not hold. */
enum kv_status fake_store_txn(const struct fake_call *call, uint64_t *version);

#endif

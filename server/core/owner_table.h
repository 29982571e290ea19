/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OWNER_TABLE_H
#define OWNER_TABLE_H

/*
 * owner_table.h - principals that own sessions: each text once, however many sessions it has, so
 * that a session takes a pointer. The principal of no bytes ("any") has no entry.
 */

#include "core/hash_table.h"
#include "core/operation.h"

struct owner {
	uint32_t sessions; /* that point here */
	uint8_t size;
	char text[];
};

/* All zero but `memory` and `seed`: there are none, and no memory is taken. */
struct owner_table {
	struct mem_account *memory;
	uint64_t seed;
	bool is_begun;
	struct hash_table table;
};

void owner_table_destroy(struct owner_table *owners);

/* One session more of this principal, of 1 to PRINCIPAL_SIZE_MAX bytes. NULL: no memory. */
struct owner *owner_table_ref(struct owner_table *owners, struct kv_bytes principal);

/* One session less; without any it is freed. NULL is fine. */
void owner_table_unref(struct owner_table *owners, struct owner *owner);

/* The principal; NULL: of no bytes. */
struct kv_bytes owner_principal(const struct owner *owner);

#endif

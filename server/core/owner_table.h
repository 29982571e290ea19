/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OWNER_TABLE_H
#define OWNER_TABLE_H

/*
 * owner_table.h - principals that own sessions: each text once, however many sessions it has, so
 * that a session takes a pointer. The principal of no bytes ("any") has an entry for each peer that
 * is known to have opened sessions, and none for the others: those of a replay.
 */

#include "core/hash_table.h"
#include "core/operation.h"

struct owner {
	size_t reserved;   /* bytes, of its sessions: session_cost() */
	uint32_t sessions; /* that point here */
	bool is_peer;	   /* the text is that of a peer of the principal of no bytes */
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

/*
 * One session more of the owner of this OPEN: of its principal, else of its peer, if it names one;
 * of at most PRINCIPAL_SIZE_MAX bytes. False: no memory.
 */
bool owner_table_ref(struct owner_table *owners, const struct operation *open,
		     struct owner **owner);

/* The owner that this OPEN names. NULL: it has no sessions, or the OPEN names none. */
const struct owner *owner_table_find(const struct owner_table *owners,
				     const struct operation *open);

/* One session less; without any it is freed. NULL is fine. */
void owner_table_unref(struct owner_table *owners, struct owner *owner);

/* The principal; NULL: of no bytes. */
struct kv_bytes owner_principal(const struct owner *owner);

#endif

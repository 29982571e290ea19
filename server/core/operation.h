/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OPERATION_H
#define OPERATION_H

/*
 * operation.h - what can happen to the state, and what is answered: the words that dispatch, the
 * core and the journal share. An operation and its time are all that service_apply() looks at.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/buffer.h"
#include "bytes.h"
#include "status.h"

enum {
	KEY_MAX = 1024,		      /* bytes; the least is 1 */
	VALUE_MAX = 16 * 1024 * 1024, /* bytes; the least is 0 */
	NONCE_SIZE = 16,
	STORE_ID_SIZE = 16,
	SLOTS_MAX = 64, /* slots given to one session, at most */
};

#define VERSION_ANY UINT64_MAX /* as `expected`: whatever the version is */

/* The numbers are part of the journal's format and of operation_hash(). */
enum operation_kind {
	OPERATION_OPEN = 1,   /* client_id (a new one), nonce, slots */
	OPERATION_CLOSE = 2,  /* client_id */
	OPERATION_EXPIRE = 3, /* client_id: idle past its lease, or gone to make room */
	OPERATION_PUT = 4,    /* client_id, slot, seq, expected, key, value */
	OPERATION_APPEND = 5, /* and want_old */
};

struct operation {
	enum operation_kind kind;
	uint32_t slot;
	uint64_t client_id; /* 0: no session */
	uint64_t seq;
	uint64_t expected;
	struct kv_bytes key;   /* borrowed for the duration of the call */
	struct kv_bytes value; /* borrowed; or may be had, with the block ... */
	struct block *block;   /* ... that it lies in. NULL: may not */
	bool want_old;
	uint8_t nonce[NONCE_SIZE];
	uint32_t slots;
};

/*
 * The hash by which a slot tells a copy of its last call from another call with the same seq. Part
 * of the format of snapshots: XXH3 with 64 bits, no seed, of these bytes, numbers little-endian:
 *
 *	kind 4, want_old 4 (0 or 1), expected 8, hash of the key 8, hash of the value 8
 *
 * where a hash is XXH3 of the bytes, and 0 of none. Only of PUT and APPEND; a Put's want_old is 0.
 * Not in it: client id, slot, seq, epoch.
 */
uint64_t operation_hash(const struct operation *operation);

/* An answer. Whoever has it drops `value` with reply_drop(). */
struct reply {
	enum kv_status status;
	uint64_t current;     /* version of the key now; 0: it does not exist, or not about a key */
	uint64_t old_version; /* Append: version of `value` */
	struct view value;    /* Get: the value. Append: the old one, if wanted */
	uint64_t client_id;   /* OPEN */
	uint64_t lease_ms;    /* OPEN */
	uint32_t slots;	      /* OPEN */
	uint64_t position;    /* may leave once the journal is durable up to here; 0: at once */
};

void reply_drop(struct memory *memory, struct reply *reply);

#endif

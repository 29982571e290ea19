/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OPERATION_H
#define OPERATION_H

/*
 * operation.h - operations, which change the state, and their replies: the types that dispatch, the
 * core and the journal share. An operation and its time are all that service_apply() looks at.
 */

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "core/buffer.h"
#include "status.h"

enum {
	KEY_MAX = 1024,		      /* bytes; the least is 1 */
	VALUE_MAX = 16 * 1024 * 1024, /* bytes; the least is 0 */
	NONCE_SIZE = 16,
	PRINCIPAL_SIZE_MAX = 255, /* bytes */
	STORE_ID_SIZE = 16,
	SLOTS_MAX = 64,	      /* slots given to one session, at most */
	SESSIONS_PART = 1024, /* see sessions_slots_for() */
};

enum {
	CONDITIONS_MAX = 16, /* of a TXN */
	CHANGES_MAX = 64,    /* of a TXN; at least 1 */
};

#define TTL_MAX_MS (UINT64_C(3652) * 24 * 60 * 60 * 1000) /* ten years */

#define VERSION_ANY UINT64_MAX /* as `expected`: whatever the version is */

#define HASH_UNREAD UINT64_C(0)

/* The numbers are part of the journal's format and of operation_hash(). */
enum operation_kind {
	OPERATION_OPEN = 1,   /* client_id (a new one), nonce, slots */
	OPERATION_CLOSE = 2,  /* client_id */
	OPERATION_EXPIRE = 3, /* client_id: idle past its lease, or gone to make room */
	OPERATION_PUT = 4,    /* client_id, slot, seq, expected, key, value */
	OPERATION_APPEND = 5, /* and want_old */
	OPERATION_DELETE = 6, /* client_id, slot, seq, expected, key */
	OPERATION_TXN = 7,    /* client_id, slot, seq, txn */
	OPERATION_END = 8,    /* key, expected (its version): its ttl is over */
};

/* The numbers are those of kv.x. */
enum condition_test {
	CONDITION_AT = 0,     /* the key is at `version`; 0: it does not exist */
	CONDITION_EXISTS = 1, /* the key exists */
	CONDITION_HOLDS = 2,  /* the key exists, and its value is `value` */
	CONDITION_FREE = 3,   /* the key does not exist, or its value is `value` */
};

struct condition {
	enum condition_test test;
	uint64_t version;
	struct kv_bytes key;
	struct kv_bytes value;
};

/* The numbers are those of kv.x, and part of the journal's format. */
enum change_kind {
	CHANGE_PUT = 0,	   /* value and ttl_ms */
	CHANGE_APPEND = 1, /* value; the ttl stays */
	CHANGE_DELETE = 2,
	CHANGE_TOUCH = 3, /* the ttl ends ttl_ms from now, if that is later; the version stays */
};

struct change {
	enum change_kind kind;
	struct kv_bytes key;
	struct kv_bytes value;
	uint64_t ttl_ms; /* 0: none */
};

/*
 * Several changes, each of another key, that happen together or not at all: if all conditions hold.
 * `hash` is that of the call: a replay knows the changes only.
 */
struct txn {
	const struct condition *conditions;
	const struct change *changes;
	uint32_t condition_count;
	uint32_t change_count;
	uint64_t hash;
};

struct operation {
	enum operation_kind kind;
	uint32_t slot;
	uint64_t client_id; /* 0: no session */
	uint64_t seq;
	uint64_t expected;
	struct kv_bytes key;	   /* borrowed for the duration of the call */
	uint64_t ttl_ms;	   /* PUT: how long the key lives; 0: for good */
	struct kv_bytes value;	   /* borrowed; or may be had, with the block ... */
	struct owned_block *block; /* ... that it lies in. NULL: may not */
	const struct txn *txn;	   /* TXN; borrowed */
	bool want_old;
	bool is_unread; /* PUT: key and value found no memory; it is refused, and its hash is 0 */
	enum kv_status refusal; /* not KV_OK: a write that takes its slot and is refused so */
	uint8_t nonce[NONCE_SIZE];
	uint32_t slots;
	struct kv_bytes principal; /* OPEN: the owner of the session, empty: any; borrowed */
	bool checks_owner;	   /* ... else: of the caller, which owns the session or has none */
	struct kv_bytes peer;  /* OPEN by any: whose sessions it is counted with; not recorded */
	uint32_t sessions_max; /* OPEN: the most that the owner or peer may have; 0: no limit */
};

/*
 * The hash that distinguishes a copy of a slot's last call from another call with the same seq.
 *Part of the format of snapshots: XXH3 with 64 bits, no seed, of these bytes, numbers
 *little-endian:
 *
 *	kind 4, want_old 4 (0 or 1), expected 8, hash of the key 8, hash of the value 8
 *
 * where a hash is XXH3 of the bytes, and 0 of none. Of PUT, APPEND and DELETE; want_old is 0 but of
 * an APPEND. Of a TXN it is txn->hash, which txn_hash() made. Not in it: client id, slot, seq,
 *epoch. HASH_UNREAD, of a call that was not read, is that of any.
 */
uint64_t operation_hash(const struct operation *operation);

/*
 * The hash of a TXN's conditions and changes: XXH3 of a row of these bytes for each of them, in
 * order, the conditions first:
 *
 *	0 (condition) or 1 (change) 4, test or kind 4, version or ttl 8, hash of the key 8, of the
 *	value 8
 */
uint64_t txn_hash(const struct txn *txn);

/* The owner of a reply drops `value` with reply_drop(). */
struct reply {
	enum kv_status status;
	union {
		uint32_t which; /* TXN: UNMET: the condition; NOKEY, TOOBIG: the change */
		uint32_t slots; /* OPEN */
	};
	union {
		uint64_t current;   /* version of the key now; 0: it does not exist, or not about a
				       key. DELETE: the version spent. TXN done, LIST: the position */
		uint64_t client_id; /* OPEN */
	};
	union {
		uint64_t old_version; /* Append: version of `value` */
		uint64_t lease_ms;    /* OPEN */
	};
	struct view value; /* Get: the value. Append: the old one, if wanted. TXN: versions. LIST:
			      the page */
	uint64_t position; /* may be sent once the journal is durable up to here; 0: at once */
	bool more;	   /* LIST: keys are left behind the page */
};

void reply_drop(struct mem_account *memory, struct reply *reply);

#endif

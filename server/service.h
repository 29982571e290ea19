/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVICE_H
#define SERVICE_H

/*
 * service.h - what each procedure means: the state (entries and sessions) and the rules about it.
 *
 * Deterministic: no I/O, no clock, no chance; times, ids and seeds are arguments. A call goes
 *
 *	epoch -> slot (session_admit) -> limits, memory, disk -> condition -> apply -> remember
 *
 * and every answer to a new call, a refusal too, takes the slot. Only what passes all of it is an
 * operation: it is recorded, then applied, and apply cannot fail. Replaying a journal is
 * service_apply() again.
 */

#include "operation.h"

/* Who this store and this start of the server are. Never changes while a service lives. */
struct identity {
	uint8_t store[STORE_ID_SIZE];
	uint64_t epoch; /* not 0 */
	uint64_t seed;	/* of the hash tables, so that peers cannot choose collisions */
};

struct service_limits {
	uint32_t value_max; /* bytes in a value, at most VALUE_MAX */
	size_t memory_max;  /* bytes for entries, values, sessions and remembered replies */
	uint32_t sessions_max;
	uint64_t lease_ms;
};

/*
 * Where operations are kept before they are applied (the journal); all NULL: nowhere.
 * `reserve` answers false if there is no room for this operation: it is refused KV_FULL.
 * `record` keeps it and answers its position, which grows; it cannot fail after `reserve`.
 */
struct recorder {
	void *journal;
	bool (*reserve)(void *journal, const struct operation *operation);
	uint64_t (*record)(void *journal, const struct operation *operation, uint64_t now_ms);
};

struct service;

/* NULL: no memory. Freed with service_free(); NULL is fine. */
struct service *service_new(const struct identity *identity, const struct service_limits *limits,
			    const struct recorder *recorder);
void service_free(struct service *service);

const struct identity *service_identity(const struct service *service);
const struct service_limits *service_limits(const struct service *service);
/* For whoever drops a reply or holds a view of it. */
struct memory *service_memory(struct service *service);

/*
 * Reads a key. `epoch` is the one that the sender knows (0: not checked); `reply_max` is how many
 * bytes of value its transport can carry. KV_OK with the value held in *reply, KV_NOKEY, KV_EPOCH,
 * KV_INVALID (no key), KV_TOOBIG (key too long, or value above reply_max).
 */
void service_get(struct service *service, uint64_t epoch, struct kv_bytes key, uint32_t reply_max,
		 struct reply *reply);

/*
 * Runs one call that may change something: PUT, APPEND, OPEN (client_id is a fresh random id to be
 * given out; reply->client_id tells the one that counts) or CLOSE. Never EXPIRE. `now_ms` may not
 * go back.
 *
 * KV_OK, KV_EPOCH, KV_NOKEY, KV_VERSION, KV_BADSESSION, KV_STALE, KV_FALSE_RETRY, KV_TOOBIG,
 * KV_FULL, KV_INVALID; KV_MAYBE: a copy of a call that did happen, whose remembered reply is above
 * reply_max (ask again over a stream).
 */
void service_run(struct service *service, uint64_t epoch, const struct operation *operation,
		 uint32_t reply_max, uint64_t now_ms, struct reply *reply);

/*
 * Ends sessions idle past their lease, at most `most` of them. Answers in how many milliseconds
 * the next one may be due (0: more are due now; UINT64_MAX: there is none).
 */
uint64_t service_expire(struct service *service, unsigned most, uint64_t now_ms);

/*
 * Changes the state as a recorded operation did. Used by service_run() itself and by replay, which
 * passes reply NULL. False only if there is no memory (replay; service_run() reserves first).
 */
bool service_apply(struct service *service, const struct operation *operation, uint64_t now_ms,
		   struct reply *reply);

/* What `kvctl status` shows. Names and meanings are listed in docs/PROTOCOL.md. */
struct service_counters {
	uint64_t keys;
	uint64_t sessions;
	uint64_t sessions_opened;
	uint64_t sessions_expired;
	uint64_t memory_used;	 /* bytes */
	uint64_t calls_run;	 /* writes applied */
	uint64_t calls_replayed; /* copies answered from the duplicate cache */
	uint64_t calls_refused;
};
void service_count(const struct service *service, struct service_counters *counters);

#endif

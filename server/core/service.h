/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVICE_H
#define SERVICE_H

/*
 * service.h - what each procedure means: the state (entries and sessions) and the rules about it.
 *
 * Deterministic: no I/O, no clock, no chance; times, ids and seeds are arguments. A call goes
 *
 *	epoch -> slot (session_admit) -> size of key and value -> expected version ->
 *	size of the result -> memory -> disk -> record -> apply -> remember
 *
 * and every answer to a new call, a refusal too, takes the slot. Only what passes all of it is an
 * operation: it is recorded, then applied, and apply cannot fail. Replaying a journal is
 * service_apply() again.
 *
 * Memory: Put and Append are refused when they would make memory.used larger and above its limit.
 * Sessions and slots count, but are never refused for it; they have limits of their own
 * (sessions_max, SLOTS_MAX). So a full store still opens sessions that make room, and a call that
 * is refused still has its slot.
 */

#include "core/operation.h"
#include "core/state_codec.h"

/* Who this store and this start of the server are. Never changes while a service lives. */
struct identity {
	uint8_t store[STORE_ID_SIZE];
	uint64_t epoch; /* not 0 */
	uint64_t seed;	/* of the hash tables, so that peers cannot choose collisions */
};

struct service_limits {
	uint32_t value_max; /* bytes in a value, at most VALUE_MAX */
	size_t memory_max;  /* bytes for entries, values, sessions and remembered replies, as
			       memory.h counts them */
	uint32_t sessions_max;
	uint64_t lease_ms;
};

/*
 * Where operations are kept before they are applied (the journal).
 * `reserve` answers false if there is no room for this operation: it is refused KV_FULL.
 * `record` keeps it and answers its position, which grows; it cannot fail after `reserve`.
 */
struct recorder {
	void *journal;
	bool (*reserve)(void *journal, const struct operation *operation);
	uint64_t (*record)(void *journal, const struct operation *operation, uint64_t now_ms);
};

struct service;

/*
 * Freed with service_free(); NULL: no memory. The arguments are copied. `recorder` NULL: operations
 * are kept nowhere.
 */
struct service *service_new(const struct identity *identity, const struct service_limits *limits,
			    const struct recorder *recorder);
void service_free(struct service *service);

const struct identity *service_identity(const struct service *service);
const struct service_limits *service_limits(const struct service *service);
/* Whether a call that carries this epoch may run: 0 is not checked. */
bool service_is_epoch(const struct service *service, uint64_t epoch);
/* For whoever drops a reply or holds a view of it. */
struct memory *service_memory(struct service *service);

/*
 * Reads a key. `epoch` is the one that the sender knows (0: not checked); `reply_max` is how many
 * bytes of value its transport can carry. KV_OK with the value held in *reply, KV_NOKEY, KV_EPOCH,
 * KV_INVALID (no key), KV_TOOBIG (key too long, or value above reply_max).
 */
void service_get(struct service *service, uint64_t epoch, struct kv_bytes key, uint32_t reply_max,
		 struct reply *reply);

/* These keys will be named by the next calls: see store_prefetch(). */
void service_prefetch(const struct service *service, const struct kv_bytes *keys, unsigned count);

/*
 * Runs one call that may change something: PUT, APPEND, OPEN (client_id is a fresh random id to be
 * given out, not 0; reply->client_id tells the one that counts) or CLOSE. Never EXPIRE. A `now_ms`
 * before one already seen counts as that one. `reply_max` is how long an old value may be.
 *
 * KV_OK, KV_EPOCH, KV_NOKEY, KV_VERSION, KV_BADSESSION, KV_STALE, KV_FALSE_RETRY, KV_TOOBIG,
 * KV_FULL, KV_INVALID; KV_MAYBE: a copy of a call that did happen, whose remembered reply is above
 * reply_max (ask again over a stream), or a new call that did not run, but whose slot has no memory
 * to say so to its copies.
 *
 * reply->current: of a write that looked at its key, the version after it, whatever the status.
 */
void service_run(struct service *service, uint64_t epoch, const struct operation *operation,
		 uint32_t reply_max, uint64_t now_ms, struct reply *reply);

/*
 * Ends sessions idle for their lease or longer, the longest first, at most `most` of them. Answers
 * in how many milliseconds the next one may be due (0: more are due now; UINT64_MAX: there is
 * none). Without room in the journal they stay, to be tried again a little later.
 */
uint64_t service_expire(struct service *service, unsigned most, uint64_t now_ms);

/*
 * Changes the state as a recorded operation did, whatever the limits are now: replay, in the order
 * of the journal and with the times of it. `reply` may be NULL. What it writes counts as durable
 * (position 0). False, and nothing is changed: there is no memory. service_run() takes the same
 * way, in two steps: it gets the memory before it records, so that what is recorded cannot fail.
 */
bool service_apply(struct service *service, const struct operation *operation, uint64_t now_ms,
		   struct reply *reply);

/* The latest time that it has seen. */
uint64_t service_time(const struct service *service);

/* Hands over the whole state as bytes: see state.h. It changes nothing, counts of views included.
 */
enum state_result service_save(const struct service *service, state_put *put, void *context);

/*
 * Takes the state in that service_save() handed over, of at most `size` bytes, whatever the limits
 * are now. What was written counts as durable (position 0). The service must be as service_new()
 * made it; after another answer than STATE_DONE it is only fit for service_free().
 */
enum state_result service_load(struct service *service, uint64_t size, state_get *get,
			       void *context);

/* What `kvctl status` shows. Names and meanings are listed in docs/PROTOCOL.md. */
struct service_counters {
	uint64_t keys;
	uint64_t sessions;
	uint64_t sessions_opened;
	uint64_t sessions_expired;
	uint64_t memory_used;	 /* bytes */
	uint64_t calls_run;	 /* writes applied */
	uint64_t calls_replayed; /* copies answered from the duplicate cache */
	uint64_t calls_refused;	 /* other answers of service_run() than KV_OK */
};
void service_get_stats(const struct service *service, struct service_counters *counters);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVICE_H
#define SERVICE_H

/*
 * service.h - the state of the server (entries and sessions) and the rules of each procedure.
 *
 * Deterministic: no I/O, no clock, no random numbers; times, ids and seeds are arguments. A call
 *goes
 *
 *	epoch -> slot (session_admit) -> size of key and value -> expected version ->
 *	size of the result -> memory -> disk -> record -> apply -> cache the reply
 *
 * and every reply to a new call, a refusal too, takes the slot. Only what passes all of it is an
 * operation: it is recorded, then applied, and apply cannot fail. Replaying a journal is
 * service_apply() again.
 *
 * Memory: Put and Append are refused when they would make memory.used larger and above its limit.
 * Sessions and their slots count too, but are not refused for that: they have limits of their own,
 * which are looked at when a session is opened (sessions_max, that of the operation for one peer,
 * SLOTS_MAX, SESSIONS_SHARE of the memory). So a full store still opens sessions, a call that is
 * refused still has its slot, and sessions cannot fill the store.
 */

#include "core/list_page.h"
#include "core/operation.h"
#include "core/state_codec.h"
#include "core/stats.h"

/* The ids of this store and of this start of the server. They never change. */
struct server_identity {
	uint8_t store[STORE_ID_SIZE];
	uint64_t epoch; /* not 0 */
	uint64_t seed;	/* of the hash tables, so that peers cannot choose collisions */
};

enum {
	SESSIONS_SHARE = 4, /* sessions may take this part of memory_max, those of a peer that has
			       a limit this part of that ... */
	SESSIONS_MEMORY_MIN = 1024 * 1024, /* ... but always as many bytes */
};

struct service_limits {
	uint32_t value_max; /* bytes in a value, at most VALUE_MAX */
	size_t memory_max;  /* bytes for entries, values, sessions and remembered replies, as
			       mem_account.h counts them */
	uint32_t sessions_max;
	uint64_t lease_ms;
	const struct region_source *memory; /* where it comes from; borrowed; NULL: malloc(3) */
};

/*
 * Where operations are kept before they are applied (the journal).
 * `reserve` returns false if there is no space for this operation: it is refused KV_FULL.
 * `record` keeps it and returns its position, which grows; it cannot fail after `reserve`.
 */
struct journal_sink {
	void *journal;
	bool (*reserve)(void *journal, const struct operation *operation);
	uint64_t (*record)(void *journal, const struct operation *operation, uint64_t now_ms);
};

/*
 * Called for each operation once it is applied, by whatever call or clock, but for a replay. It may
 * look at the service, and runs nothing.
 */
struct service_observer {
	void *context;
	void (*applied)(void *context, const struct operation *operation);
};

struct service;

/*
 * Freed with service_free(); NULL: no memory. The arguments are copied. `recorder` NULL: operations
 * are kept nowhere.
 */
struct service *service_new(const struct server_identity *identity,
			    const struct service_limits *limits,
			    const struct journal_sink *recorder);
void service_free(struct service *service);

const struct server_identity *service_identity(const struct service *service);
const struct service_limits *service_limits(const struct service *service);
/* Whether a call that carries this epoch may run: 0 is not checked. */
bool service_is_epoch(const struct service *service, uint64_t epoch);
/* To drop a reply, or a view of its value, with. */
struct mem_account *service_memory(struct service *service);
size_t service_memory_used(const struct service *service); /* bytes */

/* Calls that were refused for want of room, since the start. */
struct service_refusals {
	uint64_t memory;	/* writes, for which there was no memory */
	uint64_t sessions;	/* sessions, of which there were as many as may be */
	uint64_t sessions_each; /* sessions, of which one peer had as many as it may */
};
struct service_refusals service_refusals(const struct service *service);
size_t service_key_count(const struct service *service);
size_t service_session_count(const struct service *service);

/*
 * Reads a key. `epoch` is the one that the client knows (0: not checked); `reply_max` is how many
 * bytes of value its transport can carry. KV_OK with the value held in *reply, KV_NOKEY, KV_EPOCH,
 * KV_INVALID (no key), KV_TOOBIG (key too long, or value above reply_max).
 */
void service_get(struct service *service, uint64_t epoch, struct kv_bytes key, uint32_t reply_max,
		 struct reply *reply);

/*
 * Lists the keys with a prefix: a page that is one point in time, that of reply->current, the
 * position of the last operation. KV_OK with the page (list_page_next()) in reply->value and
 * whether more keys are behind it in reply->more; KV_EPOCH; KV_TOOBIG (prefix or `after` is longer
 * than a key, or not even one key fits in the reply); KV_FULL (no memory).
 */
void service_list(struct service *service, uint64_t epoch, const struct list_request *request,
		  struct reply *reply);

/*
 * service_get(), but KV_UNMET without a value while the key is at version `seen` (0: missing):
 * a client that knows that version may wait for another.
 */
void service_wait(struct service *service, uint64_t epoch, struct kv_bytes key, uint64_t seen,
		  uint32_t reply_max, struct reply *reply);

/* The version of a key; 0: missing. */
uint64_t service_version(const struct service *service, struct kv_bytes key);

/* Whether the condition, whose sizes were checked, holds now. */
bool service_condition_holds(const struct service *service, const struct condition *condition);

/*
 * Whether this TXN may wait for its first condition: it has one, the call is the next of its slot,
 * and its sizes are right. Changes nothing.
 */
bool service_may_park(struct service *service, uint64_t epoch, const struct operation *operation);

/* Whether the session that the call names is its caller's own, if there is one. */
bool service_owns_session(struct service *service, const struct operation *operation);

/*
 * One call more, or less, of the session is parked: while there are any, the session does not end
 * by itself. Without such a session it does nothing.
 */
void service_hold_session(struct service *service, uint64_t client_id, bool is_parked);

/* Prefetches these keys, which the next calls name: see store_prefetch(). */
void service_prefetch(const struct service *service, const struct kv_bytes *keys, unsigned count);

/*
 * Runs one call that may change something: PUT, APPEND, OPEN (client_id is a fresh random id to be
 * given out, not 0; reply->client_id is the one that counts) or CLOSE. Never EXPIRE. A `now_ms`
 * before one already seen counts as that one. `reply_max` is how long an old value may be.
 *
 * KV_OK, KV_EPOCH, KV_NOKEY, KV_VERSION, KV_BADSESSION, KV_STALE, KV_FALSE_RETRY, KV_TOOBIG,
 * KV_FULL, KV_INVALID; KV_MAYBE: a copy of a call that did happen, whose remembered reply is above
 * reply_max (ask again over a stream), or a new call that did not run, but whose slot has no memory
 * for that reply.
 *
 * reply->current: of a write that looked at its key, the version after it, whatever the status.
 */
void service_run(struct service *service, uint64_t epoch, const struct operation *operation,
		 uint32_t reply_max, uint64_t now_ms, struct reply *reply);

/* Has the observer, which is copied, told of what is applied from now on. */
void service_observe(struct service *service, const struct service_observer *observer);

/*
 * After a replay: every lease begins again, at the time recorded last, because a call that only
 * renewed a lease is not recorded.
 */
void service_renew_leases(struct service *service);

/*
 * Ends sessions idle for their lease or longer, the longest first, at most `max` of them. Returns
 * in how many milliseconds the next one may be due (0: more are due now; UINT64_MAX: there is
 * none). Without space in the journal they stay, to be tried again a little later.
 */
uint64_t service_expire(struct service *service, unsigned max, uint64_t now_ms);

/*
 * Changes the state as a recorded operation did, whatever the limits are now: replay, in the order
 * of the journal and with the times of it. `reply` may be NULL. Its position is one more than that
 * of the operation before. False, and nothing is changed: there is no memory. service_run() takes
 * the same way, in two steps: it gets the memory before it records, so that what is recorded cannot
 * fail.
 */
bool service_apply(struct service *service, const struct operation *operation, uint64_t now_ms,
		   struct reply *reply);

/*
 * Sets the position of the last operation: after service_load(), and where a journal begins. If it
 * moves, it counts as that of the last change.
 */
void service_set_position(struct service *service, uint64_t position);

/* Position of the last operation, and of the last one that changed a key; 0: there was none. */
uint64_t service_position(const struct service *service);
uint64_t service_changed_position(const struct service *service);

/* From now on changes of keys are reported there; NULL: nowhere. Borrowed. */
void service_set_change_sink(struct service *service, const struct change_sink *sink);

/*
 * Ends the ttls that are over, the earliest first, at most `max` of them; each end is recorded.
 * Returns in how many milliseconds the next one is due (0: more are due now; UINT64_MAX: none is).
 * Without room in the journal they stay, to be tried again a little later.
 */
uint64_t service_end_ttls(struct service *service, unsigned max, uint64_t now_ms);

/*
 * Gives memory back that was not needed for a while: regions_give_back(), which says what `max` and
 * the return value are.
 */
uint64_t service_give_back(struct service *service, unsigned max, uint64_t now_ms);

/* The latest time that it has seen. */
uint64_t service_time(const struct service *service);

/* Hands over the whole state as bytes: see state_codec.h. It changes nothing, counts of views
 * included.
 */
enum state_result service_save(const struct service *service, state_put *put, void *context);

/*
 * Takes the state in that service_save() handed over, of at most `size` bytes, whatever the limits
 * are now. What was written counts as durable (position 0). The service must be as service_new()
 * made it; after another result than STATE_DONE it is only fit for service_free().
 */
enum state_result service_load(struct service *service, unsigned format, uint64_t size,
			       state_get *get, void *context);

/* Adds what it counts. */
void service_add_stats(const struct service *service, struct stats *stats);

#endif

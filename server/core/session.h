/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SESSION_H
#define SESSION_H

/*
 * session.h - the duplicate cache: the sessions, and the last call and reply of each of their
 * slots, as in NFSv4.1 (RFC 8881, 2.10.6).
 *
 * A session takes one block, with its first slot in it; each further slot takes memory when it is
 * first used. The nonce of its OPEN is kept until a call takes a slot: the client knows its id by
 * then, and no reply to an OPEN is needed any more. Because a refused call needs its slot too, no
 * slot that was given is ever refused: what all slots given may take is reserved when a session is
 * opened, see sessions_slots_for().
 */

#include "core/hash_table.h"
#include "core/operation.h"
#include "core/owner_table.h"

/*
 * What is remembered of the last call on a slot: a view of the old value (not a struct view, which
 * would take more room), and the reply. All zero: there was none yet.
 */
struct slot {
	uint64_t seq;
	uint64_t hash;
	uint64_t current;
	struct buffer *old;
	uint32_t old_size;
	uint8_t status; /* enum kv_status */
	uint8_t which;	/* of a TXN that was refused */
	bool had_old;	/* the old version is the one before `current`; else it is 0 */
};

/* The slots but the first that have their memory. */
struct used_slots {
	uint64_t map;	    /* bit n: slot n is in the list */
	struct slot list[]; /* in order */
};

/*
 * Invariants: on the table by_id; on the list `held_sessions` while calls are parked in it, else on
 * `written_sessions` if has_written, else on `idle_sessions`; if not has_written also on the table
 * by_nonce; the lists are in order of active_ms, for time does not go back. What every call reads
 * comes first, and then the first slot: few cache lines.
 */
struct session {
	struct session *older;
	struct session *newer;
	uint64_t client_id;
	uint64_t active_ms : 48;   /* when a call last named it; at most ACTIVE_MAX_MS */
      uint64_t slots : 7;	   /* given to the client, 1 to SLOTS_MAX */
	uint64_t has_written : 1;  /* a call took a slot */
	uint64_t parked : 7;	   /* slots whose next call waits; not saved */
	struct used_slots *others; /* NULL: none but slot 0 is used */
	struct owner *owner;	   /* NULL: any */
	union {
		struct slot first;	   /* slot 0, if has_written */
		uint8_t nonce[NONCE_SIZE]; /* else */
	};
};

#define ACTIVE_MAX_MS ((UINT64_C(1) << 48) - 1) /* 8900 years */

struct session_list {
	struct session *oldest;
	struct session *newest;
};

struct sessions {
	struct hash_table by_id;
	struct hash_table by_nonce;
	struct owner_table owners;
	struct session_list idle_sessions; /* no call took a slot yet */
	struct session_list written_sessions;
	struct session_list held_sessions; /* none of them ends by its lease, or to make room */
	struct session *last; /* that sessions_find() found; NULL: it has ended, or there is none */
	struct mem_account *memory;
	size_t reserved; /* bytes that the sessions take if each uses all slots given to it */
};

/* Bytes that a session with so many slots adds to sessions->reserved. */
size_t session_cost(uint32_t slots);

/*
 * How many slots a new session that asks for `wanted` is given, if all sessions together may
 * reserve `limit` bytes. Slots behind the first come from the first half of that, and those of one
 * session take at most a SESSIONS_PART of what is left of it: so that many sessions are given few
 * slots rather than few sessions many. 0: the limit is reached.
 */
uint32_t sessions_slots_for(const struct sessions *sessions, uint32_t wanted, size_t limit);

/*
 * Whether the owner or peer of this OPEN has all the sessions that it may have: as many as
 * open->sessions_max, or those that reserve `limit` bytes. Without sessions_max: no.
 */
bool sessions_are_all_of_peer(const struct sessions *sessions, const struct operation *open,
			      size_t limit);

/* False: no memory, and nothing to close. */
bool sessions_open(struct sessions *sessions, struct mem_account *memory, uint64_t seed);
void sessions_close(struct sessions *sessions);

/*
 * NULL: no such session. Quick if it is the one found last, as it is for most calls of a client
 * that sends many at once.
 */
struct session *sessions_find(struct sessions *sessions, uint64_t client_id);
/* The session with that nonce that has not written yet. NULL: there is none. */
struct session *sessions_find_nonce(const struct sessions *sessions,
				    const uint8_t nonce[NONCE_SIZE]);

/* Whether the operation may name the session. */
bool session_is_of(const struct session *session, const struct operation *operation);

/*
 * The session that is idle for longest, of those that are not held; of two, the one that never
 * wrote. NULL: there is none.
 */
struct session *sessions_oldest(const struct sessions *sessions);

/*
 * A session for an OPEN of a new client id and nonce, with the memory to add it. NULL: there is
 * none. Until it is added, session_cancel() gives it up.
 */
struct session *session_prepare(struct sessions *sessions, const struct operation *operation);
void session_cancel(struct sessions *sessions, struct session *session);
void session_add(struct sessions *sessions, struct session *session, uint64_t now_ms);

/* Ends it: removes and frees it, with its cached replies. */
void session_destroy(struct sessions *sessions, struct session *session);

/* NULL: the slot has never been used. */
const struct slot *session_slot(const struct session *session, uint32_t slot);

/* A call named it: its lease begins again. Of those active in the same millisecond it is the last.
 */
void session_renew(struct sessions *sessions, struct session *session, uint64_t now_ms);

/* One call more, or less, is parked in it. */
void session_hold(struct sessions *sessions, struct session *session, bool is_parked,
		  uint64_t now_ms);

/* What to do with a write. */
enum slot_check {
	ADMIT_NEW,	   /* later than the last on its slot: run it, then session_cache_reply() */
	ADMIT_REPLAY,	   /* a copy of the last: session_cached_reply(), run nothing */
	ADMIT_FALSE_RETRY, /* the seq of the last, but another call: KV_FALSE_RETRY */
	ADMIT_UNREAD,	   /* the seq of the last, but it is not known which call: KV_MAYBE */
	ADMIT_STALE,	   /* before the last: KV_STALE; it never runs */
	ADMIT_UNKNOWN,	   /* there is no session: KV_BADSESSION */
	ADMIT_INVALID,	   /* no such slot, or seq 0: KV_INVALID */
};

/* `session` may be NULL. `hash` is operation_hash(). Changes nothing. */
enum slot_check session_admit(const struct session *session, const struct operation *operation,
			      uint64_t hash);

/*
 * After ADMIT_NEW: makes sure that the slot has its memory, and releases the cached old value,
 * so that its memory is available to this call. False: no memory, nothing is changed.
 */
bool session_prepare_slot(struct sessions *sessions, struct session *session, uint32_t slot);

/* The call takes the slot, whatever its reply. After session_prepare_slot(). */
void session_cache_reply(struct sessions *sessions, struct session *session,
			 const struct operation *operation, uint64_t hash,
			 const struct reply *reply);

/*
 * After ADMIT_REPLAY: fills `reply` as it was. False, and nothing is filled in: its old value is
 * longer than `reply_max`.
 */
bool session_cached_reply(const struct session *session, uint32_t slot, uint32_t reply_max,
			  struct reply *reply);

#endif

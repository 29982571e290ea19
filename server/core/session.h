/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SESSION_H
#define SESSION_H

/*
 * session.h - may this call run? The sessions, and the last call and reply of each of their slots,
 * as in NFSv4.1 (RFC 8881, 2.10.6).
 *
 * A session takes one block, with its first slot in it; further slots take memory when they are
 * used. All of it is counted, but never refused for the memory limit: what bounds it is the number
 * of sessions and SLOTS_MAX, and a call that is refused needs its slot, too.
 */

#include "core/operation.h"
#include "core/hash_table.h"

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
	bool had_old;	/* the old version is the one before `current`; else it is 0 */
};

/*
 * Invariants: on both tables; on the list `wrote` if has_written, else on `silent`; the lists are
 * in order of active_ms, for time does not go back. What every call reads comes first, and then the
 * first slot: few cache lines.
 */
struct session {
	struct session *older;
	struct session *newer;
	uint64_t client_id;
	uint64_t active_ms;  /* when a call last named it */
	struct slot *others; /* slots 1 .. others_count */
	uint8_t others_count;
	uint8_t slots; /* given to the client, 1 to SLOTS_MAX */
	bool has_written;
	struct slot first; /* slot 0 */
	uint8_t nonce[NONCE_SIZE];
};

struct session_list {
	struct session *oldest;
	struct session *newest;
};

struct sessions {
	struct table by_id;
	struct table by_nonce;
	struct session_list silent; /* no call took a slot yet */
	struct session_list wrote;
	struct session *last; /* that sessions_find() found; NULL: it has ended, or there is none */
	struct memory *memory;
};

/* False: no memory, and nothing to close. */
bool sessions_open(struct sessions *sessions, struct memory *memory, uint64_t seed);
void sessions_close(struct sessions *sessions);

/*
 * NULL: no such session. Quick if it is the one found last, as it is for most calls of a client
 * that sends many at once.
 */
struct session *sessions_find(struct sessions *sessions, uint64_t client_id);
struct session *sessions_find_nonce(const struct sessions *sessions,
				    const uint8_t nonce[NONCE_SIZE]);

/* The session that is idle for longest; of two, the one that never wrote. NULL: there is none. */
struct session *sessions_oldest(const struct sessions *sessions);

/*
 * A session for an OPEN of a new client id and nonce, with the memory to add it. NULL: there is
 * none. Until it is added, session_cancel() gives it up.
 */
struct session *session_prepare(struct sessions *sessions, const struct operation *operation);
void session_cancel(struct sessions *sessions, struct session *session);
void session_add(struct sessions *sessions, struct session *session, uint64_t now_ms);

/* Ends it: takes it out and frees it, with all that it remembers. */
void session_destroy(struct sessions *sessions, struct session *session);

/* What it remembers of this slot; NULL: nothing, for it has never been used. */
const struct slot *session_slot(const struct session *session, uint32_t slot);

/* A call named it: its lease begins anew. Of those active in the same millisecond it is the last.
 */
void session_renew(struct sessions *sessions, struct session *session, uint64_t now_ms);

/* What to do with a write. */
enum admission {
	ADMIT_NEW,	   /* later than the last on its slot: run it, then session_cache_reply() */
	ADMIT_REPLAY,	   /* a copy of the last: session_cached_reply(), run nothing */
	ADMIT_FALSE_RETRY, /* the seq of the last, but another call: KV_FALSE_RETRY */
	ADMIT_STALE,	   /* before the last: KV_STALE; it never runs */
	ADMIT_UNKNOWN,	   /* there is no session: KV_BADSESSION */
	ADMIT_INVALID,	   /* no such slot, or seq 0: KV_INVALID */
};

/* `session` may be NULL. `hash` is operation_hash(). Changes nothing. */
enum admission session_admit(const struct session *session, const struct operation *operation,
			     uint64_t hash);

/*
 * After ADMIT_NEW: makes sure that the slot has its memory, and forgets the old value that it
 * remembers, so that its bytes are free for this call. False: no memory, nothing is changed.
 */
bool session_prepare_slot(struct sessions *sessions, struct session *session, uint32_t slot);

/* The slot is taken by this call, whatever its answer. After session_prepare_slot(). */
void session_cache_reply(struct sessions *sessions, struct session *session,
		      const struct operation *operation, uint64_t hash, const struct reply *reply);

/*
 * After ADMIT_REPLAY: fills `reply` as it was. False, and nothing is filled in: its old value is
 * longer than `reply_max`.
 */
bool session_cached_reply(const struct session *session, uint32_t slot, uint32_t reply_max,
		    struct reply *reply);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_STATE_H
#define LOCK_STATE_H

/*
 * lock_state.h - what a lock handle knows of its lock, and the calls that tell it: the state
 * machine. Every change of state is in lock_state.c and lock_txn.c. Used by the thread that uses
 * the handle.
 */

#include <kv/lock.h>

#include <stdatomic.h>

#include "lock_backoff.h"

enum {
	LOCK_ID_BYTES = 16,
	LOCK_ID_DIGITS = 2 * LOCK_ID_BYTES,

	/* Of a note: id, space, since when the lock is held, space. */
	LOCK_SINCE_DIGITS = 13,
	LOCK_NOTE_HEAD = LOCK_ID_DIGITS + 1 + LOCK_SINCE_DIGITS + 1,

	/* How often one operation goes on at once after a write that was refused or is unknown. */
	LOCK_STEPS_MAX = 8,
};

/* What a free lock holds. */
extern const char lock_state_unlocked[];

enum lock_state {
	/* Does not hold the lock and knows nothing of the key. */
	LOCK_UNKNOWN,

	/* Does not hold it; the key was free ("__unlocked", or missing: 0) at `version`. */
	LOCK_FREE,

	/* Holds it: the id was put there at `version`, the token. */
	LOCK_HELD,

	/* The key was free at `version`; Puts of this handle that expect it may take effect. */
	LOCK_ACQUIRE_UNKNOWN,

	/*
	 * The id stood there at `version`; writes of this handle that expect it may take effect.
	 */
	LOCK_RELEASE_UNKNOWN,

	/* A transaction of this handle may have taken the lock, or may still, at any version. */
	LOCK_TXN_UNKNOWN,
};

/*
 * In UNKNOWN, FREE and HELD the outcome of every write of this handle that could take or release
 * the lock is known. ACQUIRE_UNKNOWN and RELEASE_UNKNOWN end only when a write that expects
 * `version` is answered KV_OK, or a Get shows that the key has moved on; TXN_UNKNOWN only when,
 * after kv_settle(), a Get shows the key.
 */
struct kv_lock {
	struct kv_client *view; /* of its own: KV_BADSESSION is reported to it */
	enum kv_lock_mode mode;
	unsigned own_ms; /* the client's time limit, for a use without one */
	enum lock_state state;
	uint64_t version; /* as the state says; nothing in UNKNOWN and TXN_UNKNOWN */
	struct lock_backoff backoff;
	atomic_bool is_interrupted; /* since the last acquire ended */
	bool is_lock;		    /* the key was seen to be one */
	bool polls;		    /* the last time there were no transactions */

	bool is_doubted;  /* HELD: a renewal is in doubt, so the store may be another */
	uint64_t drained; /* with this token it waited until there were no shares */

	unsigned ttl_ms;      /* of the next acquire; 0: none */
	unsigned held_ttl_ms; /* HELD, TXN_UNKNOWN: of this one */
	uint64_t lease_ms;    /* ... counted from there, on the clock of lock_platform_boot_ms() */

	uint64_t noted_token; /* in the history; 0: none is */
	uint64_t noted_at;    /* what kv_history_hold() returned */

	struct kv_bytes note; /* of the next acquire: head and text; in note_bytes */
	bool has_note;	      /* HELD: it was written */
	bool is_note_old;     /* ... but not since when the lock is held */
	char note_bytes[LOCK_NOTE_HEAD + KV_LOCK_NOTE_MAX];

	char id[LOCK_ID_DIGITS + 1];
	struct kv_bytes gate;	  /* the lock's name: the bytes behind the struct */
	struct kv_bytes name;	  /* of the key that gets the id: the lock's, or that of a share */
	struct kv_bytes note_key; /* name and suffix; size 0: too long for a key */
	unsigned char name_bytes[];
};

/* How long a use may last. For ever: each call has the client's time limit. */
struct time_limit {
	bool is_for_ever;
	uint64_t deadline_ms;
};

struct time_limit lock_state_limit(unsigned timeout_ms);

/* Not for a limit that is for ever. */
unsigned lock_state_left_ms(const struct time_limit *limit);

/* Gives the next call what is left of the limit. False: nothing is. */
bool lock_state_limit_call(const struct kv_lock *lock, const struct time_limit *limit);

enum content {
	CONTENT_FREE,
	CONTENT_ID,	  /* of this handle */
	CONTENT_OTHER_ID, /* the id of another handle */
	CONTENT_INVALID,  /* what no lock writes */
};

enum content lock_state_content(const struct kv_value *value, const char *own_id);

/* Passes a status on; of KV_BADSESSION it notes that nothing is known of the key any more. */
enum kv_status lock_state_heard(struct kv_lock *lock, enum kv_status status);

/* Whether it holds nothing, nor may, and belongs to this process: it may be told what to do. */
bool lock_state_is_idle(const struct kv_lock *lock);

/* Whether the handle holds the lock, and no shares are left that it excludes. */
bool lock_state_is_held(const struct kv_lock *lock);

/* Whether the outcome of a write is unknown. */
bool lock_state_is_unknown(const struct kv_lock *lock);

/* Whether to go on at once: the key, or what is known of it, has changed. */
bool lock_state_has_changed(enum kv_status status);

/*
 * Puts the id or "__unlocked" at lock->version; not in UNKNOWN and TXN_UNKNOWN. A share that is
 * given back is deleted instead.
 */
enum kv_status lock_state_put(struct kv_lock *lock, const struct time_limit *limit,
			      const char *text);

/*
 * Makes a lock that is missing, as a free one. Never with the id: a Put that expects 0 may take
 * effect late on a key that was deleted and is missing again, and a lock that is made so is free.
 * So such a Put needs no resolving.
 */
enum kv_status lock_state_make_free(struct kv_lock *lock, const struct time_limit *limit);

/*
 * Reads the key, not in FREE and HELD; in TXN_UNKNOWN after kv_settle() only. KV_OK: held, or there
 * is something to write at lock->version; KV_BUSY: another holds it; KV_INVALID: it holds what no
 * lock writes; else why it could not be read.
 */
enum kv_status lock_state_read(struct kv_lock *lock, const struct time_limit *limit);

/*
 * Reads the key of a lock that is HELD. KV_OK: it has the id at the token; KV_NOTHELD: it has not,
 * and the handle holds the lock no longer; else why it could not be read.
 */
enum kv_status lock_state_look(struct kv_lock *lock, const struct time_limit *limit);

/*
 * Resolves an unknown write: finds that the key has moved on, spends the version on "__unlocked",
 * or settles a transaction. Afterwards the handle may turn out to hold the lock;
 * lock_state_is_unknown() is still true if it failed, and the status says why.
 */
enum kv_status lock_state_resolve(struct kv_lock *lock, const struct time_limit *limit);

#endif

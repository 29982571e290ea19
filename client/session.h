/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SESSION_H
#define SESSION_H

/*
 * session.h - the slots of the client's session: which write has which slot, and its sequence
 * number. Sends nothing: a caller that gets SLOT_OPEN opens the session. Safe to use from many
 * threads.
 */

#include "backoff.h"

enum {
	SESSION_SLOTS = 64,	 /* slots that an OPEN asks for, and the max. number used */
	SESSION_SLOTS_SPARE = 8, /* of so many (else 1) are left for writes that do not wait */
};

/* A slot that one write has. All zero (client_id 0): none. */
struct slot {
	uint64_t client_id;
	uint64_t generation; /* of the session */
	uint32_t index;
	uint64_t seq; /* of this write */
	bool waits;   /* it counts among the writes that wait */
	bool is_only; /* the session has no other slot: no write may wait on it */
};

enum slot_take {
	SLOT_HELD,    /* the caller has the slot until session_release() or session_invalidate() */
	SLOT_OPEN,    /* there is no session: the caller opens one, others wait for it */
	SLOT_TIMEOUT, /* the deadline has passed */
	SLOT_WRONG_GENERATION, /* the session is of a later generation */
};

/* What became of the write that held a slot. */
enum slot_release {
	SLOT_ANSWERED,	 /* nothing on the slot can run any more */
	SLOT_UNUSED,	 /* no attempt can have run; its sequence number is skipped */
	SLOT_UNRESOLVED, /* an attempt may have run, or may still: the next write on it ends that */
};

struct session;

/* NULL: no memory. */
struct session *session_new(void);
/* `is_child`: as clerk_free(). NULL does nothing. */
void session_free(struct session *session, bool is_child);

/*
 * Acquires a slot of the session of this generation, unresolved ones first; waits if all are held.
 * `waits`: for a write that waits for its condition: some slots are left to others, so that the
 * write which ends the waiting has one (4.14 in PROTOCOL.md), and unresolved ones come last.
 * After SLOT_OPEN call session_opened() or session_not_opened().
 */
enum slot_take session_acquire_slot(struct session *session, uint64_t generation,
				    const struct backoff *backoff, bool waits, struct slot *slot);

/* The nonce to open a session with: the same one until an OPEN is answered. */
void session_nonce(struct session *session, const struct transport *transport,
		   uint8_t nonce[NONCE_SIZE]);

/* OPEN succeeded with this response: *slot is the session's first slot. */
void session_opened(struct session *session, uint64_t generation, const struct response *response,
		    uint64_t now_ms, bool waits, struct slot *slot);

/* OPEN failed: the next call tries again. `is_answered`: the server refused it. */
void session_not_opened(struct session *session, bool is_answered);

void session_release(struct session *session, const struct slot *slot, enum slot_release end,
		     uint64_t now_ms);

/*
 * The slot's session is gone, or (is_gone is false) is used by another client too: no call begins
 * in it any more.
 */
void session_invalidate(struct session *session, const struct slot *slot, bool is_gone);

/* What writes left behind that came back KV_MAYBE. */
struct unresolved {
	uint64_t client_id; /* of the session ... */
	uint64_t slots;	  /* ... a bit for each of its slots on which such a write may still run */
	uint64_t left_id; /* a session that was given up with such a slot; 0: none */
	uint64_t left_generation;
};

void session_unresolved(struct session *session, struct unresolved *left);

/*
 * Acquires one of the slots in *left, which is then no more in it, and waits for one if all are
 * held. Those resolved meanwhile are taken off, too. slot->client_id 0: none is left. Returns false
 * at the deadline.
 */
bool session_acquire_unresolved(struct session *session, struct unresolved *left,
				const struct backoff *backoff, struct slot *slot);

/* The session that was given up is closed. */
void session_forget_left(struct session *session, uint64_t left_id);

/* The client id of the session of this generation; 0: none. */
uint64_t session_client_id(struct session *session, uint64_t generation);

#endif

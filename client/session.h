/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SESSION_H
#define SESSION_H

/*
 * session.h - the client's side of a session: which write holds which slot, and what number it
 * has. Knows nothing of links: whoever is told to opens the session. Safe to use from many threads.
 */

#include "backoff.h"

enum { SESSION_SLOTS = 64 }; /* asked of the server, and used, at most */

/* A slot in the hands of one write. All zero (client_id 0): none. */
struct slot {
	uint64_t client_id;
	uint64_t life; /* of the session */
	uint32_t index;
	uint64_t seq; /* of this write */
};

enum slot_news {
	SLOT_HELD,     /* the slot is the caller's until session_release() or session_invalidate() */
	SLOT_OPEN,     /* there is no session: the caller opens one, others wait for it */
	SLOT_TIMEOUT,     /* the deadline came */
	SLOT_WRONG_GENERATION, /* the session is of a later life */
};

/* What became of the write that held a slot. */
enum slot_end {
	SLOT_ANSWERED,	/* the slot is settled */
	SLOT_UNTOUCHED, /* no attempt can have run: its seq is used up, and nothing is settled by it
			 */
	SLOT_UNSETTLED, /* an attempt may have run, or may still: used next, to settle it soon */
};

struct session;

/* NULL: no memory. */
struct session *session_new(void);
/* `is_child`: this process was forked off the owner's, so locks are left alone. NULL is fine. */
void session_free(struct session *session, bool is_child);

/*
 * Takes a slot of the session of this life, unsettled ones first; waits for one if all are held.
 * After SLOT_OPEN call session_opened() or session_not_opened().
 */
enum slot_news session_acquire_slot(struct session *session, uint64_t life, const struct backoff *backoff,
			    struct slot *slot);

/* The nonce to open a session with: the same one until an OPEN is answered. */
void session_nonce(struct session *session, const struct transport *transport,
		   uint8_t nonce[NONCE_SIZE]);

/* The OPEN was answered so; the session's first slot is the caller's. */
void session_opened(struct session *session, uint64_t life, const struct response *response,
		    uint64_t now_ms, struct slot *slot);

/* No session came of it: the next call tries. `is_answered`: the server said no. */
void session_not_opened(struct session *session, bool is_answered);

void session_release(struct session *session, const struct slot *slot, enum slot_end end,
		     uint64_t now_ms);

/* The slot's session is gone, or not ours alone: no call begins in it any more. */
void session_invalidate(struct session *session, const struct slot *slot);

/* The client id of the session of this life; 0: none. */
uint64_t session_client_id(struct session *session, uint64_t life);

#endif

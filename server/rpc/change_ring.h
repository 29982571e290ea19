/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHANGE_RING_H
#define CHANGE_RING_H

/*
 * change_ring.h - ring of recent changes of keys, and the answers to CHANGES that it gives.
 *
 * A slot for each change, in the order of positions; a key that changes again leaves its slot empty
 * and takes a new one, so that each key is there once, with its newest version. The oldest slots
 * are dropped at a limit of slots and at one of bytes. The ring is a client's cache and no part of
 * the state: it is outside of the core and in no snapshot, and its memory is not that of the store.
 * It exists from the first CHANGES until CHANGE_RING_IDLE_MS after the last one; while it does not,
 * changes are reported to no sink.
 */

#include "core/service.h"

enum {
	CHANGE_RING_SLOTS_USUAL = 1 << 18, /* slots, unless --max-changes sets another number */
	CHANGE_RING_IDLE_MS = 300000,	   /* after the last CHANGES */
	CHANGE_RING_SHARE = 16,		   /* its memory is this part of the store's, ... */
	CHANGE_RING_BYTES_MIN = 1 << 20,   /* ... at least and ... */
	CHANGE_RING_BYTES_MAX = 64 << 20,  /* ... at most this */
	CHANGE_RING_SLOT_SHARE = 64,	   /* bytes of memory for which there is at most one slot */
	CHANGE_RING_LOOKS_MAX = 4096, /* slots that one answer looks at, so that a turn is short */
	CHANGES_PAGE_MAX = 1000,      /* keys in an answer */
	CHANGE_KEY_COST = 20, /* bytes of a reply that a key takes at most, besides its own */
};

struct change_ring;

/* `changes_max`: slots, 0: CHANGE_RING_SLOTS_USUAL. Borrows the service. NULL: no memory. */
struct change_ring *change_ring_new(struct service *service, uint32_t changes_max);
void change_ring_free(struct change_ring *ring);

/* Forgets all if no CHANGES came for CHANGE_RING_IDLE_MS. */
void change_ring_set_time(struct change_ring *ring, uint64_t now_ms);

struct changes_request {
	struct kv_bytes prefix; /* may be empty: every key */
	uint64_t since;		/* a position */
	uint32_t limit;		/* keys; 0, or more than CHANGES_PAGE_MAX: CHANGES_PAGE_MAX */
	uint32_t reply_max;	/* bytes that a reply can carry */
	const struct key_filter *filter; /* NULL: every key */
};

/*
 * The keys that changed behind `since`, each once, in the order of their last changes. KV_OK with
 * the page (change_ring_next()) in reply->value, the position up to which that holds in
 * reply->current, and in reply->more whether there may be more. An answer ends between positions:
 * the keys of one TXN are in one answer, even if they are more than `limit`. It may be empty and
 * have more behind it. With a filter the position is that of the last change shown, so that it
 * tells of no other keys, unless CHANGE_RING_LOOKS_MAX slots held none.
 *
 * KV_EPOCH; KV_TOOBIG (the prefix is longer than a key, or the keys of one position do not fit in
 * the reply); KV_COMPACTED (`since` is older than what the ring remembers, or newer than the
 * store); KV_FULL (no memory).
 */
void change_ring_answer(struct change_ring *ring, uint64_t epoch,
			const struct changes_request *request, struct reply *reply);

/*
 * A position for LIST to return under a filter: that of the last change of a key that it shows, or
 * the earliest from which CHANGES can go on, so that it tells of no other keys. 0 while no client
 * watches: the first CHANGES is KV_COMPACTED then, and the client lists again.
 */
uint64_t change_ring_last(const struct change_ring *ring, const struct key_filter *filter);

/* One key of a page; `key` is borrowed from the page. */
struct changed_key {
	struct kv_bytes key;
	uint64_t version;
	bool is_gone;
};

/* Takes the next key off the front of the page. Returns false at its end. */
bool change_ring_next(struct kv_bytes *page, struct changed_key *key);

void change_ring_add_stats(const struct change_ring *ring, struct stats *stats);

#endif

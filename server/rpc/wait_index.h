/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WAIT_INDEX_H
#define WAIT_INDEX_H

/*
 * wait_index.h - what parked calls wait for: by key, and there by distinct condition, so that a
 * write looks at a condition once, however many calls wait for it. The index owns its keys and
 * conditions, parking.c the calls.
 */

#include "core/hash_table.h"
#include "core/service.h"
#include "rpc/pairing_heap.h"

struct call;

/* WAITs for one key that know the same version of it. Never empty. */
struct watch_list {
	struct parked *first;
	struct parked *last;
	uint64_t seen;
	struct watch_list *next; /* of index->woken */
	struct watch_list *previous;
	bool is_woken;
};

/* A key that calls wait for. Invariant: it is at watchers->seen. */
struct waited_key {
	struct watch_list *watchers; /* NULL: there are none */
	struct awaited *conditions;
	uint32_t condition_count;
	uint32_t waiting; /* calls, copies not counted */
	uint32_t size;
	unsigned char key[];
};

/*
 * A condition that TXNs wait for. Invariant: `place` is among those that are able to run while it
 * holds and its queue is not empty.
 */
struct awaited {
	struct heap_node place; /* by the order of the first of the queue */
	struct pairing_heap
	    queue; /* of those that have a connection, in the order in which they came */
	struct waited_key *key;
	struct awaited *next;
	struct condition condition; /* its key and value are behind it */
	uint32_t waiting;	    /* those without a connection too */
	bool holds;
};

/* Calls of one kind that wait, in the order in which they came. */
struct parked_list {
	struct parked *first;
	struct parked *last;
};

/* A prefix that CHANGES wait for. Never without a call. */
struct waited_prefix {
	struct waited_prefix *next;
	struct parked_list calls; /* those that are not woken */
	uint32_t waiting;
	uint32_t size;
	unsigned char bytes[];
};

enum parked_kind { PARKED_WAIT, PARKED_CHANGES, PARKED_TXN };

/* A parked call: a WAIT, a CHANGES, or the first member of parking.c's TXN. */
struct parked {
	struct heap_node deadline; /* by the time in ms */
	enum parked_kind kind;
	uint32_t size;	     /* bytes that it counts */
	struct call *copies; /* but of a TXN one */
	union {
		struct waited_key *key;	      /* WAIT and TXN */
		struct waited_prefix *prefix; /* CHANGES */
	};
	union {
		struct {		       /* TXN: */
			struct heap_node turn; /* in the queue, in the order in which they came */
			struct awaited *awaited;
		};
		struct { /* WAIT and CHANGES: */
			struct parked *next;
			struct parked *previous;
			union {
				struct watch_list *list;	   /* WAIT */
				struct {			   /* CHANGES: */
					struct parked_list *calls; /* the list that it is on */
					uint64_t since;
					uint32_t limit;
				};
			};
		};
	};
};

struct wait_index {
	struct service *service;
	struct mem_account memory; /* what it has, in `used` */
	struct hash_table keys;
	struct pairing_heap able; /* of struct awaited */
	struct watch_list *woken; /* WAITs whose key is at another version, or was */
	struct watch_list *last_woken;
	struct waited_prefix *prefixes;
	uint32_t prefix_count;
	struct parked_list woken_changes; /* CHANGES under whose prefix a key has changed */
};

/* An empty index. False: no memory, and nothing to destroy. */
bool wait_index_init(struct wait_index *index, struct service *service, uint64_t seed);
void wait_index_destroy(struct wait_index *index);

/* NULL: no call waits for it. */
struct waited_key *wait_index_find(const struct wait_index *index, struct kv_bytes key);

/* The condition, if calls wait for it. */
struct awaited *wait_index_find_condition(const struct wait_index *index,
					  const struct condition *condition);

/*
 * Adds a WAIT for a version other than `seen`, at which the key is now. KV_OK; KV_FULL: no memory.
 */
enum kv_status wait_index_add_watcher(struct wait_index *index, struct parked *parked,
				      struct kv_bytes bytes, uint64_t seen);

/*
 * Adds a TXN that waits for the condition; it has no turn until wait_index_queue(). KV_OK; KV_FULL:
 * no memory, or too many distinct conditions.
 */
enum kv_status wait_index_add_txn(struct wait_index *index, struct parked *parked,
				  const struct condition *condition);

/*
 * Adds a CHANGES that waits for a change of any key that begins with `bytes`. KV_OK; KV_FULL: no
 * memory, or too many distinct prefixes.
 */
enum kv_status wait_index_add_changes(struct wait_index *index, struct parked *parked,
				      struct kv_bytes bytes);

/*
 * Whether a CHANGES is not woken: then nothing changed under its prefix since it came. One that was
 * woken asks for what changed since the position before that, and may wait on.
 */
bool wait_index_is_awaiting_changes(const struct parked *parked);
void wait_index_await_changes(struct parked *parked);

/* Takes the call out of the index. */
void wait_index_remove(struct wait_index *index, struct parked *parked);

/* A TXN has a connection, or none: by turn.key it has its turn, or is passed over. */
void wait_index_queue(struct wait_index *index, struct parked *parked);
void wait_index_pass_over(struct wait_index *index, struct parked *parked);

/*
 * A WAIT that was woken waits on: its key is at the version again that it knows. False: no memory.
 */
bool wait_index_watch_again(struct wait_index *index, struct parked *parked);

/* An operation changed this key, or may have. */
void wait_index_changed(struct wait_index *index, struct kv_bytes bytes);

/* The TXN that is to run next. NULL: none can. */
struct parked *wait_index_first_able(const struct wait_index *index);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLAN_H
#define PLAN_H

/*
 * plan.h - the calls of one key, prepared for search.h: the events in time, and what the replies
 * tell of each version beforehand.
 *
 * Versions only grow, by one with each write, and a reply names the version that it made or read.
 * So most of the order is given. What is open is which of the calls without a reply took effect,
 * and at which of the versions that no reply claims: the gaps.
 *
 * Where keys may end (struct initial_state), the end of a key is a write as well, and the next one
 * makes any version above it: in each step the versions are numbered anew then, such that as many
 * lie between two that are told of as may matter, and no more.
 */

#include "checker.h"
#include "rolling_hash.h"

/* A call that constrains the order, or may have. */
struct event_op {
	uint32_t index; /* in the history */
	enum history_op op;
	enum step_kind {
		STEP_READ,	  /* changes nothing: a Get, or a refusal that tells of the key */
		STEP_WRITE,	  /* was answered KV_OK */
		STEP_OPEN,	  /* a write that may take effect or not */
		STEP_PLACEHOLDER, /* a write that was left out: its version is made at some
				     time */
	} kind;
	enum kv_status status;
	bool has_got;
	uint64_t call_ns;
	uint64_t return_ns; /* HISTORY_OPEN for STEP_OPEN */
	uint64_t expected;
	/*
	 * Of an open call: the last gap where it may matter that it is this one that took effect.
	 * In any other it may serve as well as any, and no better.
	 */
	uint64_t useful_until;
	uint64_t version; /* that it made or saw; 0: not told, or the key was missing */
	uint64_t told;	  /* `version` and `expected` before they were numbered anew */
	uint64_t told_expected;
	enum history_test test;
	uint64_t
	    free_at; /* of a key that was found free: its version, if it was not missing; or 0 */
	uint64_t ttl_ms;
	struct kv_bytes value;
	struct kv_bytes got;
	struct digest value_digest;
	struct digest got_digest;
};

/* Fills a step from an answered or open call; false if the call tells nothing. */
bool step_from(struct event_op *step, const struct history_call *call, size_t index);

/* Whether an answer tells which version the key had or got; a missing key has version 0. */
bool step_tells_version(const struct event_op *step);

/* The key cannot end by a ttl. */
#define END_NEVER UINT64_MAX

/* The earliest time at which a ttl of a call that began at `call_ns` may be over. */
uint64_t end_of_ttl(uint64_t call_ns, uint64_t ttl_ms);

/* Where the key begins, and how it may end. */
struct initial_state {
	uint64_t version; /* 0: it is missing */
	bool is_known;	  /* its value; always so at version 0, where there is none */
	bool has_ends;	  /* keys of the store may end, so that this one may begin at any version */
	bool has_ttl;	  /* ... and this one may have a ttl ... */
	uint64_t end_ns;  /* ... from the start, which is over then or later; END_NEVER */
	uint64_t open_touch_ns; /* the same of one that an open touch may have given it */
};

enum { PLAN_NONE = UINT32_MAX };

/* What is known of one version before the search. */
struct version_info {
	uint32_t writer;    /* the step that made it, PLAN_NONE in a gap */
	bool is_seen;	    /* `value` is what stands there */
	bool is_irrelevant; /* a gap of whose value nothing can be seen */
	bool is_told;	    /* an answer tells of it */
	struct kv_bytes value;
	struct digest digest;
};

/* A call or return, in the order of time; a return comes after the calls of the same moment. */
struct event {
	uint64_t time_ns;
	uint32_t step;
	bool is_return;
};

struct plan {
	struct initial_state initial;
	bool has_filler;  /* gaps may be filled by calls that were left out */
	bool is_complete; /* each answer tells its version: nothing above version_max matters */
	uint64_t version_max;
	uint64_t number_max; /* of versions that are told of or expected, if keys may end */
	struct event_op *steps;
	size_t count;
	struct version_info *versions; /* of version initial.version + i */
	size_t version_count;
	struct event *events;
	size_t event_count;
	size_t pending_max; /* steps between call and return at one time */
};

/*
 * Takes over `steps` (from malloc). False: no memory; the steps are freed then, too. To be freed
 * with plan_free().
 */
bool plan_make(struct plan *plan, struct event_op *steps, size_t count,
	       struct initial_state initial, bool has_filler);
void plan_free(struct plan *plan);

/* The least version above this one of which an answer tells; 0: none. */
uint64_t plan_next_told(const struct plan *plan, uint64_t version);

/* What is known of a version, NULL if nothing is. */
const struct version_info *plan_version(const struct plan *plan, uint64_t version);

#endif

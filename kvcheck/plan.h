/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLAN_H
#define PLAN_H

/*
 * plan.h - the calls of one key, made ready for search.h: what happens in time, and what the
 * answers tell of each version beforehand.
 *
 * Versions only grow, by one with each write, and an answer names the version that it made or saw.
 * So most of the order is given. What is open is which of the calls without an answer took effect,
 * and at which of the versions that no answer claims: the gaps.
 */

#include "checker.h"
#include "rolling_hash.h"

/* A call that constrains the order, or may have. */
struct step {
	uint32_t index; /* in the history */
	enum history_op op;
	enum step_kind {
		STEP_READ, /* changes nothing: a Get, or a refusal that tells of the key */
		STEP_WRITE, /* was answered KV_OK */
		STEP_OPEN,  /* a write that may take effect or not */
		STEP_PLACEHOLDER, /* a write that was left out: somebody makes its version at some time */
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
	struct kv_bytes value;
	struct kv_bytes got;
	struct digest value_digest;
	struct digest got_digest;
};

/* Fills a step from an answered or open call; false if the call tells nothing. */
bool step_from(struct step *step, const struct history_call *call, size_t index);

/* Whether an answer tells which version the key had or got; a missing key has version 0. */
bool step_tells_version(const struct step *step);

/* Where the key begins. */
struct beginning {
	uint64_t version;
	bool is_known; /* its value; always so at version 0, where there is none */
};

enum { PLAN_NONE = UINT32_MAX };

/* What is known of one version before the search. */
struct fact {
	uint32_t claimer;   /* the step that made it, PLAN_NONE in a gap */
	bool is_seen;	    /* `value` is what stands there */
	bool is_irrelevant; /* a gap of whose value nothing can be seen */
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
	struct beginning beginning;
	bool has_filler;  /* gaps may be filled by calls that were left out */
	bool is_complete; /* each answer tells its version: nothing above version_most matters */
	uint64_t version_most;
	struct step *steps;
	size_t count;
	struct fact *facts; /* of version beginning.version + i */
	size_t fact_count;
	struct event *events;
	size_t event_count;
	size_t pending_most; /* steps between call and return at one time */
};

/*
 * Takes over `steps` (from malloc). False: no memory; the steps are freed then, too. To be freed
 * with plan_free().
 */
bool plan_make(struct plan *plan, struct step *steps, size_t count, struct beginning beginning,
	       bool has_filler);
void plan_free(struct plan *plan);

/* What is known of a version, NULL if nothing is. */
const struct fact *plan_fact(const struct plan *plan, uint64_t version);

#endif

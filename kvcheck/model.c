/* SPDX-License-Identifier: BSD-3-Clause */
#include "model.h"

static bool is_value(const struct search_state *state, struct digest value) {
	return !state->is_known || digest_equal(state->value, value);
}

/* Whether the version of an existing key is this one; 0: not told. No answer tells of one that
 * floats. */
static bool is_at(const struct search_state *state, uint64_t version) {
	return version == 0 || (version == state->version && !state->is_floating);
}

static bool may_be_at(const struct search_state *state, uint64_t version) {
	return is_at(state, version) || (state->is_floating && version >= state->version);
}

/* A Get, or a touch. */
static bool is_found(const struct event_op *step, const struct search_state *state) {
	if (step->status == KV_NOKEY)
		return state->is_missing;
	return !state->is_missing && is_at(state, step->version) &&
	       (!step->has_got || is_value(state, step->got_digest));
}

/* A condition: one that held, of a key that may be missing; or one that did not hold. */
static bool is_checked(const struct event_op *step, const struct search_state *state) {
	bool may_be_missing =
	    step->test == HISTORY_FREE || (step->test == HISTORY_AT && step->expected == 0);

	if (step->status == KV_OK)
		return state->is_missing ||
		       (may_be_at(state, step->free_at) && is_value(state, step->value_digest));
	if (step->status == KV_NOKEY)
		return state->is_missing && !may_be_missing;
	if (state->is_missing || !is_at(state, step->version))
		return false;
	switch (step->test) {
	case HISTORY_AT:
		return step->version != step->expected;
	case HISTORY_EXISTS:
		return false;
	case HISTORY_HOLDS:
	case HISTORY_FREE:
		return !state->is_known || !digest_equal(state->value, step->value_digest);
	}
	return false;
}

/* Whether a write is refused so, if it is refused. */
static bool is_refused(const struct event_op *step, const struct search_state *state) {
	if (state->is_missing)
		return step->status == KV_NOKEY &&
		       (step->op == HISTORY_DELETE ||
			(step->expected != HISTORY_ANY && step->expected != 0));
	return step->status == KV_VERSION && is_at(state, step->version) &&
	       step->expected != HISTORY_ANY &&
	       (state->is_floating || step->expected != state->version);
}

bool model_matches_read(const struct event_op *step, const struct search_state *state) {
	switch (step->op) {
	case HISTORY_GET:
		return is_found(step, state);
	case HISTORY_TOUCH:
		return step->status != KV_VERSION && is_found(step, state);
	case HISTORY_CHECK:
		return is_checked(step, state);
	case HISTORY_PUT:
	case HISTORY_APPEND:
	case HISTORY_DELETE:
	case HISTORY_HOLD: /* shows nothing of its key */
		break;
	}
	return is_refused(step, state);
}

void model_apply_read(const struct event_op *step, struct search_state *state) {
	uint64_t end_ns;

	if (step->op != HISTORY_TOUCH || step->status != KV_OK)
		return;
	end_ns = end_of_ttl(step->call_ns, step->ttl_ms);
	/* It is taken as soon as it may be, which is right only of the version that it tells. */
	if (state->end_ns == END_NEVER || (state->end_ns < end_ns && step->version != 0))
		state->end_ns = end_ns;
}

bool model_can_apply(const struct plan *plan, const struct event_op *step,
		     const struct search_state *state) {
	uint64_t made = step->kind == STEP_WRITE ? step->version : 0;
	bool is_next = made == 0 || made == state->version + 1;
	bool is_above = made == 0 || made > state->version;

	if (state->is_missing) {
		if (step->op == HISTORY_DELETE ||
		    (step->expected != HISTORY_ANY && step->expected != 0) ||
		    (plan->initial.has_ends ? !is_above : !is_next))
			return false;
	} else if (state->is_floating) {
		if (!is_above ||
		    (step->expected != HISTORY_ANY &&
		     (made == 0 ? step->expected < state->version : step->expected != made - 1)))
			return false;
	} else if (!is_next ||
		   (step->expected != HISTORY_ANY && step->expected != state->version)) {
		return false;
	}
	return !step->has_got || step->kind != STEP_WRITE || is_value(state, step->got_digest);
}

void model_end(uint64_t version, struct search_state *state) {
	state->version = version;
	state->value = (struct digest){0};
	state->is_known = true;
	state->is_missing = true;
	state->is_floating = false;
	state->end_ns = END_NEVER;
}

void model_apply(const struct event_op *step, uint64_t version, bool is_floating,
		 struct search_state *state) {
	if (step->op == HISTORY_DELETE) {
		model_end(version, state);
		return;
	}
	if (step->op == HISTORY_PUT) {
		state->value = step->value_digest;
		state->is_known = true;
		state->end_ns =
		    step->ttl_ms == 0 ? END_NEVER : end_of_ttl(step->call_ns, step->ttl_ms);
	} else {
		/* Of a missing key the value is empty. */
		state->value = rolling_hash_concat(state->value, step->value_digest);
	}
	state->version = version;
	state->is_missing = false;
	state->is_floating = is_floating;
}

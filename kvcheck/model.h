/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MODEL_H
#define MODEL_H

/*
 * model.h - the model of a key: what each call reads and does in a state (docs/PROTOCOL.md,
 * "Versions").
 *
 *	expected	key exists at v			key missing
 *	KV_ANY		writes v + 1			writes 1, or above all before if keys may
 *end 0		KV_VERSION			likewise n > 0		n = v: writes v + 1,
 *KV_NOKEY else KV_VERSION
 *
 * A delete is a write that needs a key, and makes it missing; so is the end of a ttl.
 */

#include "plan.h"
#include "state_set.h"

/*
 * Whether a call that changes nothing gives its answer in this state. A value that is not known is
 * taken to be the one that was seen; where a version tells what was, the search has looked.
 */
bool model_matches_read(const struct event_op *step, const struct search_state *state);

/* What such a call changes nevertheless: the end of a key, of a touch. */
void model_apply_read(const struct event_op *step, struct search_state *state);

/* Whether a write takes effect in this state, with its answer if it has one. */
bool model_can_apply(const struct plan *plan, const struct event_op *step,
		     const struct search_state *state);

/* The state that it makes there, at this version, or at that one or above if `is_floating`. */
void model_apply(const struct event_op *step, uint64_t version, bool is_floating,
		 struct search_state *state);

/* The key is gone, at this version. */
void model_end(uint64_t version, struct search_state *state);

#endif

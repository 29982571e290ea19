/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RULES_H
#define RULES_H

/* rules.h - the model: what a call sees, and does, in a state of its key. DESIGN: "Versions". */

#include "state_set.h"
#include "plan.h"

/*
 * Whether a call that changes nothing gives its answer in this state. A value that is not known is
 * taken to be the one that was seen; where a version tells what was, the search has looked.
 */
bool model_matches_read(const struct step *step, const struct place *place);

/* Whether a write takes effect in this state, with its answer if it has one. */
bool model_can_apply(const struct step *step, const struct place *place);

/* The value that it makes there. */
void model_apply(const struct step *step, struct place *place);

#endif

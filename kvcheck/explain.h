/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXPLAIN_H
#define EXPLAIN_H

/* explain.h - the reason, as text, why the few calls of a plan cannot be ordered. */

#include "plan.h"

/* One line without a full stop. */
void explain(const struct plan *plan, char reason[CHECKER_REASON_MAX]);

#endif

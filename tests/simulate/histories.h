/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORIES_H
#define HISTORIES_H

/* histories.h - whether all that was done can be put in one order: kvcheck/checker.h is asked. */

#include "deeds.h"

/*
 * Of each store there was: a durable one is served by all lives of the server, one in memory by one
 * life. A write in doubt may have come to any store that there was during the call.
 */
void judge_histories(const struct deeds *deeds, bool is_durable, uint64_t lives);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHECK_HISTORIES_H
#define CHECK_HISTORIES_H

/*
 * check_histories.h - checks that the recorded operations are linearizable, with kvcheck/checker.h.
 */

#include "op_log.h"

/*
 * Of each store there was: a durable one is served by all generations of the server, one in memory
 * by one generation. A write in doubt may have come to any store that there was during the call.
 */
void check_histories(const struct op_log *op_log, bool is_durable, uint64_t generations);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SHRINK_H
#define SHRINK_H

/*
 * shrink.h - the reduction of a key's calls that cannot be ordered to few of them that cannot.
 *
 * A call is never just removed: without a write that happened, what was read of it would be wrong.
 * A call that is left out leaves behind what it may have done, whatever and whenever that was. So
 * a part that cannot be ordered proves that the whole cannot.
 */

#include "search.h"

/*
 * `steps` are all steps of the key, for which the search was stuck. Fills calls, call_count,
 * start_version, is_shortest and reason of the report. False: no memory.
 */
bool shrink(const struct event_op *steps, size_t count, struct initial_state initial,
	    struct search_limits *limits, struct checker_report *report);

#endif

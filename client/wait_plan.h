/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WAIT_PLAN_H
#define WAIT_PLAN_H

/*
 * wait_plan.h - times of a call that waits on the server: how long in each of its copies, so that
 * some time is left to learn the outcome.
 */

#include "backoff.h"

enum {
	COPY_WAIT_MAX_MS = 60000, /* one copy waits no longer: KV1_WAIT_MAX of kv.x */
	COPY_WAIT_PARTS = 3,	  /* the next copy is sent when such a part of its time is over */
};

/* Until when a call that may wait for wait_ms from now does so. */
uint64_t wait_plan_end(const struct backoff *backoff, unsigned wait_ms);

/*
 * What the copy that is sent now may wait, of a call that waits until `end_ms`; 0: the time is up,
 * it runs now or never. Returns until when its reply is awaited: a part of that, for another copy
 * begins the time anew; all of it and a little, if it is short.
 */
uint64_t wait_plan_copy(const struct backoff *backoff, uint64_t end_ms, uint32_t *copy_wait_ms);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COND_WAIT_H
#define COND_WAIT_H

/* cond_wait.h - waits for a condition variable until the deadline of a call. */

#include <pthread.h>

#include "backoff.h"

/* Prepares a condition for cond_wait_until(). */
void cond_wait_init(pthread_cond_t *condition);

/* Waits with the mutex held. Returns false at the deadline; true: check the condition again. */
bool cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
		     const struct backoff *backoff);

#endif

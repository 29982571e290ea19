/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WAIT_H
#define WAIT_H

/* wait.h - waiting for another thread of this process, as long as a call has time. */

#include <pthread.h>

#include "backoff.h"

/* Prepares a condition for cond_wait_until(). */
void cond_wait_init(pthread_cond_t *condition);

/* Waits with the mutex held. False: the deadline has come. True: look again, something changed. */
bool cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct backoff *backoff);

#endif

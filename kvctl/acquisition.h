/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACQUISITION_H
#define ACQUISITION_H

/*
 * acquisition.h - kv_lock_acquire() in a thread of its own, so that signals are noticed while it
 * waits. SIGCHLD reports its end.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <kv/lock.h>

/* Laid out by the caller. */
struct acquisition {
	struct kv_lock *lock;
	unsigned timeout_ms;
	enum kv_status status;
	atomic_bool is_over;
	pthread_t thread;
};

/* Begins to wait, for timeout_ms (0: forever). All signals are blocked. False: no thread. */
bool acquisition_begin(struct acquisition *acquisition, struct kv_lock *lock, unsigned timeout_ms);

/* True once it ended by itself. */
bool acquisition_is_over(const struct acquisition *acquisition);

/* Interrupts it if it is not over, and returns how kv_lock_acquire() ended. */
enum kv_status acquisition_end(struct acquisition *acquisition);

#endif

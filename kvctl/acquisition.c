/* SPDX-License-Identifier: BSD-3-Clause */
#include "acquisition.h"

#include <signal.h>
#include <unistd.h>

static void *acquire(void *context) {
	struct acquisition *acquisition = context;

	acquisition->status = kv_lock_acquire(acquisition->lock, acquisition->timeout_ms);
	atomic_store(&acquisition->is_over, true);
	(void)kill(getpid(), SIGCHLD);
	return NULL;
}

bool acquisition_begin(struct acquisition *acquisition, struct kv_lock *lock, unsigned timeout_ms) {
	acquisition->lock = lock;
	acquisition->timeout_ms = timeout_ms;
	atomic_init(&acquisition->is_over, false);
	return pthread_create(&acquisition->thread, NULL, acquire, acquisition) == 0;
}

bool acquisition_is_over(const struct acquisition *acquisition) {
	return atomic_load(&acquisition->is_over);
}

enum kv_status acquisition_end(struct acquisition *acquisition) {
	if (!acquisition_is_over(acquisition))
		kv_lock_interrupt(acquisition->lock);
	(void)pthread_join(acquisition->thread, NULL);
	return acquisition->status;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEASE_H
#define LEASE_H

/*
 * lease.h - Lease of a lock while COMMAND runs. A thread of its own renews it, so that a server
 * that does not reply holds up neither signals nor the end of the lease; one other thread looks at
 * it. All is by CLOCK_BOOTTIME, which goes on while kvctl is stopped and the machine is suspended.
 */

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <kv/lock.h>

enum lease_state {
	LEASE_HELD,
	LEASE_ENDING, /* no more left than kill_after_ms: it is not renewed any more */
	LEASE_OVER,   /* another may hold the lock */
};

/* Laid out by the caller. */
struct lease {
	unsigned ttl_ms;
	unsigned kill_after_ms;
	enum lease_state state;
	bool is_refused;       /* the server said that the lock is lost */
	enum kv_status status; /* of the last renewal */

	/* Inside. While the thread runs the handle is the thread's; the rest is under the mutex. */
	struct kv_lock *lock;
	timer_t timer;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_due;
	bool is_ended;
	double renew_at_ms;
	double end_ms; /* from then on the lock may be another's */
};

/*
 * Begins to renew the lease of a lock that is held, a fourth of ttl_ms after each renewal. All
 * signals are blocked. False, and nothing was begun: no memory, or no thread.
 */
bool lease_begin(struct lease *lease, struct kv_lock *lock, unsigned ttl_ms,
		 unsigned kill_after_ms);

/*
 * Returns the state, and has the lease renewed if that is due. SIGCHLD reports when to look again:
 * a renewal ended, or the next state or renewal is due. A state never goes back.
 */
enum lease_state lease_look(struct lease *lease);

/* Stops renewing: the handle is the caller's again. Waits for a renewal that is under way. */
void lease_end(struct lease *lease);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOOKUP_H
#define LOOKUP_H

/*
 * lookup.h - looks up the addresses of a host name, with a deadline that getaddrinfo(3) lacks. The
 * call runs in a helper thread with all signals blocked; a lookup that is not done by the deadline
 * stays pending, and the next call waits for it, so there is at most one thread for each *pending.
 * An address in numbers needs no thread. One thread at a time uses a *pending.
 */

#include <netdb.h>
#include <stdint.h>

/* A lookup under way, shared by the caller and the helper thread. */
struct lookup;

enum {
	LOOKUP_PENDING = 1, /* returned instead of an EAI_* code */

	/* Helper threads in a process; above that EAI_SYSTEM with EAGAIN. */
	LOOKUP_THREADS_MAX = 64,
};

/*
 * Looks `host` up for sockets of type `socktype`. *pending is NULL, or the lookup of the same
 * arguments that an earlier call left. Returns
 *   0: *found is the result, to be freed with freeaddrinfo();
 *   an EAI_* code of getaddrinfo(), with errno set if it is EAI_SYSTEM;
 *   LOOKUP_PENDING: not done by `deadline_ms`; call again, or lookup_abandon().
 */
int lookup_host(struct lookup **pending, const char *host, int socktype, uint64_t deadline_ms,
		struct addrinfo **found);

/* Leaves the lookup to its thread, which ends when the resolver gives up. NULL does nothing. */
void lookup_abandon(struct lookup *pending);

#endif

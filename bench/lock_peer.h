/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_PEER_H
#define LOCK_PEER_H

/*
 * lock_peer.h - a contender for one lock in a system: kv, kv-poll (a handle without a session,
 * which polls), redis (SET NX, retried after a millisecond), etcd (its lock by JSON), flock (of a
 * file). A thread uses it.
 */

#include <stdbool.h>

struct lock_peer;

/*
 * `address`: of the server; of flock a file, which is made. To be freed with lock_peer_close().
 * NULL: it failed, and an error line says why.
 */
struct lock_peer *lock_peer_open(const char *system, const char *address);
void lock_peer_close(struct lock_peer *peer);

/* Waits for the lock. False: it failed, and an error line says why. So for the release. */
bool lock_peer_acquire(struct lock_peer *peer);
bool lock_peer_release(struct lock_peer *peer);

/* An empty call; of flock and peers without one nothing. */
bool lock_peer_ping(struct lock_peer *peer);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LISTENER_H
#define LISTENER_H

/* listener.h - the sockets that kvd is reached at, and the connections that come in there. */

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "address.h"
#include "net/event_handler.h"

struct streams;

enum { LISTENERS_MAX = 64, ACCEPT_BACKOFF_MS = 100 };

/* One bound socket: a listening one (tcp, local), or a udp socket. */
struct listener {
	struct watch watch;
	struct address address; /* as bound: a numeric host, the port that it got */
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_size;
	dev_t device; /* of a local socket's path, with its inode: */
	ino_t inode;
	struct listeners *all;
	struct streams *streams; /* where accepted connections go; NULL for udp */
	bool has_warned;
	int spare; /* a descriptor to give up when none is left to accept with */
};

/* They must stay where they are from listeners_serve() to listeners_close(). */
struct listeners {
	struct listener list[LISTENERS_MAX];
	unsigned count;
	struct watch rest; /* a timer: until it rings, nothing is accepted; fd -1: there is none */
	int epoll;
};

/*
 * Binds every address: a host name at each of its addresses, port 0 at any free port (the same for
 * tcp and udp if it can be). False: one of them cannot be had; one line was logged that says which,
 * why and what to do, and nothing stays bound.
 */
bool listeners_open(struct listeners *listeners, const struct address *addresses, unsigned count);

/*
 * Binds the usual places: tcp and udp on 127.0.0.1 and ::1, and a local socket at /run/kvd.sock, or
 * $XDG_RUNTIME_DIR/kvd.sock for a user. What the machine does not have (IPv6) or the user may not
 * (a socket in /run) is left out. False as above.
 */
bool listeners_open_default(struct listeners *listeners);

/*
 * Accepts into `streams` whatever comes in, watched in `epoll`. When the machine has no memory or
 * descriptors for more, nothing is accepted for ACCEPT_BACKOFF_MS. False: logged.
 */
bool listeners_serve(struct listeners *listeners, int epoll, struct streams *streams);

/* From now on whoever connects is refused at once. Addresses and paths stay taken. */
void listeners_shutdown(struct listeners *listeners);

/*
 * Closes them all but udp sockets that somebody took (fd -1), and removes the local sockets, unless
 * another server has put its own there.
 */
void listeners_close(struct listeners *listeners);

/*
 * For a signal that ends the process: removes the local sockets as listeners_close() does, and
 * nothing else. Async-signal-safe, also in the middle of any of these functions, if `listeners` was
 * zeroed before the first.
 */
void listeners_unlink_sockets(const struct listeners *listeners);

#endif

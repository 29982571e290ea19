/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LISTENER_H
#define LISTENER_H

/*
 * listener.h - the sockets that clients reach kvd at: listening ones (tcp, local) that connections
 * are accepted from, and udp sockets.
 */

#include <stdbool.h>
#include <sys/socket.h>

#include "address.h"
#include "log_limit.h"
#include "net/event_handler.h"
#include "net/local_socket.h"

struct streams;

enum { LISTENERS_MAX = 64, ACCEPT_BACKOFF_MS = 100 };

/* One bound socket. */
struct listener {
	struct event_handler handler;
	struct address address; /* as bound: a numeric host, the port that it got */
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_size;
	struct local_socket local; /* of kind ADDRESS_LOCAL */
	struct listeners *all;
	struct streams *streams; /* where accepted connections go; NULL for udp */
	int reserve_fd;		 /* closed to accept with when no descriptor is left */
};

/* It must not be moved from listeners_serve() to listeners_close(). */
struct listeners {
	struct listener list[LISTENERS_MAX];
	unsigned count;
	struct event_handler accept_timer; /* accepting pauses until it expires; fd -1: none */
	int epoll;
	struct log_limit warnings;
};

/*
 * Binds every address: a host name at each of its addresses, port 0 at any free port (the same for
 * tcp and udp if possible). False if one of them cannot be bound: one line was logged that says
 * which, why and what to do, and nothing stays bound.
 */
bool listeners_open(struct listeners *listeners, const struct address *addresses, unsigned count);

/*
 * Binds the default addresses: tcp and udp on 127.0.0.1 and ::1, and a local socket at
 * /run/kvd.sock for root, $XDG_RUNTIME_DIR/kvd.sock for other users. Addresses that the machine
 * does not have (IPv6) are left out. False as above.
 */
bool listeners_open_default(struct listeners *listeners);

/*
 * Accepts connections into `streams`, with `epoll`. When the machine has no memory or descriptors
 * for more, accepting pauses for ACCEPT_BACKOFF_MS. False: logged.
 */
bool listeners_serve(struct listeners *listeners, int epoll, struct streams *streams);

/* Removes the local sockets, and has every later connect() refused at once. Ports stay bound. */
void listeners_shutdown(struct listeners *listeners);

/*
 * Closes all sockets but those that the caller took (fd -1), and removes the local sockets, unless
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

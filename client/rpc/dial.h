/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DIAL_H
#define DIAL_H

/*
 * dial.h - connects a socket to one of several endpoints by a deadline (Happy Eyeballs, RFC 8305).
 * Owns nothing afterwards: the socket is the caller's. Any thread may call it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	SOCKET_SENT_MAX = 8, /* messages in one system call */
	ENDPOINT_MAX = 16,   /* endpoints of one host that are tried; the rest is left out */

	/* The Connection Attempt Delay of RFC 8305, section 8. */
	DIAL_STAGGER_MS = 250,
};

/* A socket address and the type of its socket. */
struct endpoint {
	bool is_stream;
	socklen_t size;
	struct sockaddr_storage address;
};

/*
 * Connects to the endpoint that accepts first. The next one is tried as soon as one fails, and
 * while one stays silent after DIAL_STAGGER_MS, or less if there are many and little time.
 *
 * Returns the socket: non-blocking, closed on exec, TCP_NODELAY if it is tcp; *connected, unless
 * NULL, is the index of its endpoint. -1 with errno set: the error of the endpoint that failed
 * last, or ETIMEDOUT if one was silent until `deadline_ms`.
 */
int dial(const struct endpoint endpoints[], size_t count, uint64_t deadline_ms, size_t *connected);

/* The inode of an open socket; 0 if `fd` is none. */
ino_t socket_inode(int fd);

/*
 * Closes a socket if `fd` is still the one with that inode. A child of fork() that has closed all
 * its descriptors, as a daemon does, may have opened another file under the number.
 */
void socket_close(int fd, ino_t inode);

/*
 * Lets recv() wait by itself, for at most `ms` (below 1000): a reader that waits so needs one
 * system call where poll() and recv() are two. Whatever has MSG_DONTWAIT is not changed by this.
 * Returns false if poll() is needed.
 */
bool socket_let_receive_block(int fd, unsigned ms);

/*
 * As sendmsg() without blocking, but each of the parts, at most SOCKET_SENT_MAX, is a datagram.
 * Returns the bytes of those that were sent.
 */
ssize_t socket_send_datagrams(int fd, struct iovec *parts, size_t count);

/* The port of an IPv4 or IPv6 endpoint, in host order; 0 of any other. */
void endpoint_set_port(struct endpoint *endpoint, uint16_t port);
uint16_t endpoint_port(const struct endpoint *endpoint);

/* Whether it is an address of this machine's loopback interface. */
bool endpoint_is_loopback(const struct endpoint *endpoint);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DIAL_H
#define DIAL_H

/* dial.h - connects a socket to one place, by a deadline. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* A socket address, and how it is spoken to. */
struct place {
	bool is_stream;
	socklen_t size;
	struct sockaddr_storage address;
};

/*
 * A connected socket, non-blocking and closed on exec, for the caller to close; without delay
 * (TCP_NODELAY) if it is tcp. -1 with errno set: refused, or ETIMEDOUT at `deadline_ms`.
 */
int dial(const struct place *place, uint64_t deadline_ms);

/* The port of an IPv4 or IPv6 place, in host order. */
void place_set_port(struct place *place, uint16_t port);

/* Whether it is an address of this machine's loopback interface. */
bool place_is_loopback(const struct place *place);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DATAGRAM_H
#define DATAGRAM_H

/*
 * datagram.h - the clients of a route over udp: for each source address a socket to the server, so
 * that replies find their way back.
 */

#include "network.h"

/* Takes every datagram that waits at the route's socket. */
void datagrams_receive(struct route *route);

#endif

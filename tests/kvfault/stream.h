/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STREAM_H
#define STREAM_H

/*
 * stream.h - connections of a route over tcp or a local socket: for each client's one to the
 * server. They carry records (RFC 5531, 11): only complete ones are passed on.
 */

#include "network.h"

/* Takes every client that waits at the route's socket, as long as there are descriptors. */
void streams_accept(struct route *route);

#endif

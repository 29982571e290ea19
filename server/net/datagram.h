/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_DATAGRAM_H
#define TRANSPORT_DATAGRAM_H

/*
 * transport_datagram.h - calls over udp: one socket for each address, one call for each datagram,
 * answered from the address that the call was sent to. An answer that the kernel does not take is
 * dropped: the peer asks again.
 */

#include <stdint.h>

#include "core/buffer.h"

struct dispatch;
struct datagrams;

struct datagram_counters {
	uint64_t received;
	uint64_t rubbish; /* no RPC call */
	uint64_t unsent;  /* answers that the kernel did not take */
};

/*
 * Serves a bound, non-blocking udp socket of family AF_INET or AF_INET6, watched in `epoll`. It is
 * the datagrams' from now on. NULL: no memory, or the socket cannot be set up (logged; the socket
 * is closed). datagrams_free() closes it; NULL is fine.
 */
struct datagrams *datagrams_new(int epoll, int fd, int family, struct dispatch *dispatch);
void datagrams_free(struct datagrams *datagrams);

/* No more calls are taken until it is over: the journal is behind. */
void datagrams_pause(struct datagrams *datagrams, bool is_paused);

/* Adds its counters. */
void datagrams_get_stats(const struct datagrams *datagrams, struct datagram_counters *counters);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DATAGRAM_H
#define DATAGRAM_H

/*
 * datagram.h - calls over udp: one socket for each address, one call in each datagram, the reply
 * sent from the address that the call was sent to. A reply that the kernel does not take is
 * dropped, and the client sends its call again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/buffer.h"

#include "net/stream.h"

struct dispatch;
struct stats;
struct datagrams;

/*
 * Serves a bound, non-blocking udp socket of family AF_INET or AF_INET6, watched in `epoll`, and
 * takes it over. NULL: no memory, or the socket cannot be set up (logged; the socket is closed).
 * datagrams_free() closes it; NULL is fine.
 */
struct datagrams *datagrams_new(int epoll, int fd, int family, struct dispatch *dispatch);
void datagrams_free(struct datagrams *datagrams);

/* Whether calls may come over udp, where there is no TLS. At the beginning: TLS_OFFER, they may. */
void datagrams_set_policy(struct datagrams *datagrams, enum tls_policy policy);

/* While it is paused no calls are received: the journal is backlogged. */
void datagrams_pause(struct datagrams *datagrams, bool is_paused);

/* Returns whether all datagrams that were there were received in this turn. */
bool datagrams_took_all(struct datagrams *datagrams);

/* Adds what it counts. */
void datagrams_add_stats(const struct datagrams *datagrams, struct stats *stats);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROXY_H
#define PROXY_H

/*
 * proxy.h - a bad network between a client and a server: it cuts connections anywhere, and loses,
 * repeats and holds back datagrams. A thread; what goes wrong in it fails the test.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "server.h"

struct proxy {
	pthread_t thread;
	atomic_bool is_over;
	int fd; /* listens, or receives datagrams */
	uint16_t port;
	const struct server *server;
	uint64_t chance; /* state of a generator: the same faults for the same seed */
	atomic_uint faults;
};

/* Stands between clients and the server's VIA_TCP or VIA_UDP, on a port of 127.0.0.1. */
void proxy_start(struct proxy *proxy, const struct server *server, enum via via, uint64_t seed);

/* Ends it, with all connections through it. Answers how many faults there were. */
unsigned proxy_stop(struct proxy *proxy);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SVC_RUN_H
#define SVC_RUN_H

/*
 * svc_run.h - the turn: receive, run, answer. One thread; it never blocks on a peer.
 *
 * A turn takes what is ready on every socket, runs the calls in memory as they come, and then sends
 * each connection everything that it is owed, in one go.
 */

#include <stdbool.h>

#include "storage/huge_pages.h"
#include "storage/journal.h"
#include "net/listener.h"
#include "core/service.h"
#include "storage/snapshotter.h"
#include "net/stream.h"

struct server;

struct server_options {
	uint32_t program;
	struct journal *journal; /* NULL: everything is in memory only, else with: */
	struct snapshotter *snapshotter;
	struct heap *heap; /* what forks */
	uint64_t replayed; /* as in turn.h */
	uint64_t time_ms;  /* logged last: the server's time goes on from there */
	struct stream_limits streams;
};

/*
 * A server of `service` at `listeners` (whose udp sockets become the server's). NULL: no memory, or
 * the kernel refused (logged). server_free() closes all connections; NULL is fine. Both others must
 * outlive it.
 */
struct server *server_new(struct service *service, struct listeners *listeners,
			  const struct server_options *options);
void server_free(struct server *server);

/* Serves until SIGTERM or SIGINT comes, which must be blocked in all threads. False: logged. */
bool svc_run_turns(struct server *server);

#endif

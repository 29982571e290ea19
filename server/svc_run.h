/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SVC_RUN_H
#define SVC_RUN_H

/*
 * svc_run.h - the event loop: sockets, signals, the journal's events. One thread runs it, and never
 * blocks on a peer.
 *
 * A turn is one iteration. It receives what is ready on each socket, runs the calls in memory as
 * they come, and then sends each connection all its replies at once.
 */

#include <stdbool.h>

#include "core/service.h"
#include "net/listener.h"
#include "net/stream.h"
#include "storage/huge_pages.h"
#include "storage/journal.h"
#include "storage/snapshotter.h"

struct acl;
struct server;
struct tls_files;

struct server_options {
	uint32_t program;
	struct journal *journal; /* NULL: everything is in memory only, else with: */
	struct snapshotter *snapshotter;
	struct vfs *vfs;		   /* where its snapshots are */
	struct huge_pages *heap;	   /* what forks */
	uint64_t replayed;		   /* as in turn.h */
	uint32_t changes_max;		   /* likewise */
	unsigned waiting_max;		   /* as in turn.h */
	uint32_t sessions_each;		   /* likewise */
	const char *acl_path;		   /* of the rules, for SIGHUP; NULL: there are none */
	struct acl **acl;		   /* the rules, which SIGHUP replaces; borrowed */
	const struct tls_files *tls_files; /* for SIGHUP, if streams.credentials is not NULL */
	uint64_t time_ms;		   /* logged last: the server's time goes on from there */
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_fuzz.c - whatever peers send over connections: records, RPC headers, arguments, calls.
 *
 * The first byte of an input says in pieces of which size the rest arrives, at two connections at
 * the same time. Everything between the socket and the store is the server's own; chance is not, so
 * that an input always means the same.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/service.h"
#include "net/event_handler.h"
#include "net/peer.h"
#include "net/stream.h"
#include "rpc/dispatch.h"

#define FUZZ_IDS
#include "fuzz.h"

enum {
	EVENTS = 4,
	TURNS_MAX = 4096,
	PEERS = 2, /* as many as may connect: what they send is run together */
};

struct scene {
	int epoll;
	int peers[PEERS];
	struct service *service;
	struct dispatch *dispatch;
	struct streams *streams;
};

static void begin(struct scene *scene) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 4096, .memory_max = 1 << 20, .sessions_max = 4, .lease_ms = 1000};
	static const struct stream_limits streams = {.connections_max = PEERS, .held_max = 1 << 20};
	static const struct journal_sink nowhere = {0};
	static const struct dispatch_hooks others = {0};

	last_id = 0;
	scene->epoll = epoll_create1(EPOLL_CLOEXEC);
	must(scene->epoll >= 0);
	scene->service = service_new(&identity, &limits, &nowhere);
	must(scene->service != NULL);
	scene->dispatch = dispatch_new(scene->service, 0x20004b56, &others);
	must(scene->dispatch != NULL);
	scene->streams = streams_new(scene->epoll, &streams, scene->dispatch, scene->service);
	must(scene->streams != NULL);
	dispatch_set_time(scene->dispatch, 1);
	streams_set_time(scene->streams, 1);
	for (unsigned i = 0; i < PEERS; i++) {
		const struct peer_name name = {.kind = ADDRESS_LOCAL};
		int ends[2];

		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
		scene->peers[i] = ends[0];
		streams_add(scene->streams, ends[1], &name);
	}
}

static void end(struct scene *scene) {
	streams_free(scene->streams);
	dispatch_free(scene->dispatch);
	service_free(scene->service);
	for (unsigned i = 0; i < PEERS; i++)
		(void)close(scene->peers[i]);
	(void)close(scene->epoll);
}

/* Receives replies. Sets *took if there were any. False if the server closed a connection. */
static bool take_answers(const struct scene *scene, bool *took) {
	char answers[4096];

	*took = false;
	for (unsigned i = 0; i < PEERS; i++) {
		ssize_t got = recv(scene->peers[i], answers, sizeof(answers), 0);

		if (got == 0)
			return false;
		*took = *took || got > 0;
	}
	return true;
}

/* Lets the server do all that it can, and takes its replies. False if it closed a connection. */
static bool turns(struct scene *scene) {
	struct epoll_event events[EVENTS];
	bool took;

	for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
		int count = epoll_wait(scene->epoll, events, EVENTS, 0);

		for (int i = 0; i < count; i++) {
			struct event_handler *watch = events[i].data.ptr;

			watch->ready(watch, events[i].events);
		}
		streams_run_received(scene->streams);
		streams_flush(scene->streams);
		if (!take_answers(scene, &took))
			return false;
		if (count <= 0 && !took)
			return true;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct scene scene;

	if (size == 0)
		return 0;
	size_t most = data[0] == 0 ? size : data[0];

	begin(&scene);
	for (size_t at = 1; at < size;) {
		size_t piece = size - at < most ? size - at : most;

		for (unsigned i = 0; i < PEERS; i++)
			(void)send(scene.peers[i], data + at, piece, MSG_NOSIGNAL);
		at += piece;
		if (!turns(&scene))
			break;
	}
	end(&scene);
	return 0;
}

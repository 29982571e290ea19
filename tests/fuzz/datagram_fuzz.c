/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * datagram_fuzz.c - calls over udp: RPC headers, credentials, arguments, and replies to them.
 *
 * An input is a row of datagrams, each with its size before it in two bytes. They come from two
 * peers in turn, over sockets of the loopback interface. Everything between the socket and the
 * store is the server's own; chance is not, so that an input always means the same.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/service.h"
#include "net/datagram.h"
#include "net/event_handler.h"
#include "rpc/dispatch.h"

#define FUZZ_IDS
#include "fuzz.h"

enum {
	PEERS = 2,
	DATAGRAMS_MAX = 64, /* of one input */
	TURNS_MAX = 16,
};

struct scene {
	int epoll;
	int peers[PEERS];
	struct service *service;
	struct dispatch *dispatch;
	struct datagrams *datagrams;
};

static int open_socket(struct sockaddr_in *address) {
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*address);

	*address =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(fd >= 0 && bind(fd, (struct sockaddr *)address, size) == 0);
	must(getsockname(fd, (struct sockaddr *)address, &size) == 0);
	return fd;
}

static void begin(struct scene *scene) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 4096, .memory_max = 1 << 20, .sessions_max = 4, .lease_ms = 1000};
	static const struct journal_sink nowhere = {0};
	static const struct dispatch_hooks others = {0};
	struct sockaddr_in address, own;
	int server = open_socket(&address);

	last_id = 0;
	scene->epoll = epoll_create1(EPOLL_CLOEXEC);
	must(scene->epoll >= 0);
	scene->service = service_new(&identity, &limits, &nowhere);
	must(scene->service != NULL);
	scene->dispatch = dispatch_new(scene->service, 0x20004b56, &others);
	must(scene->dispatch != NULL);
	scene->datagrams = datagrams_new(scene->epoll, server, AF_INET, scene->dispatch);
	must(scene->datagrams != NULL);
	dispatch_set_time(scene->dispatch, 1);
	for (unsigned i = 0; i < PEERS; i++) {
		scene->peers[i] = open_socket(&own);
		must(connect(scene->peers[i], (struct sockaddr *)&address, sizeof(address)) == 0);
	}
}

static void end(struct scene *scene) {
	datagrams_free(scene->datagrams);
	dispatch_free(scene->dispatch);
	service_free(scene->service);
	for (unsigned i = 0; i < PEERS; i++)
		(void)close(scene->peers[i]);
	(void)close(scene->epoll);
}

/* Lets the server do all that it can. No call makes more than one reply. */
static void turns(struct scene *scene, unsigned *owed) {
	struct epoll_event event;
	char reply[65536];

	for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
		if (epoll_wait(scene->epoll, &event, 1, 0) <= 0)
			break;
		struct event_handler *handler = event.data.ptr;

		handler->ready(handler, event.events);
	}
	for (unsigned i = 0; i < PEERS; i++) {
		while (recv(scene->peers[i], reply, sizeof(reply), 0) >= 0) {
			must(*owed > 0);
			(*owed)--;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct scene scene;
	unsigned owed = 0;
	size_t at = 0;

	begin(&scene);
	for (unsigned i = 0; i < DATAGRAMS_MAX && size - at >= 2; i++) {
		size_t left = size - at - 2;
		size_t piece = (size_t)data[at] << 8 | data[at + 1];

		if (piece > left)
			piece = left;
		if (send(scene.peers[i % PEERS], data + at + 2, piece, MSG_NOSIGNAL) >= 0)
			owed++;
		at += 2 + piece;
		if (i % PEERS == PEERS - 1)
			turns(&scene, &owed);
	}
	turns(&scene, &owed);
	end(&scene);
	return 0;
}

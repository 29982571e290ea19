/* SPDX-License-Identifier: BSD-3-Clause */
#include "svc_run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "counters.h"
#include "dispatch.h"
#include "log.h"
#include "transport_datagram.h"

enum {
	EVENTS_A_TURN = 256,
	EXPIRIES_A_TURN = 256, /* sessions that end, so that a turn stays short */
	DRAIN_MS = 1000,       /* for answers still on their way when the server stops */
};

struct server {
	int epoll;
	struct watch signals;
	bool is_stopping;
	uint64_t start_ms;
	struct service *service;
	struct dispatch *dispatch;
	struct streams *streams;
	struct datagrams *datagrams[LISTENERS_MAX];
	unsigned datagrams_count;
};

/* --- Making one ---------------------------------------------------------------------------- */

static void count_transports(void *context, struct counters *counters) {
	const struct server *server = context;
	struct stream_counters streams;
	struct datagram_counters datagrams = {0};

	streams_count(server->streams, &streams);
	for (unsigned i = 0; i < server->datagrams_count; i++)
		datagrams_count(server->datagrams[i], &datagrams);
	counters_add(counters, "connections", streams.connections);
	counters_add(counters, "connections_made", streams.connections_made);
	counters_add(counters, "connections_refused", streams.connections_refused);
	counters_add(counters, "connections_cut", streams.connections_cut);
	counters_add(counters, "connections_held", streams.held);
	counters_add(counters, "connections_unsent", streams.unsent);
	counters_add(counters, "datagrams", datagrams.received);
	counters_add(counters, "datagrams_rubbish", datagrams.rubbish);
	counters_add(counters, "datagrams_unsent", datagrams.unsent);
	counters_add(counters, "uptime_ms", clock_ms() - server->start_ms);
}

static void signals_ready(struct watch *watch, uint32_t events) {
	struct server *server =
	    (struct server *)(void *)((char *)watch - offsetof(struct server, signals));
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("stopping: %s", strsignal((int)info.ssi_signo));
	server->is_stopping = true;
}

static bool watch_signals(struct server *server) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server->signals};
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	server->signals.ready = signals_ready;
	server->signals.fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return server->signals.fd >= 0 &&
	       epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->signals.fd, &event) == 0;
}

static bool take_datagrams(struct server *server, struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct datagrams *datagrams;

		if (listener->address.kind != ADDRESS_UDP)
			continue;
		datagrams = datagrams_new(server->epoll, listener->watch.fd,
					  listener->sockaddr.ss_family, server->dispatch);
		listener->watch.fd = -1;
		if (datagrams == NULL)
			return false;
		server->datagrams[server->datagrams_count++] = datagrams;
	}
	return true;
}

struct server *server_new(struct service *service, struct listeners *listeners,
			  const struct server_options *options) {
	struct server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->service = service;
	server->start_ms = clock_ms();
	server->signals.fd = -1;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->dispatch = dispatch_new(service, options->program, count_transports, server);
	server->streams = streams_new(server->epoll, &options->streams, server->dispatch,
				      service_memory(service));
	if (server->epoll < 0 || server->dispatch == NULL || server->streams == NULL ||
	    !watch_signals(server) || !take_datagrams(server, listeners) ||
	    !listeners_serve(listeners, server->epoll, server->streams)) {
		log_error("cannot set up the server: %s", strerror(errno));
		server_free(server);
		return NULL;
	}
	return server;
}

void server_free(struct server *server) {
	if (server == NULL)
		return;
	streams_free(server->streams);
	for (unsigned i = 0; i < server->datagrams_count; i++)
		datagrams_free(server->datagrams[i]);
	dispatch_free(server->dispatch);
	if (server->signals.fd >= 0)
		(void)close(server->signals.fd);
	if (server->epoll >= 0)
		(void)close(server->epoll);
	free(server);
}

/* --- Turns --------------------------------------------------------------------------------- */

static int wait_of(uint64_t due_ms) {
	enum { LONGEST_MS = 60 * 60 * 1000 };

	return due_ms == UINT64_MAX ? -1 : due_ms < LONGEST_MS ? (int)due_ms : LONGEST_MS;
}

static uint64_t earlier(uint64_t one, uint64_t other) {
	return one < other ? one : other;
}

bool svc_run_turns(struct server *server) {
	struct epoll_event events[EVENTS_A_TURN];
	uint64_t due_ms = 0;

	while (!server->is_stopping) {
		int count = epoll_wait(server->epoll, events, EVENTS_A_TURN, wait_of(due_ms));
		uint64_t now_ms = clock_ms();

		if (count < 0 && errno != EINTR) {
			log_error("cannot wait for sockets: %s", strerror(errno));
			return false;
		}
		dispatch_set_time(server->dispatch, now_ms);
		streams_set_time(server->streams, now_ms);
		for (int i = 0; i < count; i++) {
			struct watch *watch = events[i].data.ptr;

			watch->ready(watch, events[i].events);
		}
		streams_flush(server->streams);
		/* Last: sending may begin what is due later, and run calls. */
		due_ms = service_expire(server->service, EXPIRIES_A_TURN, now_ms);
		due_ms = earlier(due_ms, streams_tend(server->streams));
	}
	streams_drain(server->streams, DRAIN_MS);
	return true;
}

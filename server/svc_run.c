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
#include "notify.h"
#include "transport_datagram.h"

enum {
	EVENTS_A_TURN = 256,
	EXPIRIES_A_TURN = 256, /* sessions that end, so that a turn stays short */
	DRAIN_MS = 1000,       /* for answers still on their way when the server stops */
};

struct server {
	int epoll;
	struct watch signals;
	struct watch journal_news;
	struct watch snapshotter_news;
	struct journal *journal; /* NULL: no journal and no snapshots */
	struct snapshotter *snapshotter;
	uint64_t replayed;	 /* bytes, before this start */
	bool is_snapshot_wanted; /* by somebody who sent SIGUSR1 */
	bool is_paused;
	uint64_t time_ms; /* what to add to the clock: logged time never goes back */
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
	if (server->journal != NULL) {
		struct snapshotter_counters snapshots;
		struct journal_counters journal;

		journal_count(server->journal, &journal);
		counters_add(counters, "journal_batches", journal.batches);
		counters_add(counters, "journal_bytes", journal.bytes);
		counters_add(counters, "journal_behind", journal.behind);
		counters_add(counters, "disk_full", journal.is_disk_full ? 1 : 0);
		snapshotter_count(server->snapshotter, &snapshots);
		counters_add(counters, "snapshots", snapshots.published);
		counters_add(counters, "snapshots_failed", snapshots.failed);
		counters_add(counters, "snapshot_position", snapshots.last_position);
		counters_add(counters, "snapshot_bytes", snapshots.last_bytes);
		counters_add(counters, "snapshot_ms", snapshots.last_ms);
		counters_add(counters, "snapshot_pause_us", snapshots.pause_us);
		counters_add(counters, "snapshot_writing", snapshots.bytes);
	}
	counters_add(counters, "uptime_ms", clock_ms() - server->start_ms);
}

static void signals_ready(struct watch *watch, uint32_t events) {
	struct server *server =
	    (struct server *)(void *)((char *)watch - offsetof(struct server, signals));
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		server->is_snapshot_wanted = true;
		return;
	}
	log_info("stopping: %s", strsignal((int)info.ssi_signo));
	notify("STOPPING=1");
	server->is_stopping = true;
}

static bool watch_signals(struct server *server) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server->signals};
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGUSR1);
	server->signals.ready = signals_ready;
	server->signals.fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return server->signals.fd >= 0 &&
	       epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->signals.fd, &event) == 0;
}

static void news_ready(struct watch *watch, uint32_t events) {
	(void)watch;
	(void)events;
	/* The news is taken in at the end of every turn. */
}

static bool watch_news(struct server *server, struct watch *watch, int fd) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};

	*watch = (struct watch){.fd = fd, .ready = news_ready};
	return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool watch_disk(struct server *server) {
	return server->journal == NULL ||
	       (watch_news(server, &server->journal_news, journal_fd(server->journal)) &&
		watch_news(server, &server->snapshotter_news, snapshotter_fd(server->snapshotter)));
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
	server->time_ms = options->time_ms;
	server->journal = options->journal;
	server->snapshotter = options->snapshotter;
	server->replayed = options->replayed;
	server->signals.fd = -1;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->dispatch = dispatch_new(service, options->program, count_transports, server);
	server->streams = streams_new(server->epoll, &options->streams, server->dispatch,
				      service_memory(service));
	if (server->epoll < 0 || server->dispatch == NULL || server->streams == NULL ||
	    !watch_signals(server) || !watch_disk(server) || !take_datagrams(server, listeners) ||
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
	dispatch_free(server->dispatch);
	streams_free(server->streams);
	for (unsigned i = 0; i < server->datagrams_count; i++)
		datagrams_free(server->datagrams[i]);
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

static uint64_t time_of(const struct server *server) {
	return server->time_ms + clock_ms() - server->start_ms;
}

static void pause_all(struct server *server, bool is_paused) {
	if (server->is_paused == is_paused)
		return;
	server->is_paused = is_paused;
	streams_pause(server->streams, is_paused);
	for (unsigned i = 0; i < server->datagrams_count; i++)
		datagrams_pause(server->datagrams[i], is_paused);
}

/* A snapshot when it is time for one, or somebody asks. False: the disk failed. */
static bool turn_snapshot(struct server *server, uint64_t durable, uint64_t now_ms) {
	struct snapshotter *snapshotter = server->snapshotter;
	struct journal_counters journal;
	uint64_t position = 0;

	switch (snapshotter_poll(snapshotter, durable, now_ms, &position)) {
	case SNAPSHOTTER_IDLE:
	case SNAPSHOTTER_WRITING:
	case SNAPSHOTTER_WAITING:
	case SNAPSHOTTER_PUBLISHING:
	case SNAPSHOTTER_FAILED:
		break;
	case SNAPSHOTTER_PUBLISHED:
		journal_forget(server->journal, position);
		break;
	case SNAPSHOTTER_BROKEN:
		return false;
	}
	journal_count(server->journal, &journal);
	if (server->is_snapshot_wanted ||
	    snapshotter_is_due(snapshotter, server->replayed + journal.bytes, now_ms))
		(void)snapshotter_start(snapshotter, journal_recorded(server->journal),
					server->replayed + journal.bytes, now_ms);
	server->is_snapshot_wanted = false;
	return true;
}

/*
 * What the turn recorded goes to the disk, and what became durable is answered. False: the disk
 * failed, and nobody knows what it holds.
 */
static bool turn_disk(struct server *server, uint64_t now_ms) {
	struct journal *journal = server->journal;
	uint64_t durable;

	if (journal == NULL)
		return true;
	durable = journal_durable(journal);
	if (journal_failure(journal) != NULL) {
		log_error("%s: what is on the disk is not known, so kvd stops; start it again to "
			  "find out",
			  journal_failure(journal));
		return false;
	}
	dispatch_settle(server->dispatch, durable);
	journal_turn(journal);
	pause_all(server, journal_is_behind(journal));
	return turn_snapshot(server, durable, now_ms);
}

/* Makes all durable, and answers it. */
static bool finish(struct server *server) {
	bool finished = server->journal == NULL || journal_stop(server->journal);

	if (finished && server->journal != NULL)
		dispatch_settle(server->dispatch, journal_durable(server->journal));
	if (!finished)
		log_error("%s", journal_failure(server->journal));
	streams_drain(server->streams, DRAIN_MS);
	return finished;
}

bool svc_run_turns(struct server *server) {
	struct epoll_event events[EVENTS_A_TURN];
	uint64_t due_ms = 0;

	while (!server->is_stopping) {
		int count = epoll_wait(server->epoll, events, EVENTS_A_TURN, wait_of(due_ms));
		uint64_t now_ms = time_of(server);

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
		if (!turn_disk(server, now_ms))
			return false;
		streams_flush(server->streams);
		/* Last: sending may begin what is due later, and run calls. */
		due_ms = service_expire(server->service, EXPIRIES_A_TURN, now_ms);
		due_ms = earlier(due_ms, streams_tend(server->streams));
		if (server->journal != NULL)
			journal_turn(server->journal);
	}
	return finish(server);
}

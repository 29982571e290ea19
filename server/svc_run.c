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
#include "core/stats.h"
#include "log.h"
#include "sd_notify.h"
#include "commit_policy.h"
#include "net/datagram.h"
#include "turn.h"

enum {
	EVENTS_A_TURN = 256,
	DRAIN_MS = 1000, /* for answers still on their way when the server stops */
};

struct server {
	int epoll;
	struct watch signals;
	struct watch journal_news;
	struct watch snapshotter_news;
	struct watch heap_news;
	struct turn *turn;
	struct solitude solitude;
	bool is_paused;
	uint64_t time_ms; /* what to add to the clock: logged time never goes back */
	bool is_stopping;
	uint64_t start_ms;
	struct streams *streams;
	struct datagrams *datagrams[LISTENERS_MAX];
	unsigned datagrams_get_stats;
};

/* --- Making one ---------------------------------------------------------------------------- */

static void count_transports(void *context, struct counters *counters) {
	const struct server *server = context;
	struct stream_counters streams;
	struct datagram_counters datagrams = {0};

	streams_get_stats(server->streams, &streams);
	for (unsigned i = 0; i < server->datagrams_get_stats; i++)
		datagrams_get_stats(server->datagrams[i], &datagrams);
	stats_add(counters, "connections", streams.connections);
	stats_add(counters, "connections_made", streams.connections_made);
	stats_add(counters, "connections_refused", streams.connections_refused);
	stats_add(counters, "connections_cut", streams.connections_cut);
	stats_add(counters, "connections_held", streams.held);
	stats_add(counters, "connections_unsent", streams.unsent);
	stats_add(counters, "datagrams", datagrams.received);
	stats_add(counters, "datagrams_rubbish", datagrams.rubbish);
	stats_add(counters, "datagrams_unsent", datagrams.unsent);
	stats_add(counters, "uptime_ms", clock_ms() - server->start_ms);
}

static void signals_ready(struct watch *watch, uint32_t events) {
	struct server *server =
	    (struct server *)(void *)((char *)watch - offsetof(struct server, signals));
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		(void)turn_request_snapshot(server->turn);
		return;
	}
	log_info("stopping: %s", strsignal((int)info.ssi_signo));
	sd_notify_state("STOPPING=1");
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

static bool watch_disk(struct server *server, const struct server_options *options) {
	if (options->heap != NULL && huge_pages_fd(options->heap) >= 0 &&
	    !watch_news(server, &server->heap_news, huge_pages_fd(options->heap)))
		return false;
	return options->journal == NULL ||
	       (watch_news(server, &server->journal_news, journal_fd(options->journal)) &&
		watch_news(server, &server->snapshotter_news,
			   snapshotter_fd(options->snapshotter)));
}

static bool take_datagrams(struct server *server, struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct datagrams *datagrams;

		if (listener->address.kind != ADDRESS_UDP)
			continue;
		datagrams =
		    datagrams_new(server->epoll, listener->watch.fd, listener->sockaddr.ss_family,
				  turn_dispatch(server->turn));
		listener->watch.fd = -1;
		if (datagrams == NULL)
			return false;
		server->datagrams[server->datagrams_get_stats++] = datagrams;
	}
	return true;
}

static struct turn *make_turn(struct server *server, struct service *service,
			      const struct server_options *options) {
	const struct turn_options turn = {.service = service,
					  .program = options->program,
					  .journal = options->journal,
					  .snapshotter = options->snapshotter,
					  .heap = options->heap,
					  .replayed = options->replayed,
					  .transports = count_transports,
					  .context = server};

	return turn_new(&turn);
}

struct server *server_new(struct service *service, struct listeners *listeners,
			  const struct server_options *options) {
	struct server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->start_ms = clock_ms();
	server->time_ms = options->time_ms;
	server->signals.fd = -1;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->turn = make_turn(server, service, options);
	if (server->turn != NULL)
		server->streams = streams_new(server->epoll, &options->streams,
					      turn_dispatch(server->turn), service);
	if (server->epoll < 0 || server->streams == NULL || !watch_signals(server) ||
	    !watch_disk(server, options) || !take_datagrams(server, listeners) ||
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
	turn_free(server->turn);
	streams_free(server->streams);
	for (unsigned i = 0; i < server->datagrams_get_stats; i++)
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
	for (unsigned i = 0; i < server->datagrams_get_stats; i++)
		datagrams_pause(server->datagrams[i], is_paused);
}

/*
 * Lets those that are ready do what they wait for. If that puts the disk behind, the rest waits for
 * the next turn, where the kernel names it again: a batch must fit into a segment.
 */
static void receive(struct server *server, const struct epoll_event *events, int count) {
	for (int i = 0; i < count && (server->is_paused || !turn_is_backlogged(server->turn)); i++) {
		struct watch *watch = events[i].data.ptr;

		watch->ready(watch, events[i].events);
	}
	streams_run_received(server->streams);
}

/* Whether somebody is ready but the disk and the like, of which `events` tell. */
static bool has_calls(const struct epoll_event *events, int count) {
	for (int i = 0; i < count; i++)
		if (((const struct watch *)events[i].data.ptr)->ready != news_ready)
			return true;
	return false;
}

/* While nobody else could be answered, the turn waits for the disk itself, and sees who came. */
static bool end_turn(struct server *server) {
	bool waits = commit_policy_is_inline(&server->solitude) && turn_has_pending(server->turn);
	struct epoll_event event;
	uint64_t began_ns;
	bool goes_on;

	if (!waits)
		return turn_end(server->turn, false);
	began_ns = clock_ns();
	goes_on = turn_end(server->turn, true);
	commit_policy_synced(&server->solitude, (clock_ns() - began_ns) / 1000,
			has_calls(&event, epoll_wait(server->epoll, &event, 1, 0)));
	return goes_on;
}

bool svc_run_turns(struct server *server) {
	struct epoll_event events[EVENTS_A_TURN];
	uint64_t due_ms = 0;
	bool came, was_writing;
	bool finished;

	while (!server->is_stopping) {
		int count = epoll_wait(server->epoll, events, EVENTS_A_TURN, wait_of(due_ms));
		uint64_t now_ms = time_of(server);

		if (count < 0 && errno != EINTR) {
			log_error("cannot wait for sockets: %s", strerror(errno));
			return false;
		}
		came = has_calls(events, count);
		was_writing = turn_has_pending(server->turn);
		turn_begin(server->turn, now_ms);
		streams_set_time(server->streams, now_ms);
		receive(server, events, count);
		commit_policy_observe(&server->solitude, came,
			     dispatch_replied_immediately(turn_dispatch(server->turn)), was_writing,
			     turn_has_pending(server->turn));
		if (!end_turn(server))
			return false;
		pause_all(server, turn_is_backlogged(server->turn));
		streams_flush(server->streams);
		/* Last: sending may begin what is due later, and run calls. */
		due_ms = streams_expire(server->streams);
		due_ms = earlier(due_ms, turn_expire_sessions(server->turn));
	}
	finished = turn_stop(server->turn);
	streams_drain(server->streams, DRAIN_MS);
	return finished;
}

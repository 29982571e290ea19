/* SPDX-License-Identifier: BSD-3-Clause */
#include "svc_run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "acl/acl.h"
#include "acl_file.h"
#include "clock.h"
#include "commit_policy.h"
#include "core/stats.h"
#include "full_log.h"
#include "log.h"
#include "net/datagram.h"
#include "rpc/call_times.h"
#include "sd_notify.h"
#include "tls/credentials.h"
#include "tls_files.h"
#include "turn.h"
#include "turn_clock.h"

enum {
	EVENTS_PER_TURN = 256,
	OTHERS_MAX = 128, /* descriptors that epoll watches besides connections within the limit */
	DRAIN_MS = 1000,  /* for replies that are not sent yet when the server stops */
};

struct server {
	int epoll;
	struct event_handler signals;
	struct event_handler journal_events;
	struct event_handler snapshotter_events;
	struct event_handler heap_events;
	struct turn *turn;
	struct call_times *times; /* of its dispatch */
	struct commit_policy commit_policy;
	struct turn_clock clock;
	bool is_stopping;
	uint64_t start_ms;
	const char *acl_path;
	struct acl **acl;
	const struct tls_files *tls_files;
	bool has_tls;
	const struct service *service;
	struct full_log memory_full;
	struct full_log sessions_full;
	struct full_log peer_full;
	struct streams *streams;
	struct datagrams *datagrams[LISTENERS_MAX];
	unsigned datagram_sockets;
};

/* --- Set-up ---------------------------------------------------------------------------- */

static void add_stats(void *context, struct stats *stats) {
	const struct server *server = context;

	streams_add_stats(server->streams, stats);
	for (unsigned i = 0; i < server->datagram_sockets; i++)
		datagrams_add_stats(server->datagrams[i], stats);
	stats_add(stats, "uptime_ms", clock_ms() - server->start_ms);
	turn_add_stats(server->turn, stats);
}

static void set_acl(struct server *server, struct acl *acl) {
	struct acl *before = *server->acl;

	*server->acl = acl;
	dispatch_set_acl(turn_dispatch(server->turn), acl);
	streams_set_acl(server->streams, acl);
	acl_free(before);
	log_info("--acl %s was read again: %u rules", server->acl_path, acl_rule_count(acl));
}

/* All that the files have now holds from here on, or all that they had before. */
static void read_files_again(struct server *server) {
	static const char what[] = "rules and certificates stay as they were: ";
	struct credentials *credentials = NULL;
	struct acl *acl = NULL;

	if (server->acl_path != NULL) {
		acl = acl_file_read(server->acl_path,
				    server->has_tls ? what
						    : "the rules of --acl stay as they were: ");
		if (acl == NULL)
			return;
	}
	if (server->has_tls) {
		credentials = tls_files_read(server->tls_files, what);
		if (credentials == NULL) {
			acl_free(acl);
			return;
		}
	}
	if (acl != NULL)
		set_acl(server, acl);
	if (server->has_tls)
		log_info("certificates were read again: --tls-cert %s",
			 server->tls_files->certificate);
	streams_set_credentials(server->streams, credentials);
	credentials_unref(credentials);
}

static void signals_ready(struct event_handler *handler, uint32_t events) {
	struct server *server =
	    (struct server *)(void *)((char *)handler - offsetof(struct server, signals));
	struct signalfd_siginfo info;

	(void)events;
	if (read(handler->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		(void)turn_request_snapshot(server->turn);
		return;
	}
	if (info.ssi_signo == SIGHUP && (server->acl_path != NULL || server->has_tls)) {
		read_files_again(server);
		return;
	}
	if (info.ssi_signo == SIGHUP) {
		log_info("%s: nothing is read again, for all options are on the command line "
			 "(restart kvd to change them)",
			 strsignal(SIGHUP));
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
	(void)sigaddset(&signals, SIGHUP);
	server->signals.ready = signals_ready;
	server->signals.fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return server->signals.fd >= 0 &&
	       epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->signals.fd, &event) == 0;
}

static void event_noted(struct event_handler *handler, uint32_t events) {
	(void)handler;
	(void)events;
	/* What happened is looked at at the end of each turn. */
}

static bool watch_fd(struct server *server, struct event_handler *handler, int fd) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = handler};

	*handler = (struct event_handler){.fd = fd, .ready = event_noted};
	return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool watch_disk(struct server *server, const struct server_options *options) {
	if (options->heap != NULL && huge_pages_fd(options->heap) >= 0 &&
	    !watch_fd(server, &server->heap_events, huge_pages_fd(options->heap)))
		return false;
	return options->journal == NULL ||
	       (watch_fd(server, &server->journal_events, journal_fd(options->journal)) &&
		watch_fd(server, &server->snapshotter_events,
			 snapshotter_fd(options->snapshotter)));
}

static bool take_datagrams(struct server *server, struct listeners *listeners,
			   const struct server_options *options) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct datagrams *datagrams;

		if (listener->address.kind != ADDRESS_UDP)
			continue;
		datagrams =
		    datagrams_new(server->epoll, listener->handler.fd, listener->sockaddr.ss_family,
				  turn_dispatch(server->turn));
		listener->handler.fd = -1;
		if (datagrams == NULL)
			return false;
		datagrams_set_policy(datagrams, options->streams.tls_policy);
		server->datagrams[server->datagram_sockets++] = datagrams;
	}
	return true;
}

static struct turn *make_turn(struct server *server, struct service *service,
			      const struct server_options *options) {
	const struct turn_options turn = {.service = service,
					  .program = options->program,
					  .journal = options->journal,
					  .snapshotter = options->snapshotter,
					  .vfs = options->vfs,
					  .huge_pages = options->heap,
					  .replayed = options->replayed,
					  .changes_max = options->changes_max,
					  .waiting_max = options->waiting_max,
					  .sessions_each = options->sessions_each,
					  .add_stats = add_stats,
					  .context = server};

	return turn_new(&turn);
}

struct server *server_new(struct service *service, struct listeners *listeners,
			  const struct server_options *options) {
	struct server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->start_ms = clock_ms();
	server->clock = (struct turn_clock){
	    .now_ms = options->time_ms,
	    .monotonic_ms = server->start_ms,
	    .round_turns = (options->streams.connections_max + OTHERS_MAX) / EVENTS_PER_TURN + 1};
	server->service = service;
	server->memory_full.what = "writes for which there is no memory (--max-memory)";
	server->sessions_full.what =
	    "new sessions, of which there are too many (--max-sessions, --max-memory)";
	server->peer_full.what = "new sessions of a peer that has as many as one may "
				 "(--max-sessions-each, or limit in --acl)";
	server->signals.fd = -1;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->turn = make_turn(server, service, options);
	server->acl_path = options->acl_path;
	server->acl = options->acl;
	server->tls_files = options->tls_files;
	server->has_tls = options->streams.credentials != NULL;
	if (server->turn != NULL && options->acl_path != NULL)
		dispatch_set_acl(turn_dispatch(server->turn), *options->acl);
	if (server->turn != NULL) {
		server->times = dispatch_times(turn_dispatch(server->turn));
		server->streams = streams_new(server->epoll, &options->streams,
					      turn_dispatch(server->turn), service);
	}
	if (server->streams != NULL && options->acl_path != NULL)
		streams_set_acl(server->streams, *options->acl);
	if (server->epoll < 0 || server->streams == NULL || !watch_signals(server) ||
	    !watch_disk(server, options) || !take_datagrams(server, listeners, options) ||
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
	for (unsigned i = 0; i < server->datagram_sockets; i++)
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

static void pause_all(struct server *server, bool is_paused) {
	if (streams_are_paused(server->streams) != is_paused)
		streams_pause(server->streams, is_paused);
	for (unsigned i = 0; i < server->datagram_sockets; i++)
		datagrams_pause(server->datagrams[i], is_paused);
}

/*
 * Handles the events. If the journal becomes backlogged, the others wait for the next turn, in
 * which epoll reports them again: a batch must fit into a segment. Returns whether all were
 * handled.
 */
static bool receive(struct server *server, const struct epoll_event *events, int count) {
	/* While paused they read nothing. */
	bool was_paused = streams_are_paused(server->streams);
	int handled = 0;

	for (; handled < count && (was_paused || !turn_is_backlogged(server->turn)); handled++) {
		struct event_handler *handler = events[handled].data.ptr;

		handler->ready(handler, events[handled].events);
	}
	streams_run_received(server->streams);
	return handled >= count;
}

/* `handled_all`: all `count` events. The backlog that left some may be gone by the turn's end. */
static enum turn_input input_of(const struct server *server, int count, bool handled_all) {
	bool took_all = streams_took_all(server->streams);

	for (unsigned i = 0; i < server->datagram_sockets; i++)
		took_all = datagrams_took_all(server->datagrams[i]) && took_all;
	/* Of a signal (-1) epoll reports nothing else. */
	if (count < 0 || streams_are_paused(server->streams) || !handled_all)
		return TURN_INPUT_NONE;
	/* There may be more events; epoll reports those that it reported last after the others. */
	if (count == EVENTS_PER_TURN)
		return TURN_INPUT_PART;
	return took_all ? TURN_INPUT_ALL : TURN_INPUT_SOME;
}

/* Whether a socket is ready, and not only the journal, the snapshotter or huge pages. */
static bool has_calls(const struct epoll_event *events, int count) {
	for (int i = 0; i < count; i++)
		if (((const struct event_handler *)events[i].data.ptr)->ready != event_noted)
			return true;
	return false;
}

/* Syncs the batch in this thread if the policy says so, and reports to it whether calls came. */
static bool end_turn(struct server *server) {
	bool waits =
	    commit_policy_is_inline(&server->commit_policy) && turn_has_pending(server->turn);
	struct epoll_event event;
	uint64_t began_ns;
	bool goes_on;

	if (!waits)
		return turn_end(server->turn, false);
	began_ns = clock_ns();
	goes_on = turn_end(server->turn, true);
	commit_policy_synced(&server->commit_policy, (clock_ns() - began_ns) / 1000,
			     has_calls(&event, epoll_wait(server->epoll, &event, 1, 0)));
	return goes_on;
}

/* Returns in how many milliseconds to do so again. */
static uint64_t report_refusals(struct server *server, uint64_t now_ms) {
	struct service_refusals refusals = service_refusals(server->service);

	return earlier(earlier(full_log_observe(&server->memory_full, refusals.memory, now_ms),
			       full_log_observe(&server->sessions_full, refusals.sessions, now_ms)),
		       full_log_observe(&server->peer_full, refusals.sessions_each, now_ms));
}

bool svc_run_turns(struct server *server) {
	struct epoll_event events[EVENTS_PER_TURN];
	uint64_t due_ms = 0;
	bool has_input, was_writing, handled_all, may_expire;
	enum turn_input input;
	bool is_due = false; /* a lease is over */
	uint64_t lease_ms;
	bool finished;

	while (!server->is_stopping) {
		/* Calls that came before this moment are received before leases are ended at it. */
		uint64_t before_ms = is_due ? clock_ms() : 0;
		int count = epoll_wait(server->epoll, events, EVENTS_PER_TURN,
				       is_due ? 0 : wait_of(due_ms));
		uint64_t woke_ns = clock_ns();
		uint64_t now_ms = turn_clock_advance(
		    &server->clock, is_due ? before_ms : woke_ns / 1000000, due_ms);

		if (count < 0 && errno != EINTR) {
			log_error("cannot wait for sockets: %s", strerror(errno));
			return false;
		}
		has_input = has_calls(events, count);
		was_writing = turn_has_pending(server->turn);
		turn_begin(server->turn, now_ms);
		server->times->now_ns = woke_ns;
		streams_set_time(server->streams, now_ms);
		handled_all = receive(server, events, count);
		commit_policy_observe(&server->commit_policy, has_input,
				      dispatch_replied_immediately(turn_dispatch(server->turn)),
				      was_writing, turn_has_pending(server->turn));
		if (!end_turn(server))
			return false;
		pause_all(server, turn_is_backlogged(server->turn));
		streams_flush(server->streams);
		if (call_times_are_due(server->times))
			call_times_end_turn(server->times, clock_ns());
		/* Last, because sending may run calls and start timeouts. */
		due_ms = streams_expire(server->streams);
		input = input_of(server, count, handled_all);
		may_expire = turn_clock_may_expire(&server->clock, input) && is_due;
		lease_ms = turn_expire_sessions(server->turn, may_expire);
		is_due = lease_ms == 0;
		due_ms = earlier(due_ms, lease_ms);
		due_ms = earlier(due_ms, report_refusals(server, now_ms));
		due_ms = earlier(due_ms, turn_expire_backups(server->turn));
		due_ms = earlier(due_ms, turn_give_back(server->turn));
	}
	finished = turn_stop(server->turn);
	streams_drain(server->streams, DRAIN_MS);
	return finished;
}

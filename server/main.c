/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - kvd from start to stop. */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "random.h"
#include "storage/journal.h"
#include "log.h"
#include "sd_notify.h"
#include "options.h"
#include "storage/recovery.h"
#include "net/rpcbind.h"
#include "svc_run.h"

enum {
	EXIT_CANNOT_SERVE = 1,
	EXIT_USAGE = 2,
	DESCRIPTORS_APART = 32,	  /* those that are no connection, besides the listeners' ... */
	DESCRIPTORS_LISTENER = 2, /* ... which have a spare one each */
	RPCBIND_START_MS = 5000,
	RPCBIND_STOP_MS = 3000,
	HEAP_LEFT_SMALL = 256 << 20, /* nothing forks it */
};

/* Unfinished records and unsent answers, all peers together: at least some of the largest. */
static const size_t held_least = (size_t)256 << 20;

/* A closed one would be the number of the next socket, and that would get what we print. */
static void open_standard_descriptors(void) {
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

/* What stop_at_once() removes; NULL: nothing is bound. */
static _Atomic(const struct listeners *) bound;

/* Nothing is owed to anybody yet, and reading may take long: the disk is left as by a crash. */
static void stop_at_once(int number) {
	static const char line[] = "kvd: stopped before it served\n";
	const struct listeners *listeners = bound;

	(void)number;
	if (listeners != NULL)
		listeners_unlink_sockets(listeners);
	(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
	_exit(EXIT_SUCCESS);
}

/*
 * A peer that hangs up is no reason to die, nor is a file that reaches the limit of the shell
 * (ulimit -f): that write fails, and is looked at.
 */
static void set_signals(void) {
	sigset_t later;

	/* Read by the turn. */
	(void)sigemptyset(&later);
	(void)sigaddset(&later, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &later, NULL);
	(void)signal(SIGTERM, stop_at_once);
	(void)signal(SIGINT, stop_at_once);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
}

/* From now on the turn reads them. Before the first thread, which blocks what its maker does. */
static void hold_signals(void) {
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

/*
 * Large values go back to the kernel when they are freed: by default, glibc learns from the first
 * one freed to keep its like.
 */
static void set_malloc(void) {
	(void)mallopt(M_MMAP_THRESHOLD, 2 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

/* As many connections as were asked for, if the kernel lets us have the descriptors. */
static unsigned connections_allowed(unsigned wanted, const struct listeners *listeners) {
	struct rlimit limit;
	rlim_t apart = DESCRIPTORS_APART + DESCRIPTORS_LISTENER * listeners->count;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted + apart) {
		limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted + apart
				     ? wanted + apart
				     : limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted + apart)
		return wanted;
	apart = limit.rlim_cur > apart ? limit.rlim_cur - apart : 1;
	log_warn("%u connections at most, not %u: the limit of open files is %llu (ulimit -n)",
		 (unsigned)apart, wanted, (unsigned long long)limit.rlim_cur);
	return (unsigned)apart;
}

/* What kvd is made of besides sockets. `journal` is NULL if everything is in memory only. */
struct house {
	struct heap heap;
	struct recovery recovery;
	struct journal *journal;
	struct snapshotter *snapshotter;
	struct service *service;
};

static bool make_service(struct house *house, const struct options *options) {
	struct identity identity = {.epoch = random_id(), .seed = random_id()};
	struct service_limits limits = {.value_max = options->value_max,
					.memory_max = options->memory_max,
					.sessions_max = options->sessions_max,
					.lease_ms = options->lease_ms};
	struct recorder recorder = {.journal = NULL};

	random_bytes(identity.store, sizeof(identity.store));
	if (options->data != NULL) {
		memcpy(identity.store, house->recovery.store, sizeof(identity.store));
		house->journal = journal_new();
		if (house->journal == NULL) {
			log_error("cannot make a journal: %s", strerror(errno));
			return false;
		}
		recorder = journal_recorder(house->journal);
	}
	house->service = service_new(&identity, &limits, &recorder);
	if (house->service == NULL)
		log_error("no memory to start with");
	return house->service != NULL;
}

static bool start_journal(struct house *house) {
	house->snapshotter =
	    snapshotter_new(&house->recovery.disk, house->service, house->recovery.snapshot.size);
	if (house->snapshotter != NULL &&
	    journal_start(house->journal, house->recovery.file, house->recovery.last))
		return true;
	log_error("cannot start the journal: %s", strerror(errno));
	return false;
}

/* Everything that was kept, as it was. Binding comes first: it fails sooner. */
static bool house_open(struct house *house, const struct options *options) {
	*house = (struct house){.journal = NULL};
	huge_pages_init(&house->heap, options->data != NULL ? 0 : HEAP_LEFT_SMALL);
	if (options->data != NULL) {
		if (!recovery_open(&house->recovery, options->data))
			return false;
		house->recovery.heap = &house->heap;
	}
	return make_service(house, options);
}

static void house_close(struct house *house) {
	snapshotter_free(house->snapshotter);
	if (house->journal != NULL)
		(void)journal_stop(house->journal);
	journal_free(house->journal);
	service_free(house->service);
	huge_pages_destroy(&house->heap);
	recovery_close(&house->recovery);
}

/* Without rpcbind, clients must be able to name the server themselves. */
static bool is_findable(const struct options *options, const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++)
		if (listeners->list[i].address.kind == ADDRESS_LOCAL)
			return true;
	for (unsigned i = 0; i < options->address_count; i++)
		if (options->addresses[i].port != 0)
			return true;
	return false;
}

static bool enter_rpcbind(const struct options *options, const struct listeners *listeners,
			  struct registrar **registrar) {
	*registrar = NULL;
	if (!options->use_rpcbind)
		return true;
	switch (rpcbind_register(listeners, options->program, RPCBIND_START_MS, registrar)) {
	case RPCBIND_DONE:
		return true;
	case RPCBIND_ABSENT:
		if (is_findable(options, listeners)) {
			log_warn("rpcbind does not answer: clients must name the server's address "
				 "until it does (start rpcbind, or use -n)");
			return true;
		}
		log_error("rpcbind does not answer, and no client can find a port that it does not "
			  "know: start rpcbind, or name a port or a local socket with -l");
		rpcbind_unregister(*registrar, RPCBIND_STOP_MS);
		*registrar = NULL;
		return false;
	case RPCBIND_NO_MEMORY:
		log_error("no memory to speak to rpcbind");
		return false;
	case RPCBIND_TAKEN:
	case RPCBIND_REFUSED:
		return false;
	}
	return false;
}

/* The one line on standard output; what comes after it goes where the log goes. */
static bool say_ready(const struct listeners *listeners) {
	(void)fputs("kvd: ready", stdout);
	for (unsigned i = 0; i < listeners->count; i++) {
		char text[ADDRESS_TEXT_MAX];

		address_format(&listeners->list[i].address, text);
		(void)printf(" %s", text);
	}
	(void)fputs("\n", stdout);
	if (fflush(stdout) != 0) {
		log_error("cannot write the ready line to standard output: %s", strerror(errno));
		return false;
	}
	return dup2(STDERR_FILENO, STDOUT_FILENO) >= 0;
}

static bool serve(const struct options *options, struct house *house, struct listeners *listeners) {
	struct server_options server_options = {
	    .program = options->program,
	    .journal = house->journal,
	    .snapshotter = house->snapshotter,
	    .heap = &house->heap,
	    .replayed = house->recovery.replayed,
	    .time_ms = house->recovery.time_ms,
	    .streams = {.connections_max = connections_allowed(options->connections_max, listeners),
			.held_max = options->memory_max / 4 > held_least ? options->memory_max / 4
									 : held_least}};
	struct server *server = server_new(house->service, listeners, &server_options);
	struct registrar *registrar = NULL;
	bool served = false;

	if (server == NULL)
		return false;
	if (enter_rpcbind(options, listeners, &registrar)) {
		if (say_ready(listeners)) {
			sd_notify_state("READY=1");
			served = svc_run_turns(server);
		}
		/* All answers owed have left. While rpcbind is waited for nobody would be answered:
		   peers hear now that the server is gone, not then. */
		listeners_shutdown(listeners);
		server_free(server);
		rpcbind_unregister(registrar, RPCBIND_STOP_MS);
		return served;
	}
	server_free(server);
	return served;
}

static bool run(const struct options *options) {
	struct listeners listeners = {.count = 0};
	struct house house;
	bool served = false;

	bound = &listeners;
	if (house_open(&house, options) &&
	    (options->address_count > 0
		 ? listeners_open(&listeners, options->addresses, options->address_count)
		 : listeners_open_default(&listeners))) {
		if (house.journal == NULL || recovery_run(&house.recovery, house.service)) {
			hold_signals();
			served = (house.journal == NULL || start_journal(&house)) &&
				 serve(options, &house, &listeners);
		}
		listeners_close(&listeners);
	}
	bound = NULL;
	house_close(&house);
	return served;
}

int main(int argc, char **argv) {
	struct options options;

	open_standard_descriptors();
	log_open("kvd", 0);
	switch (options_read(argc, argv, &options)) {
	case OPTIONS_DONE:
		return EXIT_SUCCESS;
	case OPTIONS_WRONG:
		return EXIT_USAGE;
	case OPTIONS_RUN:
		break;
	}
	log_open("kvd", options.verbosity);
	if (options.check != NULL)
		return recovery_check(options.check) ? EXIT_SUCCESS : EXIT_CANNOT_SERVE;
	set_signals();
	set_malloc();
	return run(&options) ? EXIT_SUCCESS : EXIT_CANNOT_SERVE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - kvd from start to stop. */

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acl/acl.h"
#include "acl_file.h"
#include "log.h"
#include "net/rpcbind.h"
#include "options.h"
#include "process_state.h"
#include "random.h"
#include "sd_notify.h"
#include "storage/journal.h"
#include "storage/recovery.h"
#include "storage/region_map.h"
#include "storage/restore.h"
#include "svc_run.h"
#include "tls/credentials.h"

enum {
	EXIT_CANNOT_SERVE = 1,
	EXIT_USAGE = 2,
	DESCRIPTORS_APART = 32,	  /* those of no connection, besides the listeners', ... */
	DESCRIPTORS_LISTENER = 2, /* ... which have a spare one each */
	RPCBIND_START_MS = 5000,
	RPCBIND_STOP_MS = 3000,
	OPEN_FILES = 1 << 20,	     /* for --max-connections up to its maximum */
	STACK_SIZE = 1 << 20,	     /* bytes, of each thread */
	HEAP_LEFT_SMALL = 256 << 20, /* without -d no snapshot forks the heap */
};

/* Bytes of unfinished records and unsent replies, all peers together. */
static const size_t held_min = (size_t)64 << 20, held_usual = (size_t)256 << 20;

/* The listeners whose sockets stop_at_once() removes; NULL: nothing is bound. */
static _Atomic(const struct listeners *) bound;

/* While the directory is read no reply is owed: the disk is left as by a crash. */
static void stop_at_once(int number) {
	static const char line[] = "kvd: stopped before it served\n";
	const struct listeners *listeners = bound;

	(void)number;
	if (listeners != NULL)
		listeners_unlink_sockets(listeners);
	log_write(line, sizeof(line) - 1);
	_exit(EXIT_SUCCESS);
}

/*
 * No signal but SIGQUIT and those of a crash ends kvd uncleanly. SIGXFSZ comes for a write past the
 * limit of file sizes, which then fails and is looked at; SIGTTOU for a line of the log from the
 * background.
 */
static void set_signals(void) {
	static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGXCPU, SIGUSR2, SIGALRM,   SIGVTALRM,
				      SIGPROF, SIGIO,	SIGPWR,	 SIGTTIN, SIGSTKFLT, SIGTTOU};
	sigset_t later;

	for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		(void)signal(number, SIG_IGN);
	(void)sigemptyset(&later);
	(void)sigaddset(&later, SIGUSR1);
	(void)sigaddset(&later, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &later, NULL);
	(void)signal(SIGTERM, stop_at_once);
	(void)signal(SIGINT, stop_at_once);
}

/* Leaves the signals to the event loop. Called before the first thread, which inherits the mask. */
static void block_signals(void) {
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* A limit below what kvd needs is not an error before it is reached. */
static void report_file_limit(void) {
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		log_warn("files may have at most %llu bytes (ulimit -f): above that neither the "
			 "journal (segments of 64 MiB) nor a snapshot can be written",
			 (unsigned long long)limit.rlim_cur);
}

/*
 * Sets what an unknown parent left to us. A priority that stays low is no warning, because the
 * session of a desktop user has one.
 */
static void set_inherited_state(void) {
	int niceness, oom_score_adj;

	(void)umask(077);
	process_raise_open_files(OPEN_FILES);
	process_set_stack_size(STACK_SIZE);
	if (!process_reset_priority(&niceness, &oom_score_adj))
		log_verbose("inherited niceness %d and oom_score_adj %d stay: only root may lower "
			    "them",
			    niceness, oom_score_adj);
}

/* Returns `wanted`, or as many connections as the limit of open files allows. */
static unsigned connections_allowed(unsigned wanted, const struct listeners *listeners) {
	struct rlimit limit;
	rlim_t apart = DESCRIPTORS_APART + DESCRIPTORS_LISTENER * listeners->count;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted + apart)
		return wanted;
	apart = limit.rlim_cur > apart ? limit.rlim_cur - apart : 1;
	log_warn("%u connections at most, not %u: the limit of open files is %llu (ulimit -n)",
		 (unsigned)apart, wanted, (unsigned long long)limit.rlim_cur);
	return (unsigned)apart;
}

/* The parts of kvd besides sockets. `journal` is NULL if everything is in memory only. */
struct daemon {
	struct huge_pages heap;
	struct region_map regions;
	struct region_source memory;
	struct recovery recovery;
	struct journal *journal;
	struct snapshotter *snapshotter;
	struct service *service;
	struct acl *acl;		 /* NULL: every client may everything */
	struct credentials *credentials; /* NULL: there is no TLS */
};

static bool make_service(struct daemon *daemon, const struct options *options) {
	struct server_identity identity = {.epoch = random_id(), .seed = random_id()};
	struct service_limits limits = {.value_max = options->value_max,
					.memory_max = options->memory_max,
					.sessions_max = options->sessions_max,
					.lease_ms = options->lease_ms,
					.memory = &daemon->memory};
	struct journal_sink recorder = {.journal = NULL};

	random_bytes(identity.store, sizeof(identity.store));
	if (options->data != NULL) {
		memcpy(identity.store, daemon->recovery.store, sizeof(identity.store));
		daemon->journal = journal_new();
		if (daemon->journal == NULL) {
			log_error("cannot make a journal: %s", strerror(errno));
			return false;
		}
		recorder = journal_recorder(daemon->journal);
	}
	daemon->service = service_new(&identity, &limits, &recorder);
	if (daemon->service == NULL)
		log_error("no memory for an empty store of %u sessions (lower --max-sessions)",
			  options->sessions_max);
	return daemon->service != NULL;
}

static bool start_journal(struct daemon *daemon) {
	daemon->snapshotter =
	    snapshotter_new(&daemon->recovery.vfs, daemon->service, daemon->recovery.snapshot.size);
	if (daemon->snapshotter != NULL &&
	    journal_start(daemon->journal, daemon->recovery.file, daemon->recovery.last))
		return true;
	log_error("cannot start the journal: %s", strerror(errno));
	return false;
}

/* Takes the directory, and makes an empty service that recovery fills after the sockets are bound,
   for binding fails sooner. */
static bool server_init(struct daemon *daemon, const struct options *options) {
	*daemon = (struct daemon){.journal = NULL};
	huge_pages_init(&daemon->heap, options->data != NULL ? 0 : HEAP_LEFT_SMALL);
	region_map_init(&daemon->regions, options->data != NULL ? 0 : HEAP_LEFT_SMALL);
	daemon->memory = region_map_source(&daemon->regions);
	if (options->acl != NULL) {
		daemon->acl = acl_file_read(options->acl, "--acl ");
		if (daemon->acl == NULL)
			return false;
	}
	if (options->tls.certificate != NULL) {
		daemon->credentials = tls_files_read(&options->tls, "");
		if (daemon->credentials == NULL)
			return false;
	}
	if (options->data != NULL) {
		if (!recovery_open(&daemon->recovery, options->data))
			return false;
		daemon->recovery.huge_pages = &daemon->heap;
		daemon->recovery.memory_allowed = options->memory_limit.bytes;
		daemon->recovery.memory_source = options->memory_limit.source;
	}
	return make_service(daemon, options);
}

static void server_destroy(struct daemon *daemon) {
	snapshotter_free(daemon->snapshotter);
	if (daemon->journal != NULL)
		(void)journal_stop(daemon->journal);
	journal_free(daemon->journal);
	service_free(daemon->service);
	acl_free(daemon->acl);
	credentials_unref(daemon->credentials);
	huge_pages_destroy(&daemon->heap);
	recovery_close(&daemon->recovery);
}

/* True if clients can find the server without rpcbind: at a local socket or at a named port. */
static bool is_findable(const struct options *options, const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++)
		if (listeners->list[i].address.kind == ADDRESS_LOCAL)
			return true;
	for (unsigned i = 0; i < options->address_count; i++)
		if (options->addresses[i].port != 0)
			return true;
	return false;
}

/* Registers as far as rpcbind allows. Returns false, logged, if no client could find the server. */
static bool enter_rpcbind(const struct options *options, const struct listeners *listeners,
			  struct rpcbind **rpcbind) {
	bool findable = is_findable(options, listeners);

	*rpcbind = NULL;
	if (!options->use_rpcbind)
		return true;
	switch (rpcbind_register(listeners, options->program, RPCBIND_START_MS, rpcbind)) {
	case RPCBIND_REGISTERED:
		return true;
	case RPCBIND_ABSENT:
		if (findable)
			log_warn("rpcbind is not reachable, so kvd is not registered yet: clients "
				 "need the local socket or -s tcp:HOST:PORT until it is (-n: do "
				 "not register)");
		else
			log_error("rpcbind is not reachable, and no client can find a port that it "
				  "does not know: start rpcbind, or name a port or a local socket "
				  "with -l");
		break;
	case RPCBIND_TAKEN:
		if (findable)
			log_warn("not all addresses are registered with rpcbind (see above): "
				 "clients need the local socket or -s tcp:HOST:PORT");
		else
			log_error("no client can find a port that rpcbind does not know: use -P N "
				  "for another program number, or name a port or a local socket "
				  "with -l");
		break;
	case RPCBIND_NO_MEMORY:
		log_error("no memory for the thread that registers with rpcbind (use -n)");
		findable = false;
		break;
	}
	if (!findable) {
		rpcbind_unregister(*rpcbind, RPCBIND_STOP_MS);
		*rpcbind = NULL;
	}
	return findable;
}

/* --- Access -------------------------------------------------------------------------------- */

static bool is_loopback(const struct listener *listener) {
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&listener->sockaddr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&listener->sockaddr;
	bool is_mapped = false;

	if (listener->address.kind == ADDRESS_LOCAL)
		return true;
	if (listener->sockaddr.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	is_mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	       (is_mapped && v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/*
 * Without access rules an address that other machines reach is the operator's explicit decision.
 * Returns false, logged, without it.
 */
static bool check_access(const struct options *options, const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		char text[ADDRESS_TEXT_MAX];

		if (options->acl != NULL || is_loopback(&listeners->list[i]))
			continue;
		address_format(&listeners->list[i].address, text);
		if (!options->is_open) {
			log_error("other machines can reach %s, and every client may read and "
				  "write everything: give rules with --acl FILE, listen at "
				  "127.0.0.1, [::1] or local:PATH, or allow it with --open",
				  text);
			return false;
		}
		log_warn("open: every machine that reaches %s may read and write everything", text);
	}
	return true;
}

/* --- Memory -------------------------------------------------------------------------------- */

/* Says with the numbers what does not fit: the limit into the memory, the store into the limit. */
static void report_memory(const struct options *options, const struct service *service) {
	size_t used = service_memory_used(service);

	if (options->memory_max > options->memory_limit.bytes)
		log_warn("--max-memory is %zu MiB, but kvd may use %llu MiB (%s): lower it, or "
			 "raise that limit",
			 options->memory_max >> 20,
			 (unsigned long long)(options->memory_limit.bytes >> 20),
			 options->memory_limit.source);
	if (used > options->memory_max)
		log_warn("the store takes %zu MiB, and the limit is %zu MiB: writes are refused "
			 "until less is stored or --max-memory is raised",
			 used >> 20, options->memory_max >> 20);
}

/* A fixed part where memory is plentiful, and room for some of the largest records elsewhere. */
static size_t connections_memory(const struct options *options) {
	size_t usual = (size_t)(options->memory_limit.bytes / 8);

	usual = usual < held_min ? held_min : usual > held_usual ? held_usual : usual;
	return options->memory_max / 4 > usual ? options->memory_max / 4 : usual;
}

/* --- Start and stop ------------------------------------------------------------------------ */

/* Prints the one line on standard output, which becomes a copy of standard error. */
static bool print_ready(const struct listeners *listeners) {
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

static bool serve(const struct options *options, struct daemon *daemon,
		  struct listeners *listeners) {
	struct server_options server_options = {
	    .program = options->program,
	    .journal = daemon->journal,
	    .snapshotter = daemon->snapshotter,
	    .vfs = daemon->journal != NULL ? &daemon->recovery.vfs : NULL,
	    .heap = &daemon->heap,
	    .replayed = daemon->recovery.replayed,
	    .changes_max = options->changes_max,
	    .acl_path = options->acl,
	    .acl = &daemon->acl,
	    .tls_files = &options->tls,
	    .time_ms = daemon->recovery.time_ms,
	    .waiting_max = options->waiting_max,
	    .sessions_each = options->sessions_each,
	    .streams = {.credentials = daemon->credentials,
			.tls_policy = options->tls_policy,
			.connections_max = connections_allowed(options->connections_max, listeners),
			.connections_each = options->connections_each,
			.held_max = connections_memory(options)}};
	/* One peer has a part of what there is. */
	if (options->connections_each == options_usual_part(options->connections_max))
		server_options.streams.connections_each =
		    options_usual_part(server_options.streams.connections_max);
	struct server *server = server_new(daemon->service, listeners, &server_options);
	struct rpcbind *rpcbind = NULL;
	bool served = false;

	if (server == NULL)
		return false;
	report_memory(options, daemon->service);
	if (enter_rpcbind(options, listeners, &rpcbind)) {
		if (print_ready(listeners)) {
			sd_notify_state("READY=1");
			served = svc_run_turns(server);
		}
		/* All replies have been sent. Because rpcbind may take seconds, peers learn first
		   that the server is gone. */
		listeners_shutdown(listeners);
		server_free(server);
		rpcbind_unregister(rpcbind, RPCBIND_STOP_MS);
		return served;
	}
	server_free(server);
	return served;
}

/* Returns the exit code. */
static int run(const struct options *options) {
	struct listeners listeners = {.count = 0};
	struct daemon daemon;
	int code = EXIT_CANNOT_SERVE;

	bound = &listeners;
	if (server_init(&daemon, options) &&
	    (options->address_count > 0
		 ? listeners_open(&listeners, options->addresses, options->address_count)
		 : listeners_open_default(&listeners))) {
		if (!check_access(options, &listeners)) {
			code = EXIT_USAGE;
		} else if (daemon.journal == NULL ||
			   recovery_run(&daemon.recovery, daemon.service)) {
			block_signals();
			if ((daemon.journal == NULL || start_journal(&daemon)) &&
			    serve(options, &daemon, &listeners))
				code = EXIT_SUCCESS;
		}
		listeners_close(&listeners);
	}
	bound = NULL;
	server_destroy(&daemon);
	return code;
}

/* A backup is a file, a store a directory. */
static bool check(const char *path) {
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) ? restore_check(path)
								   : recovery_check(path);
}

/* What kvd was to do instead of serving. Returns false if it is to serve; else *code is set. */
static bool run_once(const struct options *options, int *code) {
	bool done;

	if (options->who != NULL)
		done = acl_file_explain(options->acl, options->who, options->key);
	else if (options->check != NULL)
		done = check(options->check);
	else if (options->restore != NULL)
		done = restore_backup(options->data, options->restore);
	else if (options->is_restored)
		done = restore_as_another(options->data);
	else if (options->is_moved)
		done = restore_as_moved(options->data);
	else
		return false;
	*code = done ? EXIT_SUCCESS : EXIT_CANNOT_SERVE;
	return true;
}

int main(int argc, char **argv) {
	struct options options;
	int code;

	process_open_standard_descriptors();
	(void)process_close_descriptors(-1);
	process_reset_signals();
	log_open("kvd", 0);
	switch (options_read(argc, argv, &options)) {
	case OPTIONS_DONE:
		return EXIT_SUCCESS;
	case OPTIONS_ERROR:
		return EXIT_USAGE;
	case OPTIONS_RUN:
		break;
	}
	log_open("kvd", options.verbosity);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (run_once(&options, &code))
		return code;
	log_start(options.verbosity);
	set_signals();
	set_inherited_state();
	if (options.data != NULL)
		report_file_limit();
	return run(&options);
}

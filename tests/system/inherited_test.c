/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd and kvctl started with everything twisted that a process inherits; and kvd's signals. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { ALARM_SECONDS = 2, FILES = 64, LEFT_OPEN = 50, NICENESS = 10 };

static const char twist_variable[] = "KV_TEST_TWIST";

static void lower_limit(__rlimit_resource_t resource, rlim_t value) {
	struct rlimit limit;

	if (getrlimit(resource, &limit) == 0) {
		limit.rlim_cur = value;
		(void)setrlimit(resource, &limit);
	}
}

/*
 * With the variable set, this program is the wrapper of another one: it twists what that one
 * inherits and runs it. The C library hands a constructor the arguments of main().
 */
static __attribute__((constructor)) void twist(int argc, char **argv) {
	sigset_t all;
	FILE *file;

	if (getenv(twist_variable) == NULL || argc < 2)
		return;
	(void)unsetenv(twist_variable);
	for (int number = 1; number <= SIGRTMAX; number++)
		(void)signal(number, SIG_IGN);
	/* Not ignored: one that is pending would end a program that did not stop the timer. */
	(void)signal(SIGALRM, SIG_DFL);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGALRM);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	if (strstr(argv[1], "kvd") != NULL)
		(void)alarm(ALARM_SECONDS);
	(void)umask(0777);
	lower_limit(RLIMIT_NOFILE, FILES);
	lower_limit(RLIMIT_STACK, 256 << 10);
	lower_limit(RLIMIT_CORE, 0);
	(void)!nice(NICENESS);
	file = fopen("/proc/self/oom_score_adj", "w");
	if (file != NULL) {
		(void)fputs("500", file);
		(void)fclose(file);
	}
	(void)setenv("TZ", "Pacific/Kiritimati", 1);
	(void)setenv("LC_ALL", "tr_TR.UTF-8", 1);
	(void)close(STDIN_FILENO);
	(void)dup2(open("/dev/zero", O_RDONLY), LEFT_OPEN);
	(void)close(STDERR_FILENO);
	(void)execv(argv[1], argv + 1);
	_exit(127);
}

/* This program, which twists what the next program inherits. */
static const char *twister(void) {
	static char path[512];

	ck_assert_int_gt(readlink("/proc/self/exe", path, sizeof(path) - 1), 0);
	ck_assert_int_eq(setenv(twist_variable, "1", 1), 0);
	return path;
}

/* A line of /proc/PID/FILE that begins with `name`, or the whole file for an empty name. */
static void proc_line(const struct server *server, const char *file, const char *name,
		      char line[256]) {
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)server->process.pid, file);
	FILE *stream = fopen(path, "re");
	ck_assert_ptr_nonnull(stream);
	do
		ck_assert_ptr_nonnull(fgets(line, 256, stream));
	while (strncmp(line, name, strlen(name)) != 0);
	(void)fclose(stream);
}

static bool is_open(const struct server *server, int fd) {
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)server->process.pid, fd);
	return access(path, F_OK) == 0;
}

/* Runs kvctl, twisted as well, and expects success and these words on standard output. */
static void run_kvctl(const struct server *server, const char *const words[], const char *out) {
	const char *argv[16] = {twister(), NULL, "-s", NULL};
	char kvctl[512];
	char address[128];

	server_program("kvctl", kvctl);
	server_address(server, VIA_LOCAL, address);
	argv[1] = getenv("KVCTL") != NULL ? getenv("KVCTL") : kvctl;
	argv[3] = address;
	for (size_t i = 0; words[i] != NULL; i++)
		argv[4 + i] = words[i];
	struct run run = run_program(argv);
	ck_assert_msg(run.status == 0, "kvctl %s: exit %d", words[0], run.status);
	ck_assert_str_eq(run.out, out);
	run_free(&run);
}

TEST(all_that_a_program_inherits_is_set_at_its_start) {
	struct server server;
	char dir[64];
	char line[256];

	if (getenv("KVD_WRAPPER") != NULL) {
		suite_skip("inherited state: kvd runs in a wrapper already");
		return;
	}
	suite_directory(dir);
	ck_assert_int_eq(setenv("KVD_WRAPPER", twister(), 1), 0);
	uint64_t start_ms = suite_now_ms();
	server_start(&server, "-d", dir, NULL);

	/* What the event loop reads is blocked: SIGHUP, SIGINT, SIGUSR1 and SIGTERM. */
	proc_line(&server, "status", "SigBlk:", line);
	ck_assert_str_eq(line, "SigBlk:\t0000000000004203\n");
	ck_assert(!is_open(&server, LEFT_OPEN));
	proc_line(&server, "status", "Umask:", line);
	ck_assert_str_eq(line, "Umask:\t0077\n");
	proc_line(&server, "limits", "Max open files", line);
	ck_assert_uint_gt(strtoul(line + strlen("Max open files"), NULL, 10), FILES);
	proc_line(&server, "limits", "Max stack size", line);
	ck_assert_uint_ge(strtoul(line + strlen("Max stack size"), NULL, 10), 1 << 20);
	if (geteuid() == 0) {
		proc_line(&server, "oom_score_adj", "", line);
		ck_assert_str_eq(line, "0\n");
		ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)server.process.pid), 0);
	}
	run_kvctl(&server, WORDS("-q", "put", "k", "v"), "");
	/* A snapshot needs a child, and SIGCHLD. */
	run_kvctl(&server, WORDS("-q", "-t", "60", "snapshot"), "");
	run_kvctl(&server, WORDS("get", "k"), "v");
	run_kvctl(&server, WORDS("-q", "lock", "l", "sh", "-c", "echo run"), "run\n");
	while (suite_now_ms() < start_ms + (ALARM_SECONDS + 1) * 1000)
		suite_pause_ms(50);
	server_stop(&server);
}

TEST(a_signal_that_means_nothing_to_kvd_does_not_end_it) {
	static const int signals[] = {SIGHUP,	SIGUSR2, SIGALRM, SIGPIPE,  SIGVTALRM, SIGPROF,
				      SIGIO,	SIGPWR,	 SIGXFSZ, SIGXCPU,  SIGTTIN,   SIGTTOU,
				      SIGWINCH, SIGURG,	 SIGCHLD, SIGSTKFLT};

	fixture_plain();
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		process_signal(&fx.server.process, signals[i]);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		process_signal(&fx.server.process, number);
	peer_ping(&fx.peer);
	/* Read by the event loop at its own time. */
	char *said = server_said(&fx.server);
	while (strstr(said, "Hangup") == NULL) {
		free(said);
		suite_pause_ms(1);
		said = server_said(&fx.server);
	}
	free(said);
	fixture_end();
}

/* While the log is not read, standard error is full after 64 KiB. */
TEST(a_log_that_is_not_read_keeps_no_call_from_being_served) {
	struct peer peer;
	int ends[2];
	char wrapper[96];
	char script[80];
	char dir[64];

	if (getenv("KVD_WRAPPER") != NULL) {
		suite_skip("a full log: kvd runs in a wrapper already");
		return;
	}
	suite_directory(dir);
	(void)snprintf(script, sizeof(script), "%s/start", dir);
	(void)snprintf(wrapper, sizeof(wrapper), "sh %s", script);
	ck_assert_int_eq(pipe(ends), 0);
	FILE *file = fopen(script, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fprintf(file, "exec \"$@\" 2>&%d\n", ends[1]), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(setenv("KVD_WRAPPER", wrapper, 1), 0);
	fixture_open(&fx, "-vv", NULL);
	for (int i = 0; i < 1000; i++) {
		process_signal(&fx.server.process, SIGHUP);
		peer_open(&peer, &fx.server, VIA_TCP);
		peer_ping(&peer);
		peer_close(&peer);
	}
	/* As another process that shares the pipe sees it. */
	ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	peer_ping(&fx.peer);
	fixture_end();
}

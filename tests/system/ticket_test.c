/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command with a ticket is killed (SIGKILL) before and after each of its system calls from the
 * first look at the ticket on, and then run again: what it does happens once. The server is killed
 * and started again in between, every few times.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kv/kv.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

enum {
	STOPS_MAX = 5000, /* far more than a command makes */
	RESTART_EVERY = 8,
	DIED = -1,
};

static char directory[64];
static char ticket[96];
static char kvctl[512];
static char address[128];

static void begin(void) {
	fixture_durable();
	suite_directory(directory);
	(void)snprintf(ticket, sizeof(ticket), "%s/ticket", directory);
	server_program("kvctl", kvctl);
	server_address(&fx.server, VIA_LOCAL, address);
}

static void finish(void) {
	(void)unlink(ticket);
	(void)rmdir(directory);
	fixture_end();
}

/* --- A process that is killed at one of its stops -------------------------------------------- */

static pid_t start_traced(const char *const argv[]) {
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	/* The leak checker of a sanitizer cannot work in a process that is traced. */
	(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(99);
	(void)execv(argv[0], (char *const *)argv);
	_exit(98);
}

/*
 * Runs it up to its stop number `last`, counted from the first one at which the ticket exists, and
 * kills it there. DIED, or its exit status if it ended before.
 */
static int run_until(const char *const argv[], unsigned last) {
	pid_t pid = start_traced(argv);
	unsigned stops = 0;
	int status = 0;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), 0);
	while (WIFSTOPPED(status)) {
		if (stops > 0 || access(ticket, F_OK) == 0)
			stops++;
		ck_assert_uint_lt(stops, STOPS_MAX);
		if (stops == last) {
			ck_assert_int_eq(kill(pid, SIGKILL), 0);
			ck_assert_int_eq(waitpid(pid, &status, 0), pid);
			return DIED;
		}
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool can_trace(void) {
	static const char *const argv[] = {"/bin/true", NULL};

	if (run_until(argv, STOPS_MAX - 1) != 99)
		return true;
	suite_skip("this place does not let a process trace its child");
	return false;
}

/* --- A command that is run until it is done -------------------------------------------------- */

static struct kv_client *open_client(void) {
	struct kv_options options = {.server = address, .timeout_ms = 60000};
	struct kv_client *client;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

static size_t size_of(const char *key) {
	struct kv_client *client = open_client();
	struct kv_value value;
	enum kv_status status = kv_get(client, bytes(key), &value);
	size_t size = status == KV_OK ? value.size : 0;

	ck_assert(status == KV_OK || status == KV_NOKEY);
	kv_value_free(&value);
	kv_close(client);
	return size;
}

/* The same command again: it is done, and prints what it would have printed. */
static void run_again(const char *const argv[], const char *printed) {
	struct run run = run_program(argv);

	if (run.status != 0 || strcmp(run.out, printed) != 0)
		ck_abort_msg("exit status %d, printed \"%s\", not \"%s\"; \"%s\"", run.status,
			     run.out, printed, run.err);
	run_free(&run);
}

/* At every stop, or at each `step`th. Returns how many there were. */
static unsigned kill_everywhere(const char *const argv[], const char *key, bool is_deleting,
				unsigned step) {
	for (unsigned last = 1;; last += step) {
		struct kv_client *client = open_client();
		uint64_t version = 0;
		char printed[64];
		size_t size;

		/* What a delete removes, and at which version the command finds the key. */
		ck_assert_int_eq(
		    kv_put(client, bytes(key), bytes(is_deleting ? "x" : ""), KV_ANY, &version),
		    KV_OK);
		kv_close(client);
		(void)snprintf(printed, sizeof(printed), "%llu\n",
			       (unsigned long long)(version + (is_deleting ? 0 : 1)));
		(void)unlink(ticket);

		int ended = run_until(argv, last);
		if (last % RESTART_EVERY == 0)
			server_restart(&fx.server);
		run_again(argv, printed);
		size = size_of(key);
		ck_assert_uint_eq(size, is_deleting ? 0 : 1);
		/* And once more, when it is done. */
		run_again(argv, printed);
		ck_assert_uint_eq(size_of(key), size);
		if (ended != DIED) {
			ck_assert_int_eq(ended, 0);
			return last;
		}
	}
}

CASE(killed, .setup = begin, .teardown = finish, .seconds = 600);

TEST(rule_8_1_an_append_that_was_killed_anywhere_and_run_again_happens_once) {
	const char *const argv[] = {kvctl, "-s", address,    "-t",   "60", "append",
				    "key", "x",	 "--ticket", ticket, NULL};

	if (can_trace())
		suite_figure("killed at %u places", kill_everywhere(argv, "key", false, 1) - 1);
}

TEST(rule_8_1_a_delete_that_was_killed_anywhere_and_run_again_happens_once) {
	const char *const argv[] = {kvctl, "-s",  address,    "-t",   "60",
				    "del", "key", "--ticket", ticket, NULL};

	if (can_trace())
		(void)kill_everywhere(argv, "key", true, 3);
}

TEST(rule_8_1_a_txn_that_was_killed_anywhere_and_run_again_happens_once) {
	const char *const argv[] = {kvctl,	"-s",  address, "-t",	    "60",   "txn",
				    "--append", "key", "x",	"--ticket", ticket, NULL};

	if (can_trace())
		(void)kill_everywhere(argv, "key", false, 5);
}

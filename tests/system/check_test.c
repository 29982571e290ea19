/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd --check, and what kvd says while it reads for long. Damage: durable_start_test.c. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_directory.h"
#include "fixture.h"
#include "freeze.h"
#include "pty.h"
#include "suite.h"
#include "test.h"

enum {
	EXIT_UNSOUND = 1,
	WAIT_MS = 60000,
	LONG_MS = 1200,	    /* longer than kvd is silent for */
	OPERATIONS = 70000, /* kvd looks at the clock after so many */
	AT_ONCE = 1000,	    /* of them under way */
	TRIES = 20,
};

static const char *program(char kvd[512]) {
	server_program("kvd", kvd);
	return getenv("KVD") != NULL ? getenv("KVD") : kvd;
}

static struct run check(const char *dir) {
	char kvd[512];

	return run_program((const char *const[]){program(kvd), "--check", dir, NULL});
}

/* The number after a name at the beginning of a line. */
static uint64_t number(const char *text, const char *name) {
	size_t length = strlen(name);

	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, length) == 0 && line[length] == ' ')
			return strtoull(line + length + 1, NULL, 10);
	}
	ck_abort_msg("no %s in: %s", name, text);
	return 0;
}

static void write_some(struct fixture *fixture, uint64_t from) {
	for (uint64_t seq = from; seq < from + 5; seq++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)(seq % 3));
		struct change change = append(&fixture->session, 0, seq, key, "x");
		ck_assert_int_eq(change_status(&fixture->peer, &change), KV1_OK);
	}
}

CASE(check, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_sound_directory_is_exit_0_and_its_numbers_on_standard_output) {
	write_some(&fx, 1);
	fixture_end();
	struct run run = check(fx.dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	ck_assert_str_eq(run.err, "");
	ck_assert_uint_eq(number(run.out, "keys"), 3);
	ck_assert_uint_eq(number(run.out, "sessions"), 1);
	ck_assert_uint_eq(number(run.out, "segments"), 1);
	ck_assert_uint_eq(number(run.out, "first_operation"), 1);
	/* An OPEN and five writes. */
	ck_assert_uint_eq(number(run.out, "last_operation"), 6);
	ck_assert_uint_eq(number(run.out, "snapshot_position"), 0);
	ck_assert_ptr_nonnull(strstr(run.out, "clean_stop yes\n"));
	run_free(&run);
}

TEST(a_directory_after_a_kill_is_sound_and_said_to_be_so) {
	write_some(&fx, 1);
	fixture_kill();
	struct run run = check(fx.dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	ck_assert_ptr_nonnull(strstr(run.out, "clean_stop no\n"));
	ck_assert_uint_eq(number(run.out, "last_operation"), 6);
	run_free(&run);
}

TEST(a_snapshot_and_what_follows_it_are_counted_together) {
	write_some(&fx, 1);
	process_signal(&fx.server.process, SIGUSR1);
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
	while (counter(&fx.peer, "snapshots") == 0) {
		ck_assert_uint_lt(suite_now_ms(), deadline_ms);
		suite_pause_ms(5);
	}
	write_some(&fx, 10);
	fixture_end();
	struct run run = check(fx.dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	ck_assert_uint_eq(number(run.out, "snapshot_position"), 6);
	ck_assert_uint_gt(number(run.out, "snapshot_bytes"), 0);
	ck_assert_uint_eq(number(run.out, "last_operation"), 11);
	ck_assert_uint_eq(number(run.out, "keys"), 3);
	run_free(&run);
}

TEST(nothing_in_the_directory_is_changed) {
	char before[DATADIR_PATH_MAX];
	struct stat was;
	struct stat is;

	write_some(&fx, 1);
	fixture_kill();
	datadir_last(fx.dir, "journal-", before);
	unsigned spares = datadir_count(fx.dir, "spare");
	ck_assert_int_eq(stat(before, &was), 0);
	struct run run = check(fx.dir);
	ck_assert_int_eq(run.status, 0);
	run_free(&run);
	ck_assert_int_eq(stat(before, &is), 0);
	ck_assert_int_eq(was.st_mtim.tv_sec, is.st_mtim.tv_sec);
	ck_assert_int_eq(was.st_mtim.tv_nsec, is.st_mtim.tv_nsec);
	ck_assert_uint_eq(datadir_count(fx.dir, "journal-"), 1);
	ck_assert_uint_eq(datadir_count(fx.dir, "spare"), spares);
}

TEST(a_directory_that_may_only_be_read_can_be_checked) {
	write_some(&fx, 1);
	fixture_end();
	ck_assert_int_eq(chmod(fx.dir, 0555), 0);
	struct run run = check(fx.dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	run_free(&run);
	ck_assert_int_eq(chmod(fx.dir, 0755), 0);
}

CASE(check_alone);

TEST(a_directory_that_is_not_there_is_exit_1_and_one_line) {
	char missing[80];
	char dir[64];

	suite_directory(dir);
	(void)snprintf(missing, sizeof missing, "%s/none", dir);
	struct run run = check(missing);
	ck_assert_int_eq(run.status, EXIT_UNSOUND);
	ck_assert_str_eq(run.out, "");
	ck_assert_ptr_nonnull(strstr(run.err, missing));
	ck_assert_ptr_eq(strchr(run.err, '\n') + 1, run.err + strlen(run.err));
	run_free(&run);
}

TEST(a_directory_without_a_store_is_exit_1_and_one_line) {
	char dir[64];
	char path[80];

	suite_directory(dir);
	for (unsigned i = 0; i < 2; i++) {
		struct run run = check(dir);

		ck_assert_int_eq(run.status, EXIT_UNSOUND);
		ck_assert_str_eq(run.out, "");
		ck_assert_ptr_nonnull(strstr(run.err, "there is no store"));
		ck_assert_ptr_eq(strchr(run.err, '\n') + 1, run.err + strlen(run.err));
		run_free(&run);
		/* Other files are no store either. */
		(void)snprintf(path, sizeof path, "%s/notes", dir);
		FILE *file = fopen(path, "w");
		ck_assert_ptr_nonnull(file);
		ck_assert_int_eq(fclose(file), 0);
	}
}

TEST(numbers_that_cannot_be_written_are_exit_1) {
	struct fixture fixture;
	char command[768];
	char kvd[512];
	char dir[64];

	suite_directory(dir);
	fixture_open(&fixture, "-d", dir, NULL);
	fixture_close(&fixture);
	(void)snprintf(command, sizeof command, "exec '%s' --check '%s' > /dev/full", program(kvd),
		       dir);
	struct run run = run_program((const char *const[]){"sh", "-c", command, NULL});
	ck_assert_int_eq(run.status, EXIT_UNSOUND);
	ck_assert_ptr_nonnull(strstr(run.err, "standard output"));
	run_free(&run);
}

/* --- Long work ----------------------------------------------------------------------------------
 */

/* Starts --check on a terminal, holds it up while it reads, and lets it end. */
static void check_held_up(const char *dir, struct terminal *terminal) {
	struct process process;
	char kvd[512];
	const char *const argv[] = {program(kvd), "--check", dir, NULL};

	process_start(&process,
		      &(struct command){.argv = argv, .in = -1, .out = -1, .err = terminal->slave});
	if (freeze_with_file(&process, "/journal-")) {
		suite_pause_ms(LONG_MS);
		freeze_continue(process.pid);
	}
	ck_assert_int_eq(process_wait(&process, WAIT_MS / 1000), 0);
	terminal_read(terminal);
}

CASE(long_work, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_check_that_takes_long_shows_on_a_terminal_how_far_it_is) {
	struct terminal terminal;

	if (!terminal_open(&terminal)) {
		suite_skip("progress on a terminal: this machine has none to give");
		return;
	}
	write_some(&fx, 1);
	fixture_end();
	/* It may have been past the place when it was stopped. */
	for (int i = 0; i < TRIES && terminal.size == 0; i++)
		check_held_up(fx.dir, &terminal);
	ck_assert_msg(strstr(terminal.text, "% of ") != NULL, "\"%s\"", terminal.text);
	/* The line is given back. */
	const char *end = "\r\033[K";
	ck_assert_str_eq(terminal.text + terminal.size - strlen(end), end);
	terminal_close(&terminal);
}

static void write_many(struct fixture *fixture) {
	for (uint64_t seq = 1; seq <= OPERATIONS;) {
		uint32_t xids[AT_ONCE];

		for (unsigned i = 0; i < AT_ONCE; i++) {
			struct change change = put(&fixture->session, 0, seq++, "key", "x");
			xids[i] = change_send(&fixture->peer, &change);
		}
		for (unsigned i = 0; i < AT_ONCE; i++) {
			struct answer answer = peer_await(&fixture->peer, xids[i]);
			answer_free(&answer);
		}
	}
}

TEST(a_start_that_takes_long_says_in_the_log_how_far_it_is) {
	bool has_said = false;

	write_many(&fx);
	fixture_end();
	for (int i = 0; i < TRIES && !has_said; i++) {
		struct server server;

		server_launch(&server, (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d",
							     fx.dir, NULL});
		if (freeze_with_file(&server.process, "/journal-")) {
			suite_pause_ms(LONG_MS);
			freeze_continue(server.process.pid);
		}
		ck_assert(server_await_ready(&server));
		char *said = server_said(&server);
		has_said = strstr(said, "reading the journal: 65536 operations so far") != NULL;
		free(said);
		server_kill(&server);
	}
	ck_assert(has_said);
}

CASE(long_work_with_options, .teardown = fixture_end);

TEST(a_start_that_takes_long_can_be_stopped) {
	bool is_stopped = false;
	char local[128];
	const char *path = local + strlen("local:");

	suite_directory(fx.dir);
	(void)snprintf(local, sizeof local, "local:%s/s", fx.dir);
	fixture_open(&fx, "-d", fx.dir, NULL);
	write_many(&fx);
	fixture_end();
	/* It may have been past the place when it was stopped. */
	for (int i = 0; i < TRIES && !is_stopped; i++) {
		struct server server;

		server_launch(&server,
			      (const char *const[]){"-n", "-l", local, "-d", fx.dir, NULL});
		ck_assert(freeze_with_file(&server.process, "/journal-"));
		ck_assert_int_eq(access(path, F_OK), 0);
		process_signal(&server.process, SIGTERM);
		freeze_continue(server.process.pid);
		is_stopped = !server_await_ready(&server);
		ck_assert_int_eq(server_wait(&server), 0);
		char *said = server_said(&server);
		ck_assert(!is_stopped || strstr(said, "stopped before it served\n") != NULL);
		ck_assert_int_ne(access(path, F_OK), 0);
		free(said);
	}
	ck_assert(is_stopped);
	struct run run = check(fx.dir);
	ck_assert_int_eq(run.status, 0);
	ck_assert_ptr_nonnull(strstr(run.out, "clean_stop yes\n"));
	run_free(&run);
}

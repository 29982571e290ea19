/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd --check, and what kvd says while it reads for long. Damage: durable_start_test.c. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catch.h"
#include "datadir.h"
#include "scene.h"
#include "suite.h"
#include "terminal.h"

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

static void write_some(struct scene *scene, uint64_t from) {
	for (uint64_t seq = from; seq < from + 5; seq++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)(seq % 3));
		struct change change = append(&scene->session, 0, seq, key, "x");
		ck_assert_int_eq(change_status(&scene->peer, &change), KV1_OK);
	}
}

START_TEST(a_sound_directory_is_exit_0_and_its_numbers_on_standard_output) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_some(&scene, 1);
	scene_end(&scene);
	struct run run = check(dir);
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
END_TEST

START_TEST(a_directory_after_a_kill_is_sound_and_said_to_be_so) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_some(&scene, 1);
	peer_close(&scene.peer);
	server_kill(&scene.server);
	struct run run = check(dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	ck_assert_ptr_nonnull(strstr(run.out, "clean_stop no\n"));
	ck_assert_uint_eq(number(run.out, "last_operation"), 6);
	run_free(&run);
}
END_TEST

START_TEST(a_snapshot_and_what_follows_it_are_counted_together) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_some(&scene, 1);
	process_signal(&scene.server.process, SIGUSR1);
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
	while (counter(&scene.peer, "snapshots") == 0) {
		ck_assert_uint_lt(suite_now_ms(), deadline_ms);
		suite_pause_ms(5);
	}
	write_some(&scene, 10);
	scene_end(&scene);
	struct run run = check(dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	ck_assert_uint_eq(number(run.out, "snapshot_position"), 6);
	ck_assert_uint_gt(number(run.out, "snapshot_bytes"), 0);
	ck_assert_uint_eq(number(run.out, "last_operation"), 11);
	ck_assert_uint_eq(number(run.out, "keys"), 3);
	run_free(&run);
}
END_TEST

START_TEST(nothing_in_the_directory_is_changed) {
	char before[DATADIR_PATH_MAX];
	struct scene scene;
	struct stat was;
	struct stat is;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_some(&scene, 1);
	peer_close(&scene.peer);
	server_kill(&scene.server);
	datadir_last(dir, "journal-", before);
	unsigned spares = datadir_count(dir, "spare");
	ck_assert_int_eq(stat(before, &was), 0);
	struct run run = check(dir);
	ck_assert_int_eq(run.status, 0);
	run_free(&run);
	ck_assert_int_eq(stat(before, &is), 0);
	ck_assert_int_eq(was.st_mtim.tv_sec, is.st_mtim.tv_sec);
	ck_assert_int_eq(was.st_mtim.tv_nsec, is.st_mtim.tv_nsec);
	ck_assert_uint_eq(datadir_count(dir, "journal-"), 1);
	ck_assert_uint_eq(datadir_count(dir, "spare"), spares);
}
END_TEST

START_TEST(a_directory_that_may_only_be_read_can_be_checked) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_some(&scene, 1);
	scene_end(&scene);
	ck_assert_int_eq(chmod(dir, 0555), 0);
	struct run run = check(dir);
	ck_assert_msg(run.status == 0, "exit %d: %s", run.status, run.err);
	run_free(&run);
	ck_assert_int_eq(chmod(dir, 0777), 0);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_exit_1_and_one_line) {
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
END_TEST

START_TEST(numbers_that_cannot_be_written_are_exit_1) {
	char command[768];
	char kvd[512];
	char dir[64];

	suite_directory(dir);
	(void)snprintf(command, sizeof command, "exec '%s' --check '%s' > /dev/full", program(kvd),
		       dir);
	struct run run = run_program((const char *const[]){"sh", "-c", command, NULL});
	ck_assert_int_eq(run.status, EXIT_UNSOUND);
	ck_assert_ptr_nonnull(strstr(run.err, "standard output"));
	run_free(&run);
}
END_TEST

/* --- Long work ----------------------------------------------------------------------------------
 */

/* Starts --check on a terminal, holds it up while it reads, and lets it end. */
static void check_held_up(const char *dir, struct terminal *terminal) {
	struct process process;
	char kvd[512];
	const char *const argv[] = {program(kvd), "--check", dir, NULL};

	process_start(&process,
		      &(struct command){.argv = argv, .in = -1, .out = -1, .err = terminal->slave});
	if (catch_with_file(&process, "/journal-")) {
		suite_pause_ms(LONG_MS);
		catch_go(process.pid);
	}
	ck_assert_int_eq(process_wait(&process, WAIT_MS / 1000), 0);
	terminal_read(terminal);
}

START_TEST(a_check_that_takes_long_shows_on_a_terminal_how_far_it_is) {
	struct terminal terminal;
	struct scene scene;
	char dir[64];

	if (!terminal_open(&terminal)) {
		suite_skip("progress on a terminal: this machine has none to give");
		return;
	}
	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_some(&scene, 1);
	scene_end(&scene);
	/* It may have been past the place when it was stopped. */
	for (int i = 0; i < TRIES && terminal.size == 0; i++)
		check_held_up(dir, &terminal);
	ck_assert_msg(strstr(terminal.text, "% of ") != NULL, "\"%s\"", terminal.text);
	/* The line is given back. */
	const char *end = "\r\033[K";
	ck_assert_str_eq(terminal.text + terminal.size - strlen(end), end);
	terminal_close(&terminal);
}
END_TEST

static void write_many(struct scene *scene) {
	for (uint64_t seq = 1; seq <= OPERATIONS;) {
		uint32_t xids[AT_ONCE];

		for (unsigned i = 0; i < AT_ONCE; i++) {
			struct change change = put(&scene->session, 0, seq++, "key", "x");
			xids[i] = change_send(&scene->peer, &change);
		}
		for (unsigned i = 0; i < AT_ONCE; i++) {
			struct answer answer = peer_await(&scene->peer, xids[i]);
			answer_free(&answer);
		}
	}
}

START_TEST(a_start_that_takes_long_says_in_the_log_how_far_it_is) {
	struct scene scene;
	bool has_said = false;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	write_many(&scene);
	scene_end(&scene);
	for (int i = 0; i < TRIES && !has_said; i++) {
		struct server server;

		server_launch(
		    &server, (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d", dir, NULL});
		if (catch_with_file(&server.process, "/journal-")) {
			suite_pause_ms(LONG_MS);
			catch_go(server.process.pid);
		}
		ck_assert(server_await_ready(&server));
		char *said = server_said(&server);
		has_said = strstr(said, "reading the journal: 65536 operations so far") != NULL;
		free(said);
		server_kill(&server);
	}
	ck_assert(has_said);
}
END_TEST

START_TEST(a_start_that_takes_long_can_be_stopped) {
	struct scene scene;
	bool is_stopped = false;
	char dir[64];
	char local[128];
	const char *path = local + strlen("local:");

	suite_directory(dir);
	(void)snprintf(local, sizeof local, "local:%s/s", dir);
	scene_open(&scene, "-d", dir, NULL);
	write_many(&scene);
	scene_end(&scene);
	/* It may have been past the place when it was stopped. */
	for (int i = 0; i < TRIES && !is_stopped; i++) {
		struct server server;

		server_launch(&server, (const char *const[]){"-n", "-l", local, "-d", dir, NULL});
		ck_assert(catch_with_file(&server.process, "/journal-"));
		ck_assert_int_eq(access(path, F_OK), 0);
		process_signal(&server.process, SIGTERM);
		catch_go(server.process.pid);
		is_stopped = !server_await_ready(&server);
		ck_assert_int_eq(server_wait(&server), 0);
		char *said = server_said(&server);
		ck_assert(!is_stopped || strstr(said, "stopped before it served\n") != NULL);
		ck_assert_int_ne(access(path, F_OK), 0);
		free(said);
	}
	ck_assert(is_stopped);
	struct run run = check(dir);
	ck_assert_int_eq(run.status, 0);
	ck_assert_ptr_nonnull(strstr(run.out, "clean_stop yes\n"));
	run_free(&run);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("check");
	TCase *tool = suite_case(suite, "--check");
	TCase *slow = suite_case(suite, "long work");

	tcase_add_test(tool, a_sound_directory_is_exit_0_and_its_numbers_on_standard_output);
	tcase_add_test(tool, a_directory_after_a_kill_is_sound_and_said_to_be_so);
	tcase_add_test(tool, a_snapshot_and_what_follows_it_are_counted_together);
	tcase_add_test(tool, nothing_in_the_directory_is_changed);
	tcase_add_test(tool, a_directory_that_may_only_be_read_can_be_checked);
	tcase_add_test(tool, a_directory_that_is_not_there_is_exit_1_and_one_line);
	tcase_add_test(tool, numbers_that_cannot_be_written_are_exit_1);
	tcase_add_test(slow, a_check_that_takes_long_shows_on_a_terminal_how_far_it_is);
	tcase_add_test(slow, a_start_that_takes_long_says_in_the_log_how_far_it_is);
	tcase_add_test(slow, a_start_that_takes_long_can_be_stopped);
	return suite_run(suite);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots of a real kvd: who asks for them, what they cost, what a kill leaves of them. */
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
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_MAYBE = 5,
	LARGE = 1 << 20,
	LARGE_KEYS = 48, /* enough to be caught at it, and too few for one that nobody asked for */
	WAIT_MS = 60000,
	ENDED_MS = 20000,
};

/* --- What a test is made of --------------------------------------------------------------------
 */

static kv1_snapshot_res ask(struct peer *peer, uint64_t epoch) {
	kv1_snapshot_args args = {.epoch = epoch};
	kv1_snapshot_res res = {.status = KV1_MAYBE};

	peer_call(peer, KVPROC_SNAPSHOT, (xdrproc_t)xdr_kv1_snapshot_args, &args,
		  (xdrproc_t)xdr_kv1_snapshot_res, &res);
	return res;
}

static void await_counter(struct peer *peer, const char *name, uint64_t value) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	while (counter(peer, name) != value) {
		ck_assert_msg(suite_now_ms() < deadline_ms, "%s does not become %llu", name,
			      (unsigned long long)value);
		suite_pause_ms(2);
	}
}

static void fill(struct scene *scene, unsigned keys, uint64_t seq) {
	char *bytes = malloc(LARGE);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'x', LARGE);
	for (unsigned i = 0; i < keys; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "large%u", i);
		struct change change = put_bytes(&scene->session, 0, seq + i, key, bytes, LARGE);
		ck_assert_int_eq(change_status(&scene->peer, &change), KV1_OK);
	}
	free(bytes);
}

/* Has kvd begin a snapshot, and stops the process that writes it, in the middle. */
static pid_t catch_writer(struct scene *scene) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
	uint64_t seq = 1000;

	for (;;) {
		pid_t child = 0;
		struct change change = put(&scene->session, 0, ++seq, "again", "x");

		ck_assert_msg(suite_now_ms() < deadline_ms, "no child was caught");
		ck_assert_int_eq(change_status(&scene->peer, &change), KV1_OK);
		ck_assert_int_eq(ask(&scene->peer, 0).status, KV1_OK);
		do {
			if (catch_child(scene->server.process.pid, "/snapshot.tmp", &child))
				return child;
		} while (counter(&scene->peer, "snapshot_under_way") > 0);
	}
}

static struct run kvctl(const struct server *server, const char *const words[]) {
	const char *argv[16] = {NULL};
	char path[512];
	char address[128];
	size_t count = 3;

	server_program("kvctl", path);
	server_address(server, VIA_LOCAL, address);
	argv[0] = getenv("KVCTL") != NULL ? getenv("KVCTL") : path;
	argv[1] = "-s";
	argv[2] = address;
	for (size_t i = 0; words[i] != NULL; i++)
		argv[count++] = words[i];
	return run_program(argv);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* --- The procedure ------------------------------------------------------------------------------
 */

START_TEST(a_snapshot_reaches_the_position_that_was_promised) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, 3, 1);
	kv1_snapshot_res res = ask(&scene.peer, scene.session.epoch);
	ck_assert_int_eq(res.status, KV1_OK);
	/* An OPEN and three PUTs. */
	ck_assert_uint_eq(res.position, 4);
	await_counter(&scene.peer, "snapshot_under_way", 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_position"), 4);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_error"), 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_writing"), 0);
	ck_assert_uint_eq(datadir_count(dir, "snapshot-"), 1);
	server_restart(&scene.server);
	peer_close(&scene.peer);
	peer_open(&scene.peer, &scene.server, VIA_TCP);
	ck_assert_uint_eq(counter(&scene.peer, "keys"), 3);
	scene_end(&scene);
}
END_TEST

START_TEST(an_empty_store_can_be_snapshot_and_started_from) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	ck_assert_int_eq(session_close(&scene.peer, &scene.session), KV1_OK);
	ck_assert_int_eq(ask(&scene.peer, 0).status, KV1_OK);
	await_counter(&scene.peer, "snapshot_under_way", 0);
	server_restart(&scene.server);
	peer_close(&scene.peer);
	peer_open(&scene.peer, &scene.server, VIA_TCP);
	ck_assert_uint_eq(counter(&scene.peer, "keys"), 0);
	scene_end(&scene);
}
END_TEST

START_TEST(restarts_alone_neither_fill_the_disk_nor_make_the_start_longer) {
	enum { STARTS = 8, SEGMENTS_MAX = 4 };
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	for (uint64_t i = 1; i <= STARTS; i++) {
		uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
		struct change change = append(&scene.session, 0, i, "log", "x");

		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
		/* Snapshots are taken unasked; segments go soon after. */
		while (datadir_count(dir, "journal-") > SEGMENTS_MAX) {
			ck_assert_msg(suite_now_ms() < deadline_ms, "a segment for each start");
			suite_pause_ms(5);
		}
		server_restart(&scene.server);
		peer_close(&scene.peer);
		peer_open(&scene.peer, &scene.server, VIA_TCP);
		scene.session.epoch = hello(&scene.peer).epoch;
	}
	check_key(&scene.peer, "log", "xxxxxxxx", STARTS);
	scene_end(&scene);
}
END_TEST

START_TEST(a_request_from_before_a_restart_asks_for_nothing) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	ck_assert_int_eq(ask(&scene.peer, scene.session.epoch + 1).status, KV1_EPOCH);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_under_way"), 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots"), 0);
	scene_end(&scene);
}
END_TEST

START_TEST(what_did_not_change_is_not_written_twice) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, 1, 1);
	(void)ask(&scene.peer, 0);
	await_counter(&scene.peer, "snapshots", 1);
	ck_assert_uint_eq(ask(&scene.peer, 0).position, 2);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_under_way"), 0);
	fill(&scene, 1, 10);
	ck_assert_uint_eq(ask(&scene.peer, 0).position, 3);
	await_counter(&scene.peer, "snapshots", 2);
	scene_end(&scene);
}
END_TEST

START_TEST(many_who_ask_while_one_is_written_get_one_more) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	pid_t writer = catch_writer(&scene);
	uint64_t before = counter(&scene.peer, "snapshots");
	struct change change = put(&scene.session, 0, 1000000, "later", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(ask(&scene.peer, 0).status, KV1_OK);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_under_way"), 2);
	ck_assert_uint_gt(counter(&scene.peer, "snapshot_expected"), LARGE_KEYS * (uint64_t)LARGE);
	catch_go(writer);
	await_counter(&scene.peer, "snapshot_under_way", 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots"), before + 2);
	scene_end(&scene);
}
END_TEST

START_TEST(a_store_in_memory_only_takes_no_snapshots) {
	struct scene scene;

	scene_open(&scene, NULL);
	ck_assert_int_eq(ask(&scene.peer, 0).status, KV1_UNAVAILABLE);
	struct run run = kvctl(&scene.server, WORDS("snapshot"));
	ck_assert_int_eq(run.status, EXIT_REFUSED);
	ck_assert_str_eq(run.out, "");
	ck_assert_ptr_nonnull(strstr(run.err, "start it with -d"));
	run_free(&run);
	/* Nor does a signal harm it. */
	process_signal(&scene.server.process, SIGUSR1);
	peer_ping(&scene.peer);
	scene_end(&scene);
}
END_TEST

START_TEST(reserved_procedures_are_unavailable) {
	struct scene scene;

	scene_open(&scene, NULL);
	for (uint32_t procedure = 8; procedure <= 13; procedure++) {
		uint32_t xid = peer_xid(&scene.peer);

		if (procedure == KVPROC_SNAPSHOT)
			continue;
		struct call_header header = call_header(xid, procedure);
		peer_send(&scene.peer, message_call(&header, NULL, NULL));
		struct answer answer = peer_await(&scene.peer, xid);
		ck_assert(answer.is_accepted);
		ck_assert_uint_eq(answer.stat, PROC_UNAVAIL);
		answer_free(&answer);
	}
	scene_end(&scene);
}
END_TEST

/* --- kvctl --------------------------------------------------------------------------------------
 */

START_TEST(kvctl_waits_until_it_is_there_and_prints_its_position) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, 20, 1);
	struct run run = kvctl(&scene.server, WORDS("snapshot"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "21\n");
	ck_assert_str_eq(run.err, "");
	run_free(&run);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots"), 1);
	run = kvctl(&scene.server, WORDS("-o", "json", "snapshot"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_int_eq(strncmp(run.out, "{\"position\":21,\"bytes\":2097", 27), 0);
	run_free(&run);
	run = kvctl(&scene.server, WORDS("-q", "snapshot"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "");
	run_free(&run);
	run = kvctl(&scene.server, WORDS("snapshot", "now"));
	ck_assert_int_eq(run.status, EXIT_USAGE);
	run_free(&run);
	scene_end(&scene);
}
END_TEST

START_TEST(kvctl_waits_no_longer_than_it_was_told_to) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	pid_t writer = catch_writer(&scene);
	struct run run = kvctl(&scene.server, WORDS("snapshot", "--wait", "0.05"));
	ck_assert_int_eq(run.status, EXIT_MAYBE);
	ck_assert_ptr_nonnull(strstr(run.err, "not done in 0.05 s"));
	run_free(&run);
	run = kvctl(&scene.server, WORDS("snapshot", "--wait", "0"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "");
	run_free(&run);
	catch_go(writer);
	scene_end(&scene);
}
END_TEST

START_TEST(kvctl_shows_on_a_terminal_how_far_it_is) {
	struct terminal terminal;
	struct process process;
	struct scene scene;
	char address[128];
	char path[512];
	char dir[64];

	if (!terminal_open(&terminal)) {
		suite_skip("progress on a terminal: this machine has none to give");
		return;
	}
	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	pid_t writer = catch_writer(&scene);
	server_program("kvctl", path);
	server_address(&scene.server, VIA_LOCAL, address);
	const char *const argv[] = {getenv("KVCTL") != NULL ? getenv("KVCTL") : path, "-s", address,
				    "snapshot", NULL};
	process_start(&process,
		      &(struct command){.argv = argv, .in = -1, .out = -1, .err = terminal.slave});
	ck_assert_msg(terminal_await(&terminal, "kvctl: snapshot: ", WAIT_MS), "\"%s\"",
		      terminal.text);
	catch_go(writer);
	ck_assert_int_eq(process_wait(&process, WAIT_MS / 1000), 0);
	terminal_read(&terminal);
	/* The line is given back. */
	const char *end = "\r\033[K";
	ck_assert_uint_gt(terminal.size, strlen(end));
	ck_assert_str_eq(terminal.text + terminal.size - strlen(end), end);
	terminal_close(&terminal);
	scene_end(&scene);
}
END_TEST

/* --- The process that writes it -----------------------------------------------------------------
 */

START_TEST(calls_are_served_while_a_snapshot_is_written) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	pid_t writer = catch_writer(&scene);
	struct change change = put(&scene.session, 1, 1, "meanwhile", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	check_key(&scene.peer, "meanwhile", "x", 1);
	catch_go(writer);
	await_counter(&scene.peer, "snapshot_under_way", 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots_failed"), 0);
	scene_end(&scene);
}
END_TEST

START_TEST(a_writer_that_is_killed_is_noticed_and_the_next_one_succeeds) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	pid_t writer = catch_writer(&scene);
	ck_assert_int_eq(kill(writer, SIGKILL), 0);
	await_counter(&scene.peer, "snapshot_under_way", 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots_failed"), 1);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_error"), KV1_UNAVAILABLE);
	ck_assert_uint_eq(datadir_count(dir, "snapshot.tmp"), 0);
	(void)ask(&scene.peer, 0);
	await_counter(&scene.peer, "snapshot_under_way", 0);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_error"), 0);
	scene_end(&scene);
}
END_TEST

/* A child that was stopped does not hear of its parent's end by itself: only the kernel does it. */
START_TEST(a_kill_of_kvd_ends_the_writer_and_frees_the_lock_and_the_ports) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	pid_t writer = catch_writer(&scene);
	ck_assert_uint_eq(datadir_count(dir, "snapshot.tmp"), 1);
	/* At the same addresses, in the same directory, at once. */
	server_restart(&scene.server);
	ck_assert_uint_eq(datadir_count(dir, "snapshot.tmp"), 0);
	/* It is gone, or about to be waited for by whoever inherited it. */
	uint64_t deadline_ms = suite_now_ms() + ENDED_MS;
	for (;;) {
		char path[64];
		(void)snprintf(path, sizeof path, "/proc/%d/stat", (int)writer);
		char *stat = process_read_file(path);
		const char *end = strrchr(stat, ')');
		bool is_gone = end == NULL || end[2] == 'Z' || end[2] == 'X';
		free(stat);
		if (is_gone)
			break;
		ck_assert_msg(suite_now_ms() < deadline_ms, "the writer outlives kvd");
		suite_pause_ms(5);
	}
	peer_close(&scene.peer);
	peer_open(&scene.peer, &scene.server, VIA_TCP);
	ck_assert_uint_ge(counter(&scene.peer, "keys"), LARGE_KEYS);
	scene_end(&scene);
}
END_TEST

START_TEST(a_stop_while_a_snapshot_is_written_does_not_wait_for_it) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	fill(&scene, LARGE_KEYS, 1);
	(void)catch_writer(&scene);
	scene_end(&scene);
	ck_assert_uint_eq(datadir_count(dir, "snapshot.tmp"), 0);
}
END_TEST

START_TEST(a_start_removes_what_an_earlier_one_left_unfinished) {
	struct scene scene;
	char dir[64];
	static const char *const names[] = {"snapshot.tmp", "spare"};

	suite_directory(dir);
	for (size_t i = 0; i < 2; i++) {
		char path[DATADIR_PATH_MAX];
		(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		FILE *file = fopen(path, "w");
		ck_assert_ptr_nonnull(file);
		ck_assert_int_ge(fputs("rubbish", file), 0);
		ck_assert_int_eq(fclose(file), 0);
	}
	scene_open(&scene, "-d", dir, NULL);
	ck_assert_uint_eq(datadir_count(dir, "snapshot.tmp"), 0);
	struct change change = put(&scene.session, 0, 1, "key", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	scene_end(&scene);
	ck_assert_uint_eq(datadir_count(dir, "spare"), 0);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("durable_snapshot");
	TCase *procedure = suite_case(suite, "the procedure");
	TCase *tool = suite_case(suite, "kvctl");
	TCase *writer = suite_case(suite, "the process that writes it");

	tcase_add_test(procedure, a_snapshot_reaches_the_position_that_was_promised);
	tcase_add_test(procedure, an_empty_store_can_be_snapshot_and_started_from);
	tcase_add_test(procedure, restarts_alone_neither_fill_the_disk_nor_make_the_start_longer);
	tcase_add_test(procedure, a_request_from_before_a_restart_asks_for_nothing);
	tcase_add_test(procedure, what_did_not_change_is_not_written_twice);
	tcase_add_test(procedure, many_who_ask_while_one_is_written_get_one_more);
	tcase_add_test(procedure, a_store_in_memory_only_takes_no_snapshots);
	tcase_add_test(procedure, reserved_procedures_are_unavailable);
	tcase_add_test(tool, kvctl_waits_until_it_is_there_and_prints_its_position);
	tcase_add_test(tool, kvctl_waits_no_longer_than_it_was_told_to);
	tcase_add_test(tool, kvctl_shows_on_a_terminal_how_far_it_is);
	tcase_add_test(writer, calls_are_served_while_a_snapshot_is_written);
	tcase_add_test(writer, a_writer_that_is_killed_is_noticed_and_the_next_one_succeeds);
	tcase_add_test(writer, a_kill_of_kvd_ends_the_writer_and_frees_the_lock_and_the_ports);
	tcase_add_test(writer, a_stop_while_a_snapshot_is_written_does_not_wait_for_it);
	tcase_add_test(writer, a_start_removes_what_an_earlier_one_left_unfinished);
	return suite_run(suite);
}

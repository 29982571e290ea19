/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots of a real kvd: requests for them, their cost, what a kill leaves of them. */
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
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_MAYBE = 5,
	LARGE = 1 << 20,
	LARGE_KEYS = 48, /* enough to be caught at it, and too few for one without a request */
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

static void fill(struct fixture *fixture, unsigned keys, uint64_t seq) {
	char *bytes = malloc(LARGE);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 'x', LARGE);
	for (unsigned i = 0; i < keys; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "large%u", i);
		struct change change = put_bytes(&fixture->session, 0, seq + i, key, bytes, LARGE);
		ck_assert_int_eq(change_status(&fixture->peer, &change), KV1_OK);
	}
	free(bytes);
}

/* Has kvd begin a snapshot, and stops the process that writes it, in the middle. */
static pid_t freeze_writer(struct fixture *fixture) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
	uint64_t seq = 1000;

	for (;;) {
		pid_t child = 0;
		struct change change = put(&fixture->session, 0, ++seq, "again", "x");

		ck_assert_msg(suite_now_ms() < deadline_ms, "no child was caught");
		ck_assert_int_eq(change_status(&fixture->peer, &change), KV1_OK);
		ck_assert_int_eq(ask(&fixture->peer, 0).status, KV1_OK);
		do {
			if (freeze_child(fixture->server.process.pid, "/snapshot.tmp", &child))
				return child;
		} while (counter(&fixture->peer, "snapshot_under_way") > 0);
	}
}

/* --- The procedure ------------------------------------------------------------------------------
 */

CASE(the_procedure, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_snapshot_reaches_the_position_that_was_promised) {
	fill(&fx, 3, 1);
	kv1_snapshot_res res = ask(&fx.peer, fx.session.epoch);
	ck_assert_int_eq(res.status, KV1_OK);
	/* An OPEN and three PUTs. */
	ck_assert_uint_eq(res.position, 4);
	counter_await_zero(&fx.peer, "snapshot_under_way");
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_position"), 4);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_error"), 0);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_writing"), 0);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot-"), 1);
	server_restart(&fx.server);
	peer_close(&fx.peer);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	ck_assert_uint_eq(counter(&fx.peer, "keys"), 3);
}

TEST(an_empty_store_can_be_snapshot_and_started_from) {
	ck_assert_int_eq(session_close(&fx.peer, &fx.session), KV1_OK);
	ck_assert_int_eq(ask(&fx.peer, 0).status, KV1_OK);
	counter_await_zero(&fx.peer, "snapshot_under_way");
	server_restart(&fx.server);
	peer_close(&fx.peer);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	ck_assert_uint_eq(counter(&fx.peer, "keys"), 0);
}

TEST(restarts_alone_neither_fill_the_disk_nor_make_the_start_longer) {
	enum { STARTS = 8, SEGMENTS_MAX = 4 };

	for (uint64_t i = 1; i <= STARTS; i++) {
		uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
		struct change change = append(&fx.session, 0, i, "log", "x");

		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
		/* Snapshots are taken unasked; segments go soon after. */
		while (datadir_count(fx.dir, "journal-") > SEGMENTS_MAX) {
			ck_assert_msg(suite_now_ms() < deadline_ms, "a segment for each start");
			suite_pause_ms(5);
		}
		server_restart(&fx.server);
		peer_close(&fx.peer);
		peer_open(&fx.peer, &fx.server, VIA_TCP);
		fx.session.epoch = hello(&fx.peer).epoch;
	}
	check_key(&fx.peer, "log", "xxxxxxxx", STARTS);
}

TEST(a_request_from_before_a_restart_asks_for_nothing) {
	ck_assert_int_eq(ask(&fx.peer, fx.session.epoch + 1).status, KV1_EPOCH);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_under_way"), 0);
	ck_assert_uint_eq(counter(&fx.peer, "snapshots"), 0);
}

TEST(what_did_not_change_is_not_written_twice) {
	fill(&fx, 1, 1);
	(void)ask(&fx.peer, 0);
	counter_await(&fx.peer, "snapshots", 1);
	ck_assert_uint_eq(ask(&fx.peer, 0).position, 2);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_under_way"), 0);
	fill(&fx, 1, 10);
	ck_assert_uint_eq(ask(&fx.peer, 0).position, 3);
	counter_await(&fx.peer, "snapshots", 2);
}

TEST(many_who_ask_while_one_is_written_get_one_more) {
	fill(&fx, LARGE_KEYS, 1);
	pid_t writer = freeze_writer(&fx);
	uint64_t before = counter(&fx.peer, "snapshots");
	struct change change = put(&fx.session, 0, 1000000, "later", "x");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(ask(&fx.peer, 0).status, KV1_OK);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_under_way"), 2);
	ck_assert_uint_gt(counter(&fx.peer, "snapshot_expected"), LARGE_KEYS * (uint64_t)LARGE);
	freeze_continue(writer);
	counter_await_zero(&fx.peer, "snapshot_under_way");
	ck_assert_uint_eq(counter(&fx.peer, "snapshots"), before + 2);
}

CASE(the_procedure_plain, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_store_in_memory_only_takes_no_snapshots) {
	ck_assert_int_eq(ask(&fx.peer, 0).status, KV1_UNAVAILABLE);
	struct run run = server_kvctl(&fx.server, WORDS("snapshot"));
	ck_assert_int_eq(run.status, EXIT_REFUSED);
	ck_assert_str_eq(run.out, "");
	ck_assert_ptr_nonnull(strstr(run.err, "start it with -d"));
	run_free(&run);
	/* Nor does a signal harm it. */
	process_signal(&fx.server.process, SIGUSR1);
	peer_ping(&fx.peer);
}

TEST(reserved_procedures_are_unavailable) {
	static const uint32_t reserved[] = {11, 16};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		uint32_t xid = peer_xid(&fx.peer);

		struct call_header header = call_header(xid, reserved[i]);
		peer_send(&fx.peer, message_call(&header, NULL, NULL));
		struct answer answer = peer_await(&fx.peer, xid);
		ck_assert(answer.is_accepted);
		ck_assert_uint_eq(answer.stat, PROC_UNAVAIL);
		answer_free(&answer);
	}
}

/* --- kvctl --------------------------------------------------------------------------------------
 */

CASE(kvctl, .setup = fixture_durable, .teardown = fixture_end);

TEST(kvctl_waits_until_it_is_there_and_prints_its_position) {
	fill(&fx, 20, 1);
	struct run run = server_kvctl(&fx.server, WORDS("snapshot"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "21\n");
	ck_assert_str_eq(run.err, "");
	run_free(&run);
	ck_assert_uint_eq(counter(&fx.peer, "snapshots"), 1);
	run = server_kvctl(&fx.server, WORDS("-o", "json", "snapshot"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_int_eq(strncmp(run.out, "{\"position\":21,\"bytes\":2097", 27), 0);
	run_free(&run);
	run = server_kvctl(&fx.server, WORDS("-q", "snapshot"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "");
	run_free(&run);
	run = server_kvctl(&fx.server, WORDS("snapshot", "now"));
	ck_assert_int_eq(run.status, EXIT_USAGE);
	run_free(&run);
}

TEST(kvctl_waits_no_longer_than_it_was_told_to) {
	fill(&fx, LARGE_KEYS, 1);
	pid_t writer = freeze_writer(&fx);
	struct run run = server_kvctl(&fx.server, WORDS("snapshot", "--wait", "0.05"));
	ck_assert_int_eq(run.status, EXIT_MAYBE);
	ck_assert_ptr_nonnull(strstr(run.err, "not done in 0.05 s"));
	run_free(&run);
	run = server_kvctl(&fx.server, WORDS("snapshot", "--wait", "0"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_str_eq(run.out, "");
	run_free(&run);
	freeze_continue(writer);
}

TEST(kvctl_shows_on_a_terminal_how_far_it_is) {
	struct terminal terminal;
	struct process process;
	char address[128];
	char path[512];

	if (!terminal_open(&terminal)) {
		suite_skip("progress on a terminal: this machine has none to give");
		return;
	}
	fill(&fx, LARGE_KEYS, 1);
	pid_t writer = freeze_writer(&fx);
	server_program("kvctl", path);
	server_address(&fx.server, VIA_LOCAL, address);
	const char *const argv[] = {getenv("KVCTL") != NULL ? getenv("KVCTL") : path, "-s", address,
				    "snapshot", NULL};
	process_start(&process,
		      &(struct command){.argv = argv, .in = -1, .out = -1, .err = terminal.slave});
	ck_assert_msg(terminal_await(&terminal, "kvctl: snapshot: ", WAIT_MS), "\"%s\"",
		      terminal.text);
	freeze_continue(writer);
	ck_assert_int_eq(process_wait(&process, WAIT_MS / 1000), 0);
	terminal_read(&terminal);
	/* The line is given back. */
	const char *end = "\r\033[K";
	ck_assert_uint_gt(terminal.size, strlen(end));
	ck_assert_str_eq(terminal.text + terminal.size - strlen(end), end);
	terminal_close(&terminal);
}

/* --- The process that writes it -----------------------------------------------------------------
 */

CASE(the_process_that_writes_it, .setup = fixture_durable, .teardown = fixture_end);

TEST(calls_are_served_while_a_snapshot_is_written) {
	fill(&fx, LARGE_KEYS, 1);
	pid_t writer = freeze_writer(&fx);
	struct change change = put(&fx.session, 1, 1, "meanwhile", "x");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	check_key(&fx.peer, "meanwhile", "x", 1);
	freeze_continue(writer);
	counter_await_zero(&fx.peer, "snapshot_under_way");
	ck_assert_uint_eq(counter(&fx.peer, "snapshots_failed"), 0);
}

TEST(a_writer_that_is_killed_is_noticed_and_the_next_one_succeeds) {
	fill(&fx, LARGE_KEYS, 1);
	pid_t writer = freeze_writer(&fx);
	ck_assert_int_eq(kill(writer, SIGKILL), 0);
	counter_await_zero(&fx.peer, "snapshot_under_way");
	ck_assert_uint_eq(counter(&fx.peer, "snapshots_failed"), 1);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_error"), KV1_UNAVAILABLE);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot.tmp"), 0);
	(void)ask(&fx.peer, 0);
	counter_await_zero(&fx.peer, "snapshot_under_way");
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_error"), 0);
}

/* A child that was stopped does not hear of its parent's end by itself: only the kernel does it. */
TEST(a_kill_of_kvd_ends_the_writer_and_frees_the_lock_and_the_ports) {
	fill(&fx, LARGE_KEYS, 1);
	pid_t writer = freeze_writer(&fx);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot.tmp"), 1);
	/* At the same addresses, in the same directory, at once. */
	server_restart(&fx.server);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot.tmp"), 0);
	/* It is gone, or about to be waited for by the process that inherited it. */
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
	peer_close(&fx.peer);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	ck_assert_uint_ge(counter(&fx.peer, "keys"), LARGE_KEYS);
}

TEST(a_stop_while_a_snapshot_is_written_does_not_wait_for_it) {
	fill(&fx, LARGE_KEYS, 1);
	(void)freeze_writer(&fx);
	fixture_end();
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot.tmp"), 0);
}

CASE(the_process_that_writes_it_with_options, .teardown = fixture_end);

TEST(a_start_removes_what_an_earlier_one_left_unfinished) {
	static const char *const names[] = {"snapshot.tmp", "spare"};

	suite_directory(fx.dir);
	for (size_t i = 0; i < 2; i++) {
		char path[DATADIR_PATH_MAX];
		(void)snprintf(path, sizeof path, "%s/%s", fx.dir, names[i]);
		FILE *file = fopen(path, "w");
		ck_assert_ptr_nonnull(file);
		ck_assert_int_ge(fputs("garbage", file), 0);
		ck_assert_int_eq(fclose(file), 0);
	}
	fixture_open(&fx, "-d", fx.dir, NULL);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot.tmp"), 0);
	struct change change = put(&fx.session, 0, 1, "key", "x");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	fixture_end();
	ck_assert_uint_eq(datadir_count(fx.dir, "spare"), 0);
}

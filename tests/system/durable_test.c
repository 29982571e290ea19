/* SPDX-License-Identifier: BSD-3-Clause */
/* What a restart of kvd -d keeps: values, versions, sessions, leases, remembered answers. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kv/kv.h>

#include "data_directory.h"
#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	LOAD = 4000, /* calls under way when kvd is told to stop */
	LOAD_SLOTS = 8,
	AT_ONCE = 6, /* of the largest values */
	END = 8,     /* bytes of a call that come last */
	SHORT_LEASE_S = 4,
	DOWN_MS = 5000,
	WAIT_MS = 60000,
	LONE_CALLS = 100,
};

static void reconnect(struct fixture *fixture) {
	peer_close(&fixture->peer);
	peer_open(&fixture->peer, &fixture->server, VIA_TCP);
}

/* Killed, and started again. */
static void crash(struct fixture *fixture) {
	server_restart(&fixture->server);
	reconnect(fixture);
}

/* Stopped, and started again at other addresses. */
static void start_anew(struct fixture *fixture, const char *dir, const char *lease) {
	peer_close(&fixture->peer);
	server_stop(&fixture->server);
	server_start(&fixture->server, "-d", dir, "--session-lease", lease, NULL);
	peer_open(&fixture->peer, &fixture->server, VIA_TCP);
}

static void check_status(struct peer *peer, struct change change, kv1_status status) {
	ck_assert_int_eq(change_status(peer, &change), status);
}

/* --- Store and epoch ----------------------------------------------------------------------------
 */

CASE(who_it_is, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_restart_is_the_same_store_in_another_epoch) {
	kv1_hello_res before = hello(&fx.peer);
	crash(&fx);
	kv1_hello_res after = hello(&fx.peer);
	ck_assert_mem_eq(before.store, after.store, KV1_STORE_SIZE);
	ck_assert_uint_ne(before.epoch, after.epoch);
	start_anew(&fx, fx.dir, "3600");
	kv1_hello_res last = hello(&fx.peer);
	ck_assert_mem_eq(before.store, last.store, KV1_STORE_SIZE);
	ck_assert_uint_ne(after.epoch, last.epoch);
}

TEST(values_of_any_size_and_their_versions_survive_a_kill) {
	static const size_t sizes[] = {0, 1, 4096, 1 << 20, KV1_VALUE_MAX};
	char *bytes = malloc(KV1_VALUE_MAX);

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < KV1_VALUE_MAX; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	for (uint64_t i = 0; i < 5; i++) {
		char key[8];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)i);
		for (uint64_t n = 0; n <= i; n++)
			check_status(
			    &fx.peer,
			    put_bytes(&fx.session, 0, 10 * i + n + 1, key, bytes, sizes[i]),
			    KV1_OK);
	}
	crash(&fx);
	for (uint64_t i = 0; i < 5; i++) {
		char key[8];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)i);
		struct outcome outcome = get(&fx.peer, key);
		ck_assert_int_eq(outcome.status, KV1_OK);
		ck_assert_uint_eq(outcome.current, i + 1);
		ck_assert_uint_eq(outcome.value.size, sizes[i]);
		ck_assert(sizes[i] == 0 || memcmp(outcome.value.data, bytes, sizes[i]) == 0);
		outcome_free(&outcome);
	}
	free(bytes);
}

/*
 * More than a segment holds, complete in one turn: kvd is stopped until the end of each has come.
 */
TEST(large_values_that_come_all_at_once_are_taken) {
	char *bytes = calloc(1, KV1_VALUE_MAX);
	struct peer peers[AT_ONCE];
	uint32_t xids[AT_ONCE];
	struct message ends[AT_ONCE];

	ck_assert_ptr_nonnull(bytes);
	struct change change = put_bytes(&fx.session, 0, 1, NULL, bytes, KV1_VALUE_MAX);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		char key[] = {(char)('a' + i), '\0'};

		peer_open(&peers[i], &fx.server, VIA_TCP);
		change.key = key;
		change.writer.slot = i;
		xids[i] = peer_xid(&peers[i]);
		struct message call = change_message(xids[i], &change);
		struct message record = message_record(call, call.size);
		size_t most = record.size - END;
		ends[i] = message_copy(record.data + most, END);
		ck_assert(peer_send_bytes(&peers[i], record.data, most));
		message_free(&record);
	}
	while (counter(&fx.peer, "receive_buffer_bytes") < (uint64_t)AT_ONCE * KV1_VALUE_MAX)
		suite_pause_ms(2);
	process_signal(&fx.server.process, SIGSTOP);
	for (unsigned i = 0; i < AT_ONCE; i++)
		ck_assert(peer_send_bytes(&peers[i], ends[i].data, ends[i].size));
	process_signal(&fx.server.process, SIGCONT);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct outcome outcome = change_await(&peers[i], &change, xids[i]);

		ck_assert_int_eq(outcome.status, KV1_OK);
		outcome_free(&outcome);
		message_free(&ends[i]);
		peer_close(&peers[i]);
	}
	free(bytes);
}

/* --- Remembered answers -------------------------------------------------------------------------
 */

/* A copy of an answered call, under the epoch that was and then the one that is. */
static void check_remembered(struct fixture *fixture, struct change change,
			     const struct outcome *first) {
	check_status(&fixture->peer, change, KV1_EPOCH);
	change.writer.epoch = hello(&fixture->peer).epoch;
	outcome_check_same(first, change_run(&fixture->peer, &change));
	/* And as often as it is asked for. */
	outcome_check_same(first, change_run(&fixture->peer, &change));
}

CASE(remembered_answers, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_copy_of_an_append_answered_before_a_kill_gets_its_answer_and_runs_no_second_time) {
	check_status(&fx.peer, append(&fx.session, 0, 1, "log", "one,"), KV1_OK);
	struct change change = append(&fx.session, 3, 9, "log", "two,");
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_eq(first.old_version, 1);
	ck_assert_uint_eq(first.value.size, 4);
	crash(&fx);
	check_remembered(&fx, change, &first);
	check_key(&fx.peer, "log", "one,two,", 2);
	/* Once more, now that it comes from a snapshot. */
	process_signal(&fx.server.process, SIGUSR1);
	counter_await(&fx.peer, "snapshots", 1);
	crash(&fx);
	check_remembered(&fx, change, &first);
	check_key(&fx.peer, "log", "one,two,", 2);
	outcome_free(&first);
}

TEST(an_answer_is_remembered_though_the_value_was_written_over_before_the_kill) {
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "old"), KV1_OK);
	struct change change = append(&fx.session, 1, 1, "key", "er");
	struct outcome first = change_run(&fx.peer, &change);
	check_status(&fx.peer, put(&fx.session, 0, 2, "key", "another"), KV1_OK);
	crash(&fx);
	check_remembered(&fx, change, &first);
	check_key(&fx.peer, "key", "another", 3);
	outcome_free(&first);
}

TEST(a_slot_goes_on_after_a_kill_where_it_was) {
	check_status(&fx.peer, put(&fx.session, 0, 5, "key", "x"), KV1_OK);
	crash(&fx);
	fx.session.epoch = hello(&fx.peer).epoch;
	check_status(&fx.peer, put(&fx.session, 0, 4, "key", "y"), KV1_STALE);
	check_status(&fx.peer, put(&fx.session, 0, 5, "key", "y"), KV1_FALSE_RETRY);
	check_status(&fx.peer, put(&fx.session, 0, 6, "key", "z"), KV1_OK);
	check_key(&fx.peer, "key", "z", 2);
}

TEST(a_nonce_gives_the_same_session_after_a_kill) {
	char nonce[KV1_NONCE_SIZE];

	fresh_nonce(nonce);
	kv1_open_res before = session_open_as(&fx.peer, 0, nonce);
	crash(&fx);
	kv1_open_res after = session_open_as(&fx.peer, 0, nonce);
	ck_assert_int_eq(after.status, KV1_OK);
	ck_assert_uint_eq(after.client_id, before.client_id);
	ck_assert_uint_eq(after.slots, before.slots);
}

TEST(a_session_that_was_closed_stays_closed_after_a_kill) {
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "x"), KV1_OK);
	ck_assert_int_eq(session_close(&fx.peer, &fx.session), KV1_OK);
	crash(&fx);
	fx.session.epoch = hello(&fx.peer).epoch;
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "x"), KV1_BADSESSION);
	check_key(&fx.peer, "key", "x", 1);
}

/* --- Leases -------------------------------------------------------------------------------------
 */

CASE(leases, .teardown = fixture_end);

TEST(the_time_that_kvd_was_down_does_not_count_against_a_lease) {
	char lease[8];

	suite_directory(fx.dir);
	(void)snprintf(lease, sizeof lease, "%d", SHORT_LEASE_S);
	fixture_open(&fx, "-d", fx.dir, "--session-lease", lease, NULL);
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "x"), KV1_OK);
	peer_close(&fx.peer);
	server_kill(&fx.server);
	/* Longer than the lease: real time, for kvd has no option for a clock. */
	suite_pause_ms(DOWN_MS);
	server_start(&fx.server, "-d", fx.dir, "--session-lease", lease, NULL);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	fx.session.epoch = hello(&fx.peer).epoch;
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "x"), KV1_OK);
	check_status(&fx.peer, put(&fx.session, 0, 2, "key", "y"), KV1_OK);
}

TEST(a_lease_ends_after_a_restart_and_stays_ended_after_another) {
	suite_directory(fx.dir);
	fixture_open(&fx, "-d", fx.dir, "--session-lease", "1", NULL);
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "x"), KV1_OK);
	crash(&fx);
	counter_await_zero(&fx.peer, "sessions");
	ck_assert_uint_ge(counter(&fx.peer, "sessions_expired"), 1);
	fx.session.epoch = hello(&fx.peer).epoch;
	check_status(&fx.peer, put(&fx.session, 0, 2, "key", "y"), KV1_BADSESSION);
	crash(&fx);
	fx.session.epoch = hello(&fx.peer).epoch;
	check_status(&fx.peer, put(&fx.session, 0, 2, "key", "y"), KV1_BADSESSION);
	check_key(&fx.peer, "key", "x", 1);
}

/* --- SIGTERM ------------------------------------------------------------------------------------
 */

/* What was sent all at once, each call on a slot of its own turn, and which of it was answered. */
struct load {
	uint32_t xids[LOAD];
	unsigned answered;
};

/* Sends all, tells kvd to stop in the middle, and takes the answers until it hangs up. */
static void send_load(struct fixture *fixture, struct load *load) {
	struct answer answer;

	for (unsigned i = 0; i < LOAD; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", i);
		struct change change =
		    append(&fixture->session, i % LOAD_SLOTS, i / LOAD_SLOTS + 1, key, "x");
		load->xids[i] = peer_xid(&fixture->peer);
		struct message record = message_record(change_message(load->xids[i], &change), 0);
		bool is_open = peer_send_bytes(&fixture->peer, record.data, record.size);
		message_free(&record);
		if (!is_open)
			break;
		if (i == LOAD / 2)
			process_signal(&fixture->server.process, SIGTERM);
	}
	while (peer_receive(&fixture->peer, WAIT_MS, &answer) == RECEIVED_REPLY) {
		kv1_append_res res = {.status = KV1_MAYBE};

		ck_assert_uint_eq(answer.xid, load->xids[load->answered]);
		answer_results(&answer, (xdrproc_t)xdr_kv1_append_res, &res);
		ck_assert_int_eq(res.status, KV1_OK);
		xdr_free((xdrproc_t)xdr_kv1_append_res, (char *)&res);
		answer_free(&answer);
		load->answered++;
	}
}

CASE(stop_and_kill, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_stop_under_load_keeps_all_that_was_answered_and_leaves_its_mark) {
	struct load *load = calloc(1, sizeof *load);
	char kvd[512];

	ck_assert_ptr_nonnull(load);
	send_load(&fx, load);
	peer_close(&fx.peer);
	ck_assert_int_eq(server_wait(&fx.server), 0);
	server_program("kvd", kvd);
	struct run run = run_program((const char *const[]){
	    getenv("KVD") != NULL ? getenv("KVD") : kvd, "--check", fx.dir, NULL});
	ck_assert_msg(run.status == 0, "%s", run.err);
	ck_assert_msg(strstr(run.out, "clean_stop yes") != NULL, "%s", run.out);
	run_free(&run);
	server_start(&fx.server, "-d", fx.dir, NULL);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	char *said = server_said(&fx.server);
	ck_assert_ptr_null(strstr(said, "was not clean"));
	free(said);
	for (unsigned i = 0; i < load->answered; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", i);
		check_key(&fx.peer, key, "x", 1);
	}
	suite_figure("%u of %d calls under way were answered before the stop", load->answered,
		     LOAD);
	free(load);
}

TEST(a_kill_is_told_from_a_stop_at_the_next_start) {
	check_status(&fx.peer, put(&fx.session, 0, 1, "key", "x"), KV1_OK);
	crash(&fx);
	char *said = server_said(&fx.server);
	ck_assert_ptr_nonnull(strstr(said, "previous shutdown was not clean"));
	free(said);
}

/* --- Threads ------------------------------------------------------------------------------------
 */

/* How often the threads but the first have slept since they began. */
static uint64_t sleeps_of_others(const struct server *server) {
	static const char name[] = "\nvoluntary_ctxt_switches:";
	char path[64];
	uint64_t sleeps = 0;
	struct dirent *task;
	DIR *tasks;

	(void)snprintf(path, sizeof path, "/proc/%d/task", (int)server->process.pid);
	tasks = opendir(path);
	ck_assert_ptr_nonnull(tasks);
	while ((task = readdir(tasks)) != NULL) {
		char file[400];

		if (atoi(task->d_name) == 0 || atoi(task->d_name) == server->process.pid)
			continue;
		(void)snprintf(file, sizeof file, "%s/%s/status", path, task->d_name);
		char *text = process_read_file(file);
		const char *line = strstr(text, name);
		if (line != NULL)
			sleeps += strtoull(line + sizeof name - 1, NULL, 10);
		free(text);
	}
	(void)closedir(tasks);
	return sleeps;
}

/* Where a sync takes no time, if there is such a place: on a slow disk the thread is used. */
static void quick_directory(char path[64]) {
	static const char base[] = "/dev/shm/kv-XXXXXX";

	memcpy(path, base, sizeof base);
	if (mkdtemp(path) == NULL)
		suite_directory(path);
	else
		ck_assert_int_eq(chmod(path, 0755), 0);
}

CASE(stop_and_kill_with_options, .teardown = fixture_end);

TEST(the_writes_of_a_lone_client_pass_through_no_other_thread) {
	struct kv_bytes key = {"key", 3};
	struct kv_client *client = NULL;
	char address[128];
	char command[128];
	char dir[64];
	unsigned in_a_row = 0;
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	quick_directory(dir);
	fixture_open(&fx, "-d", dir, NULL);
	server_address(&fx.server, VIA_LOCAL, address);
	struct kv_options options = {.server = address};
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	/* It is known for one after some calls, and a machine may be slow for a while. */
	while (in_a_row < LONE_CALLS) {
		uint64_t before = sleeps_of_others(&fx.server);

		for (unsigned i = 0; i < 10; i++)
			ck_assert_int_eq(kv_put(client, key, key, KV_ANY, NULL), KV_OK);
		in_a_row = sleeps_of_others(&fx.server) - before < 10 ? in_a_row + 10 : 0;
		ck_assert_msg(suite_now_ms() < deadline_ms, "another thread takes part");
	}
	kv_close(client);
	fixture_end();
	(void)snprintf(command, sizeof command, "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* --- Through the library ------------------------------------------------------------------------
 */

CASE(stop_and_kill, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_library_handle_does_not_notice_a_restart) {
	struct kv_bytes key = {"key", 3};
	struct kv_client *client = NULL;
	char address[128];
	uint64_t version = 0;

	server_address(&fx.server, VIA_LOCAL, address);
	struct kv_options options = {.server = address, .backoff_max_ms = 50};
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	ck_assert_int_eq(kv_put(client, key, key, 0, &version), KV_OK);
	for (int i = 0; i < 3; i++) {
		crash(&fx);
		ck_assert_int_eq(kv_put(client, key, key, version, &version), KV_OK);
	}
	ck_assert_uint_eq(version, 4);
	/* The fixture's and the handle's: no other was needed. */
	ck_assert_uint_eq(counter(&fx.peer, "sessions"), 2);
	kv_close(client);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd from the outside: its options, its places, its start and its end. */
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scene.h"
#include "suite.h"

enum { NOBODY = 65534, EXIT_CANNOT = 1, EXIT_USAGE = 2 };

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A kvd with these arguments ends with `status`, serves nothing, and says why in one line that
   names `word`. */
static void check_refused(int status, const char *word, const char *const arguments[]) {
	struct server server;

	server_launch(&server, arguments);
	bool is_ready = server_await_ready(&server);
	ck_assert_msg(!is_ready, "it serves: %s", server.ready);
	int ended = server_wait(&server);
	char *said = server_said(&server);
	char *end = strchr(said, '\n');
	ck_assert_msg(ended == status, "exit %d, not %d: %s", ended, status, said);
	ck_assert_msg(end != NULL && end[1] == '\0', "not one line: \"%s\"", said);
	ck_assert_msg(strncmp(said, "kvd: ", 5) == 0, "no name: %s", said);
	ck_assert_msg(strstr(said, word) != NULL, "no \"%s\" in: %s", word, said);
	free(said);
}

START_TEST(a_wrong_option_is_exit_2_and_one_line_that_names_it) {
	check_refused(EXIT_USAGE, "-x", ARGUMENTS("-x"));
	check_refused(EXIT_USAGE, "--frobnicate", ARGUMENTS("--frobnicate"));
	check_refused(EXIT_USAGE, "-l", ARGUMENTS("-n", "-l"));
	check_refused(EXIT_USAGE, "--max-value", ARGUMENTS("-n", "--max-value"));
	check_refused(EXIT_USAGE, "--no-rpcbind", ARGUMENTS("--no-rpcbind=yes"));
	check_refused(EXIT_USAGE, "operand", ARGUMENTS("-n", "operand"));
	check_refused(EXIT_USAGE, "-x", ARGUMENTS("-nx"));
}
END_TEST

START_TEST(a_malformed_number_is_exit_2_and_one_line_that_names_the_option) {
	static const char *const names[] = {"--program",      "--max-value",
					    "--max-memory",   "--max-connections",
					    "--max-sessions", "--session-lease"};
	static const char *const wrong[] = {
	    "", "x", "-1", " 1", "+1", "1x", "1MM", "0x", "1.5", "1e3", "18446744073709551616"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
			check_refused(EXIT_USAGE, names[i], ARGUMENTS("-n", names[i], wrong[j]));
		}
	}
}
END_TEST

START_TEST(a_number_out_of_range_is_exit_2_and_one_line_that_names_the_option) {
	check_refused(EXIT_USAGE, "--program", ARGUMENTS("-P", "0"));
	check_refused(EXIT_USAGE, "--program", ARGUMENTS("-P", "0x100000000"));
	check_refused(EXIT_USAGE, "--max-value", ARGUMENTS("-n", "--max-value", "0"));
	check_refused(EXIT_USAGE, "--max-value", ARGUMENTS("-n", "--max-value", "16777217"));
	check_refused(EXIT_USAGE, "--max-value", ARGUMENTS("-n", "--max-value", "17M"));
	check_refused(EXIT_USAGE, "--max-memory", ARGUMENTS("-n", "--max-memory", "0"));
	check_refused(EXIT_USAGE, "--max-memory",
		      ARGUMENTS("-n", "--max-memory", "18446744073709551615G"));
	check_refused(EXIT_USAGE, "--max-connections", ARGUMENTS("-n", "--max-connections", "0"));
	check_refused(EXIT_USAGE, "--max-sessions", ARGUMENTS("-n", "--max-sessions", "0"));
	check_refused(EXIT_USAGE, "--session-lease", ARGUMENTS("-n", "--session-lease", "0"));
}
END_TEST

/* Its tables are there before the first key. */
START_TEST(the_least_memory_that_is_taken_is_enough_for_an_empty_store_and_writes) {
	enum { LEAST = 1 << 20, SIZE = LEAST / 2 };
	struct scene scene;
	char *value = calloc(1, SIZE);

	ck_assert_ptr_nonnull(value);
	check_refused(EXIT_USAGE, "from 1048576 to",
		      ARGUMENTS("-n", "-l", "tcp:127.0.0.1:0", "--max-memory", "1048575"));
	check_refused(EXIT_USAGE, "from 1048576 to",
		      ARGUMENTS("-n", "-l", "tcp:127.0.0.1:0", "--max-memory", "24k"));
	scene_open(&scene, "--max-memory", "1M", NULL);
	ck_assert_uint_eq(counter(&scene.peer, "memory_max"), LEAST);
	ck_assert_uint_lt(counter(&scene.peer, "memory_used"), LEAST / 16);
	struct change change = put_bytes(&scene.session, 0, 1, "k", value, SIZE);
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	scene_end(&scene);
	free(value);
}
END_TEST

START_TEST(a_malformed_address_is_exit_2_and_one_line_that_names_the_option) {
	static const char *const wrong[] = {
	    "",		  "tcp:",	    "udp:",
	    "local:",	  "tcp:h:65536",    "tcp:h:x",
	    "tcp:h:-1",	  "tcp:[::1",	    "tcp:[::1]7000",
	    "tcp:::1:70", "local:relative", "tcp:127.0.0.1:1:2",
	};
	char path[256];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		check_refused(EXIT_USAGE, "--listen", ARGUMENTS("-n", "-l", wrong[i]));
	}
	/* A path is at most 107 bytes: sun_path of unix(7). */
	(void)snprintf(path, sizeof path, "local:/tmp/%0120d", 0);
	check_refused(EXIT_USAGE, "--listen", ARGUMENTS("-n", "-l", path));
}
END_TEST

START_TEST(help_and_version_are_printed_and_are_exit_0) {
	char kvd[512];

	server_program("kvd", kvd);
	const char *program = getenv("KVD") != NULL ? getenv("KVD") : kvd;
	struct run run = run_program(ARGUMENTS(program, "--help"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_ptr_nonnull(strstr(run.out, "usage: kvd"));
	ck_assert_ptr_nonnull(strstr(run.out, "--max-memory"));
	ck_assert_str_eq(run.err, "");
	run_free(&run);
	run = run_program(ARGUMENTS(program, "--version"));
	ck_assert_int_eq(run.status, 0);
	ck_assert_int_eq(strncmp(run.out, "kvd ", 4), 0);
	run_free(&run);
}
END_TEST

START_TEST(a_port_in_use_is_exit_1_and_one_line_that_names_it) {
	struct server first;
	char address[128];

	server_start(&first, NULL);
	server_address(&first, VIA_TCP, address);
	check_refused(EXIT_CANNOT, address, ARGUMENTS("-n", "-l", address));
	server_address(&first, VIA_UDP, address);
	check_refused(EXIT_CANNOT, address, ARGUMENTS("-n", "-l", address));
	/* Nothing stays behind of one that got only half of what it was to have. */
	char path[128];
	(void)snprintf(path, sizeof path, "local:%s/half", first.dir);
	check_refused(EXIT_CANNOT, address, ARGUMENTS("-n", "-l", path, "-l", address));
	ck_assert_int_ne(access(path + sizeof "local:" - 1, F_OK), 0);
	server_stop(&first);
}
END_TEST

START_TEST(an_address_that_this_machine_does_not_have_is_exit_1) {
	/* TEST-NET-1: RFC 5737. */
	check_refused(EXIT_CANNOT, "tcp:192.0.2.1", ARGUMENTS("-n", "-l", "tcp:192.0.2.1"));
	check_refused(EXIT_CANNOT, "udp:192.0.2.1", ARGUMENTS("-n", "-l", "udp:192.0.2.1"));
}
END_TEST

START_TEST(the_socket_of_a_living_server_is_left_alone) {
	struct server first;
	struct peer peer;
	char address[128];

	server_start(&first, NULL);
	server_address(&first, VIA_LOCAL, address);
	check_refused(EXIT_CANNOT, first.socket, ARGUMENTS("-n", "-l", address));
	peer_open(&peer, &first, VIA_LOCAL);
	peer_ping(&peer);
	peer_close(&peer);
	server_stop(&first);
}
END_TEST

START_TEST(the_socket_of_a_dead_server_is_taken_over) {
	struct server first;
	struct server second;
	struct peer peer;
	char address[128];

	server_start(&first, NULL);
	server_address(&first, VIA_LOCAL, address);
	server_kill(&first);
	ck_assert_int_eq(access(first.socket, F_OK), 0);
	server_launch(&second, ARGUMENTS("-n", "-l", address));
	ck_assert(server_await_ready(&second));
	peer_open(&peer, &second, VIA_LOCAL);
	peer_ping(&peer);
	peer_close(&peer);
	server_stop(&second);
	ck_assert_int_ne(access(first.socket, F_OK), 0);
}
END_TEST

START_TEST(a_file_where_the_socket_should_be_is_left_alone) {
	char dir[64];
	char address[128];

	suite_directory(dir);
	(void)snprintf(address, sizeof address, "local:%s/file", dir);
	const char *path = address + sizeof "local:" - 1;
	FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs("precious", file), 0);
	ck_assert_int_eq(fclose(file), 0);
	check_refused(EXIT_CANNOT, path, ARGUMENTS("-n", "-l", address));
	char *kept = process_read_file(path);
	ck_assert_str_eq(kept, "precious");
	free(kept);
	check_refused(EXIT_CANNOT, "local:/no/such/folder/s",
		      ARGUMENTS("-n", "-l", "local:/no/such/folder/s"));
}
END_TEST

/* From here on this test is an ordinary user, in a directory that he may write to. */
static void become_ordinary(char dir[64]) {
	suite_directory(dir);
	ck_assert_int_eq(setenv("TMPDIR", dir, 1), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(setgroups(0, NULL), 0);
		ck_assert_int_eq(setgid(NOBODY), 0);
		ck_assert_int_eq(setuid(NOBODY), 0);
	}
}

/* An ordinary user may be kept away from where the programs were built. */
static bool can_run_kvd(void) {
	char kvd[512];

	server_program("kvd", kvd);
	if (access(getenv("KVD") != NULL ? getenv("KVD") : kvd, X_OK) == 0) {
		return true;
	}
	suite_skip("an ordinary user cannot run %s", kvd);
	return false;
}

START_TEST(a_socket_where_the_user_may_not_write_is_exit_1) {
	char dir[64];
	char address[128];

	become_ordinary(dir);
	if (!can_run_kvd()) {
		return;
	}
	suite_directory(dir);
	ck_assert_int_eq(chmod(dir, 0555), 0);
	(void)snprintf(address, sizeof address, "local:%s/s", dir);
	check_refused(EXIT_CANNOT, address, ARGUMENTS("-n", "-l", address));
	ck_assert_int_eq(chmod(dir, 0755), 0);
}
END_TEST

START_TEST(without_addresses_an_ordinary_user_listens_on_loopback_and_in_his_runtime_directory) {
	struct server server;
	struct peer peer;
	char dir[64];

	become_ordinary(dir);
	if (!can_run_kvd()) {
		return;
	}
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
	server_launch(&server, ARGUMENTS("-n"));
	ck_assert(server_await_ready(&server));
	ck_assert_int_eq(strncmp(server.socket, dir, strlen(dir)), 0);
	ck_assert_str_eq(server.socket + strlen(dir), "/kvd.sock");
	for (int via = 0; via < VIA_COUNT; via++) {
		if ((via != VIA_TCP6 && via != VIA_UDP6) || server_has_ipv6()) {
			peer_open(&peer, &server, (enum via)via);
			peer_ping(&peer);
			peer_close(&peer);
		}
	}
	server_stop(&server);
}
END_TEST

START_TEST(the_ready_line_is_the_only_one_and_names_every_address) {
	struct server server;
	char expected[512];
	char rest[16];
	char dir[64];
	char local[128];

	suite_directory(dir);
	(void)snprintf(local, sizeof local, "local:%s/s", dir);
	server_launch(&server, ARGUMENTS("-n", "-l", "tcp:127.0.0.1", "-l", "udp:127.0.0.1:0", "-l",
					 local, "-v"));
	ck_assert(server_await_ready(&server));
	(void)snprintf(expected, sizeof expected, "kvd: ready tcp:127.0.0.1:%u udp:127.0.0.1:%u %s",
		       server.port[VIA_TCP], server.port[VIA_UDP], local);
	ck_assert_str_eq(server.ready, expected);
	/* Standard output is standard error now: nobody else holds this pipe. */
	ck_assert_int_eq(read(server.out, rest, sizeof rest), 0);
	server_stop(&server);
}
END_TEST

START_TEST(descriptors_that_are_closed_at_the_start_are_nobodys_socket) {
	struct server server;
	char dir[64];
	char script[80];
	char wrapper[96];
	char rest[16];

	if (getenv("KVD_WRAPPER") != NULL) {
		suite_skip("closed descriptors: kvd runs in a wrapper already");
		return;
	}
	suite_directory(dir);
	(void)snprintf(script, sizeof script, "%s/start", dir);
	FILE *file = fopen(script, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs("exec \"$@\" 0<&- 2>&-\n", file), 0);
	ck_assert_int_eq(fclose(file), 0);
	(void)snprintf(wrapper, sizeof wrapper, "sh %s", script);
	ck_assert_int_eq(setenv("KVD_WRAPPER", wrapper, 1), 0);
	server_start(&server, "-v", NULL);
	/* Standard output becomes standard error just after the ready line was read here. */
	ck_assert_int_eq(read(server.out, rest, sizeof rest), 0);
	for (int fd = 0; fd <= 2; fd++) {
		char path[64];
		char target[64] = "";
		(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)server.process.pid, fd);
		/* Standard output becomes standard error only after the ready line. */
		while (strcmp(target, "/dev/null") != 0) {
			memset(target, 0, sizeof target);
			ck_assert_int_gt(readlink(path, target, sizeof target - 1), 0);
			suite_pause_ms(1);
		}
	}
	server_stop(&server);
}
END_TEST

START_TEST(a_term_or_int_signal_ends_it_cleanly_with_calls_under_way) {
	static const int signals[] = {SIGTERM, SIGINT};

	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		struct scene scene;
		scene_open(&scene, NULL);
		struct change change = put(&scene.session, 0, 1, "k", "v");
		for (uint64_t seq = 1; seq <= 100; seq++) {
			change.writer.seq = seq;
			(void)change_send(&scene.peer, &change);
		}
		process_signal(&scene.server.process, signals[i]);
		ck_assert_int_eq(server_wait(&scene.server), 0);
		ck_assert_int_ne(access(scene.server.socket, F_OK), 0);
		peer_close(&scene.peer);
	}
}
END_TEST

/* Sends `count` GETs of the key "k". */
static void ask(struct peer *peer, uint32_t count) {
	kv1_get_args args = {.key = {1, (char *)"k"}};

	for (uint32_t i = 0; i < count; i++) {
		struct call_header header = call_header(i, KVPROC_GET);
		peer_send(peer, message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args));
	}
}

START_TEST(answers_that_are_owed_at_a_term_signal_leave_past_peers_that_never_read) {
	enum { FROZEN = 3, SIZE = 8 << 20 };
	static const enum via vias[] = {VIA_TCP, VIA_LOCAL};

	for (size_t i = 0; i < sizeof vias / sizeof vias[0]; i++) {
		struct scene scene;
		struct peer peer;
		struct peer frozen[FROZEN];
		char *value = calloc(1, SIZE);

		ck_assert_ptr_nonnull(value);
		scene_open(&scene, NULL);
		struct change change = put_bytes(&scene.session, 0, 1, "k", value, SIZE);
		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
		/* Others before and behind it. */
		peer_open(&peer, &scene.server, vias[i]);
		for (int j = 0; j < FROZEN; j++) {
			peer_open(&frozen[j], &scene.server, vias[i]);
			ask(&frozen[j], 1);
		}
		ask(&peer, 1);
		while (counter(&scene.peer, "connections_unsent") <= FROZEN * SIZE / 2) {
			suite_pause_ms(1);
		}
		process_signal(&scene.server.process, SIGTERM);
		struct answer answer = peer_await(&peer, 0);
		ck_assert_uint_gt(answer.record.size, SIZE);
		answer_free(&answer);
		ck_assert_int_eq(server_wait(&scene.server), 0);
		for (int j = 0; j < FROZEN; j++) {
			peer_close(&frozen[j]);
		}
		peer_close(&peer);
		peer_close(&scene.peer);
		free(value);
	}
}
END_TEST

START_TEST(calls_left_unread_at_a_term_signal_spoil_no_answer) {
	enum { CALLS = 300, SIZE = 100000 };
	struct scene scene;
	struct peer peer;
	struct answer answer;
	char *value = calloc(1, SIZE);
	char bytes[65536];
	int room = sizeof bytes;
	size_t size = 0;
	ssize_t got;

	ck_assert_ptr_nonnull(value);
	scene_open(&scene, NULL);
	struct change change = put_bytes(&scene.session, 0, 1, "k", value, SIZE);
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	peer_open(&peer, &scene.server, VIA_TCP);
	/* Most of what is owed waits on the server's side. */
	ck_assert_int_eq(setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
	ask(&peer, CALLS);
	peer_ping(&scene.peer);
	ask(&peer, CALLS);
	process_signal(&scene.server.process, SIGTERM);
	/* Whole ones up to the end: a reset would cut short what is on its way. */
	ck_assert_int_eq(peer_receive(&peer, 30000, &answer), ARRIVAL_ANSWER);
	while ((got = recv(peer.fd, bytes, sizeof bytes, 0)) > 0) {
		size += (size_t)got;
	}
	ck_assert_uint_eq(size % (4 + answer.record.size), 0);
	answer_free(&answer);
	ck_assert_int_eq(server_wait(&scene.server), 0);
	peer_close(&peer);
	peer_close(&scene.peer);
	free(value);
}
END_TEST

START_TEST(two_servers_are_two_stores) {
	struct scene one;
	struct scene two;

	scene_open(&one, NULL);
	scene_open(&two, NULL);
	struct change change = put(&one.session, 0, 1, "k", "one");
	ck_assert_int_eq(change_status(&one.peer, &change), KV1_OK);
	check_no_key(&two.peer, "k");
	ck_assert_mem_ne(hello(&one.peer).store, hello(&two.peer).store, KV1_STORE_SIZE);
	ck_assert_uint_ne(one.session.epoch, two.session.epoch);
	scene_end(&one);
	scene_end(&two);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("options");
	TCase *options = suite_case(suite, "options");
	TCase *places = suite_case(suite, "places");
	TCase *life = suite_case(suite, "life");

	tcase_add_test(options, a_wrong_option_is_exit_2_and_one_line_that_names_it);
	tcase_add_test(options, a_malformed_number_is_exit_2_and_one_line_that_names_the_option);
	tcase_add_test(options, a_number_out_of_range_is_exit_2_and_one_line_that_names_the_option);
	tcase_add_test(options,
		       the_least_memory_that_is_taken_is_enough_for_an_empty_store_and_writes);
	tcase_add_test(options, a_malformed_address_is_exit_2_and_one_line_that_names_the_option);
	tcase_add_test(options, help_and_version_are_printed_and_are_exit_0);
	tcase_add_test(places, a_port_in_use_is_exit_1_and_one_line_that_names_it);
	tcase_add_test(places, an_address_that_this_machine_does_not_have_is_exit_1);
	tcase_add_test(places, the_socket_of_a_living_server_is_left_alone);
	tcase_add_test(places, the_socket_of_a_dead_server_is_taken_over);
	tcase_add_test(places, a_file_where_the_socket_should_be_is_left_alone);
	tcase_add_test(places, a_socket_where_the_user_may_not_write_is_exit_1);
	tcase_add_test(
	    places,
	    without_addresses_an_ordinary_user_listens_on_loopback_and_in_his_runtime_directory);
	tcase_add_test(life, the_ready_line_is_the_only_one_and_names_every_address);
	tcase_add_test(life, descriptors_that_are_closed_at_the_start_are_nobodys_socket);
	tcase_add_test(life, a_term_or_int_signal_ends_it_cleanly_with_calls_under_way);
	tcase_add_test(life,
		       answers_that_are_owed_at_a_term_signal_leave_past_peers_that_never_read);
	tcase_add_test(life, calls_left_unread_at_a_term_signal_spoil_no_answer);
	tcase_add_test(life, two_servers_are_two_stores);
	return suite_run(suite);
}

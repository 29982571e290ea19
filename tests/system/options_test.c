/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd from the outside: its options, its places, its start and its end. */
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	UNPRIVILEGED_UID = 65534,
	EXIT_CANNOT = 1,
	EXIT_USAGE = 2,
	DRAIN_MS = 1000, /* kvd's, for replies that are pending when it stops */
	TRIES = 20,	 /* of what a busy machine may be too slow for */
};

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
	ck_assert_msg(strstr(said, "kvd: ") != NULL, "no name: %s", said);
	ck_assert_msg(strstr(said, word) != NULL, "no \"%s\" in: %s", word, said);
	free(said);
}

CASE(options);

TEST(a_wrong_option_is_exit_2_and_one_line_that_names_it) {
	check_refused(EXIT_USAGE, "-x", ARGUMENTS("-x"));
	check_refused(EXIT_USAGE, "--frobnicate", ARGUMENTS("--frobnicate"));
	check_refused(EXIT_USAGE, "-l", ARGUMENTS("-n", "-l"));
	check_refused(EXIT_USAGE, "--max-value", ARGUMENTS("-n", "--max-value"));
	check_refused(EXIT_USAGE, "--no-rpcbind", ARGUMENTS("--no-rpcbind=yes"));
	check_refused(EXIT_USAGE, "operand", ARGUMENTS("-n", "operand"));
	check_refused(EXIT_USAGE, "-x", ARGUMENTS("-nx"));
}

TEST(a_misspelled_option_is_told_the_one_that_was_meant) {
	check_refused(EXIT_USAGE, "did you mean --max-memory?", ARGUMENTS("--max-memroy", "1M"));
	check_refused(EXIT_USAGE, "did you mean --listen?", ARGUMENTS("--lisen=tcp:127.0.0.1"));
	check_refused(EXIT_USAGE, "did you mean --no-rpcbind?", ARGUMENTS("--norpcbind"));
	check_refused(EXIT_USAGE, "takes no value", ARGUMENTS("--open=yes"));
	check_refused(EXIT_USAGE, "such as 4096, 512k", ARGUMENTS("--max-memory", "1 GB"));
}

TEST(help_that_cannot_be_printed_is_no_success) {
	char kvd[512];
	char command[600];

	server_program("kvd", kvd);
	(void)snprintf(command, sizeof command, "%s --help > /dev/full",
		       getenv("KVD") != NULL ? getenv("KVD") : kvd);
	struct run run = run_program(ARGUMENTS("sh", "-c", command));
	ck_assert_int_eq(run.status, EXIT_USAGE);
	ck_assert_ptr_nonnull(strstr(run.err, "No space left"));
	run_free(&run);
}

TEST(a_malformed_number_is_exit_2_and_one_line_that_names_the_option) {
	static const char *const names[] = {
	    "--program",      "--max-value",	 "--max-memory", "--max-connections",
	    "--max-sessions", "--session-lease", "--max-changes"};
	static const char *const wrong[] = {
	    "", "x", "-1", " 1", "+1", "1x", "1MM", "0x", "1.5", "1e3", "18446744073709551616"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++)
			check_refused(EXIT_USAGE, names[i], ARGUMENTS("-n", names[i], wrong[j]));
	}
}

TEST(a_number_out_of_range_is_exit_2_and_one_line_that_names_the_option) {
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
	check_refused(EXIT_USAGE, "--max-changes", ARGUMENTS("-n", "--max-changes", "0"));
	check_refused(EXIT_USAGE, "--session-lease", ARGUMENTS("-n", "--session-lease", "0"));
}

CASE(options_with_options, .teardown = fixture_end);

/* Its tables are there before the first key. */
TEST(the_least_memory_that_is_taken_is_enough_for_an_empty_store_and_writes) {
	enum { LEAST = 1 << 20, SIZE = LEAST / 2 };
	char *value = calloc(1, SIZE);

	ck_assert_ptr_nonnull(value);
	check_refused(EXIT_USAGE, "from 1048576 to",
		      ARGUMENTS("-n", "-l", "tcp:127.0.0.1:0", "--max-memory", "1048575"));
	check_refused(EXIT_USAGE, "from 1048576 to",
		      ARGUMENTS("-n", "-l", "tcp:127.0.0.1:0", "--max-memory", "24k"));
	fixture_open(&fx, "--max-memory", "1M", NULL);
	ck_assert_uint_eq(counter(&fx.peer, "memory_max"), LEAST);
	ck_assert_uint_lt(counter(&fx.peer, "memory_used"), LEAST / 16);
	struct change change = put_bytes(&fx.session, 0, 1, "k", value, SIZE);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	free(value);
}

CASE(options);

TEST(a_malformed_address_is_exit_2_and_one_line_that_names_the_option) {
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

TEST(help_and_version_are_printed_and_are_exit_0) {
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

CASE(places);

TEST(a_port_in_use_is_exit_1_and_one_line_that_names_it) {
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

TEST(an_address_that_this_machine_does_not_have_is_exit_1) {
	/* TEST-NET-1: RFC 5737. */
	check_refused(EXIT_CANNOT, "tcp:192.0.2.1", ARGUMENTS("-n", "-l", "tcp:192.0.2.1"));
	check_refused(EXIT_CANNOT, "udp:192.0.2.1", ARGUMENTS("-n", "-l", "udp:192.0.2.1"));
}

TEST(an_address_that_other_machines_reach_needs_to_be_allowed) {
	static const char *const wide[] = {"tcp:0.0.0.0", "udp:0.0.0.0", "tcp:[::]", "udp:[::]"};
	struct server server;

	for (size_t i = 0; i < (server_has_ipv6() ? 4 : 2); i++) {
		check_refused(EXIT_USAGE, "--open", ARGUMENTS("-n", "-l", wide[i]));
		/* Also if it is one of several. */
		check_refused(EXIT_USAGE, wide[i],
			      ARGUMENTS("-n", "-l", "tcp:127.0.0.1", "-l", wide[i]));
		server_launch(&server, ARGUMENTS("-n", "--open", "-l", wide[i]));
		ck_assert(server_await_ready(&server));
		char *said = server_said(&server);
		ck_assert_ptr_nonnull(strstr(said, "warning: open: every machine that reaches"));
		ck_assert_ptr_nonnull(strstr(said, wide[i]));
		free(said);
		server_stop(&server);
	}
}

TEST(an_address_of_loopback_needs_not_be_allowed) {
	static const char *const addresses[] = {"tcp:127.0.0.1", "udp:127.1.2.3", "tcp:localhost",
						"tcp:[::1]"};
	struct server server;

	for (size_t i = 0; i < (server_has_ipv6() ? 4 : 3); i++) {
		server_launch(&server, ARGUMENTS("-n", "-l", addresses[i]));
		ck_assert(server_await_ready(&server));
		char *said = server_said(&server);
		ck_assert_str_eq(said, "");
		free(said);
		server_stop(&server);
	}
}

TEST(a_full_memory_is_one_line_in_the_log) {
	enum { SIZE = 900 << 10 };
	char *value = calloc(1, SIZE);

	ck_assert_ptr_nonnull(value);
	fixture_open(&fx, "--max-memory", "1M", NULL);
	for (uint64_t seq = 1; seq <= 20; seq++) {
		char key[2] = {(char)('a' + seq), '\0'};
		struct change change = put_bytes(&fx.session, 0, seq, key, value, SIZE);
		ck_assert_int_eq(change_status(&fx.peer, &change), seq == 1 ? KV1_OK : KV1_FULL);
	}
	fixture_close(&fx);
	char *said = server_said(&fx.server);
	const char *words = "refusing writes for which there is no memory (--max-memory)";
	const char *line = strstr(said, words);
	ck_assert_msg(line != NULL && strstr(line + 1, words) == NULL, "%s", said);
	free(said);
	free(value);
}

/* As many as are stored; the next start has a lower limit. */
TEST(a_limit_that_does_not_fit_is_told_with_the_numbers) {
	enum { SIZE = 3 << 20 };
	struct server server;
	char dir[64];
	char *value = calloc(1, SIZE);

	ck_assert_ptr_nonnull(value);
	suite_directory(dir);
	fixture_open(&fx, "-d", dir, "--max-memory", "4611686018427387904", NULL);
	char *said = server_said(&fx.server);
	ck_assert_ptr_nonnull(strstr(said, "--max-memory is 4398046511104 MiB, but kvd may use "));
	free(said);
	struct change change = put_bytes(&fx.session, 0, 1, "k", value, SIZE);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	fixture_close(&fx);
	server_launch(&server,
		      ARGUMENTS("-n", "-l", "tcp:127.0.0.1", "-d", dir, "--max-memory", "2M"));
	ck_assert(server_await_ready(&server));
	said = server_said(&server);
	ck_assert_msg(strstr(said, "the store takes 3 MiB, and the limit is 2 MiB") != NULL, "%s",
		      said);
	free(said);
	server_stop(&server);
	free(value);
}

/* Whether or not what it may use is enough in the end. */
TEST(a_store_that_takes_most_of_what_kvd_may_use_is_told_while_it_is_read) {
	enum { SIZE = 3 << 20, COUNT = 20, ALLOWED = 150 << 20 };
	struct server server;
	struct rlimit limit;
	char dir[64];
	char *value = calloc(1, SIZE);

	ck_assert(value != NULL && getrlimit(RLIMIT_AS, &limit) == 0);
	if (limit.rlim_cur != RLIM_INFINITY || suite_is_instrumented()) {
		suite_skip("a store that takes most of the memory: limited or instrumented");
		free(value);
		return;
	}
	suite_directory(dir);
	fixture_open(&fx, "-d", dir, NULL);
	for (uint64_t seq = 1; seq <= COUNT; seq++) {
		char key[2] = {(char)('a' + seq), '\0'};
		struct change change = put_bytes(&fx.session, 0, seq, key, value, SIZE);
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	fixture_close(&fx);
	limit.rlim_cur = ALLOWED;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	server_launch(&server, ARGUMENTS("-n", "-l", "tcp:127.0.0.1", "-d", dir));
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	bool is_ready = server_await_ready(&server);
	char *said = server_said(&server);
	ck_assert_msg(strstr(said, " MiB, and kvd may use 150 MiB (") != NULL, "%s", said);
	free(said);
	if (is_ready)
		server_stop(&server);
	free(value);
}

TEST(the_socket_of_a_living_server_is_left_alone) {
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

TEST(the_socket_of_a_dead_server_is_taken_over) {
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

TEST(a_file_where_the_socket_should_be_is_left_alone) {
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

/* From here on this test is an ordinary user, in a directory that he may write to. */
static void become_ordinary(char dir[64]) {
	server_share_kvd();
	suite_directory(dir);
	ck_assert_int_eq(setenv("TMPDIR", dir, 1), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(dir, UNPRIVILEGED_UID, UNPRIVILEGED_UID), 0);
		ck_assert_int_eq(setgroups(0, NULL), 0);
		ck_assert_int_eq(setgid(UNPRIVILEGED_UID), 0);
		ck_assert_int_eq(setuid(UNPRIVILEGED_UID), 0);
	}
}

TEST(a_socket_where_the_user_may_not_write_is_exit_1) {
	char dir[64];
	char address[128];

	become_ordinary(dir);
	suite_directory(dir);
	ck_assert_int_eq(chmod(dir, 0555), 0);
	(void)snprintf(address, sizeof address, "local:%s/s", dir);
	check_refused(EXIT_CANNOT, address, ARGUMENTS("-n", "-l", address));
	ck_assert_int_eq(chmod(dir, 0755), 0);
}

TEST(without_addresses_an_ordinary_user_listens_on_loopback_and_in_his_runtime_directory) {
	struct server server;
	struct peer peer;
	char dir[64];

	become_ordinary(dir);
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

CASE(life);

TEST(the_ready_line_is_the_only_one_and_names_every_address) {
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
	/* Standard output is standard error now: no other process holds this pipe. */
	ck_assert_int_eq(read(server.out, rest, sizeof rest), 0);
	server_stop(&server);
}

TEST(descriptors_that_are_closed_at_the_start_are_no_sockets_later) {
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

TEST(a_term_or_int_signal_ends_it_cleanly_with_calls_under_way) {
	static const int signals[] = {SIGTERM, SIGINT};

	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		fixture_plain();
		struct change change = put(&fx.session, 0, 1, "k", "v");
		for (uint64_t seq = 1; seq <= 100; seq++) {
			change.writer.seq = seq;
			(void)change_send(&fx.peer, &change);
		}
		process_signal(&fx.server.process, signals[i]);
		fixture_await_end();
		ck_assert_int_ne(access(fx.server.socket, F_OK), 0);
	}
}

/* Sends `count` GETs of the key "k". */
static void ask(struct peer *peer, uint32_t count) {
	kv1_get_args args = {.key = {1, (char *)"k"}};

	for (uint32_t i = 0; i < count; i++) {
		struct call_header header = call_header(i, KVPROC_GET);
		peer_send(peer, message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args));
	}
}

/*
 * Whether an answer that is owed at a term signal came, past peers that never read. If not, the
 * second in which it may leave must be over: this process may have slept through it.
 */
static bool is_answered_past_the_frozen(enum via via) {
	enum { FROZEN = 3, SIZE = 8 << 20 };
	struct peer peer;
	struct peer frozen[FROZEN];
	struct answer answer;
	char *value = calloc(1, SIZE);

	ck_assert_ptr_nonnull(value);
	fixture_plain();
	struct change change = put_bytes(&fx.session, 0, 1, "k", value, SIZE);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	/* Others before and behind it. */
	peer_open(&peer, &fx.server, via);
	for (int j = 0; j < FROZEN; j++) {
		peer_open(&frozen[j], &fx.server, via);
		ask(&frozen[j], 1);
	}
	ask(&peer, 1);
	while (counter(&fx.peer, "send_queue_bytes") <= FROZEN * SIZE / 2) {
		suite_pause_ms(1);
	}
	uint64_t start_ms = suite_now_ms();
	process_signal(&fx.server.process, SIGTERM);
	bool came = peer_receive(&peer, 30000, &answer) == RECEIVED_REPLY;
	if (came) {
		ck_assert_uint_gt(answer.record.size, SIZE);
		answer_free(&answer);
	} else {
		ck_assert_uint_ge(suite_now_ms() - start_ms, DRAIN_MS);
	}
	fixture_await_end();
	for (int j = 0; j < FROZEN; j++) {
		peer_close(&frozen[j]);
	}
	peer_close(&peer);
	free(value);
	return came;
}

LOOP_TEST(answers_that_are_owed_at_a_term_signal_leave_past_peers_that_never_read, 0, 2) {
	static const enum via vias[] = {VIA_TCP, VIA_LOCAL};
	int tries = 0;

	while (!is_answered_past_the_frozen(vias[_i]))
		ck_assert_int_lt(++tries, TRIES);
}

TEST(calls_left_unread_at_a_term_signal_spoil_no_answer) {
	enum { CALLS = 300, SIZE = 100000 };
	struct peer peer;
	struct answer answer;
	char *value = calloc(1, SIZE);
	char bytes[65536];
	int room = sizeof bytes;
	size_t size = 0;
	ssize_t got;

	ck_assert_ptr_nonnull(value);
	fixture_plain();
	struct change change = put_bytes(&fx.session, 0, 1, "k", value, SIZE);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	peer_open(&peer, &fx.server, VIA_TCP);
	/* Most of what is owed waits on the server's side. */
	ck_assert_int_eq(setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
	ask(&peer, CALLS);
	peer_ping(&fx.peer);
	ask(&peer, CALLS);
	process_signal(&fx.server.process, SIGTERM);
	/* Whole ones up to the end: a reset would cut short what is on its way. */
	ck_assert_int_eq(peer_receive(&peer, 30000, &answer), RECEIVED_REPLY);
	while ((got = recv(peer.fd, bytes, sizeof bytes, 0)) > 0) {
		size += (size_t)got;
	}
	ck_assert_uint_eq(size % (4 + answer.record.size), 0);
	answer_free(&answer);
	fixture_await_end();
	peer_close(&peer);
	free(value);
}

TEST(two_servers_are_two_stores) {
	struct fixture one;
	struct fixture two;

	fixture_open(&one, NULL);
	fixture_open(&two, NULL);
	struct change change = put(&one.session, 0, 1, "k", "one");
	ck_assert_int_eq(change_status(&one.peer, &change), KV1_OK);
	check_no_key(&two.peer, "k");
	ck_assert_mem_ne(hello(&one.peer).store, hello(&two.peer).store, KV1_STORE_SIZE);
	ck_assert_uint_ne(one.session.epoch, two.session.epoch);
	fixture_close(&one);
	fixture_close(&two);
}

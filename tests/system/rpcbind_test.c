/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd and rpcbind: entries made, renewed, withdrawn; and life without rpcbind. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kv/kv.h>

#include "rpcbind.h"
#include "server.h"
#include "suite.h"

static const char *const netids[] = {"tcp", "udp", "local", "tcp6", "udp6"};

/* All of them, or those without IPv6. */
static size_t netid_count(void) {
	return server_has_ipv6() ? 5 : 3;
}

/* A registered server on any free port of each transport. */
static void launch(struct server *server, const char *program) {
	char dir[64];
	char local[128];
	const char *arguments[20] = {"-P", program,	    "-l", "tcp:127.0.0.1",
				     "-l", "udp:127.0.0.1", "-l", local};

	suite_directory(dir);
	(void)snprintf(local, sizeof local, "local:%s/s", dir);
	if (server_has_ipv6()) {
		memcpy(arguments + 8, (const char *[]){"-l", "tcp:[::1]", "-l", "udp:[::1]"},
		       4 * sizeof arguments[0]);
	}
	server_launch(server, arguments);
}

static void start(struct server *server, const char *program) {
	launch(server, program);
	if (!server_await_ready(server)) {
		char *said = server_said(server);
		ck_abort_msg("kvd did not start: %s", said);
	}
}

/* rpcinfo calls the null procedure: the health check. */
static int rpcinfo(const char *transport, const char *host, const char *program) {
	const char *const argv[] = {"rpcinfo", "-T", transport, host, program, "1", NULL};
	struct run run = run_program(argv);
	int status = run.status;

	run_free(&run);
	return status;
}

/* The server is served at an address that its clients know without rpcbind. */
static void check_serves(const struct server *server, uint32_t program) {
	char address[128];
	struct kv_options options = {.server = address, .timeout_ms = 30000, .program = program};
	struct kv_client *client;

	server_address(server, VIA_TCP, address);
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(kv_ping(client), KV_OK);
	}
	kv_close(client);
}

/* Whether rpcbind's tcp entry is this server's. */
static bool is_registered(const struct server *server, uint32_t program) {
	char address[128] = "";
	char expected[64];
	unsigned port = server->port[VIA_TCP];

	(void)snprintf(expected, sizeof expected, "127.0.0.1.%u.%u", port >> 8, port & 255);
	return rpcbind_knows(program, "tcp", address) && strcmp(address, expected) == 0;
}

START_TEST(every_transport_is_registered_and_withdrawn_at_the_end) {
	struct server server;
	char number[16];
	char address[128];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_have("registration")) {
		return;
	}
	start(&server, number);
	for (size_t i = 0; i < netid_count(); i++) {
		ck_assert_msg(rpcbind_knows(program, netids[i], address), "not on %s", netids[i]);
	}
	ck_assert(is_registered(&server, program));
	ck_assert(rpcbind_knows(program, "local", address));
	ck_assert_str_eq(address, server.socket);
	ck_assert_int_eq(rpcinfo("tcp", "127.0.0.1", number), 0);
	ck_assert_int_eq(rpcinfo("udp", "127.0.0.1", number), 0);
	server_stop(&server);
	for (size_t i = 0; i < netid_count(); i++) {
		ck_assert_msg(!rpcbind_knows(program, netids[i], address), "still on %s",
			      netids[i]);
	}
	ck_assert_int_ne(rpcinfo("tcp", "127.0.0.1", number), 0);
}
END_TEST

START_TEST(a_second_server_of_the_same_number_is_exit_1_and_told_what_to_do) {
	struct server first;
	struct server second;
	char number[16];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_have("two servers")) {
		return;
	}
	start(&first, number);
	launch(&second, number);
	ck_assert(!server_await_ready(&second));
	ck_assert_int_eq(server_wait(&second), 1);
	char *said = server_said(&second);
	char *end = strchr(said, '\n');
	ck_assert_msg(end != NULL && end[1] == '\0', "not one line: %s", said);
	ck_assert_ptr_nonnull(strstr(said, number));
	ck_assert_ptr_nonnull(strstr(said, "-P"));
	ck_assert_ptr_nonnull(strstr(said, "-n"));
	free(said);
	ck_assert(is_registered(&first, program));
	ck_assert_int_eq(rpcinfo("tcp", "127.0.0.1", number), 0);
	server_stop(&first);
}
END_TEST

START_TEST(the_entries_of_a_dead_server_are_replaced) {
	struct server first;
	struct server second;
	char number[16];
	char address[128];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_have("a dead server's entries")) {
		return;
	}
	start(&first, number);
	server_kill(&first);
	ck_assert(rpcbind_knows(program, "tcp", address));
	start(&second, number);
	ck_assert(is_registered(&second, program));
	ck_assert(rpcbind_knows(program, "local", address));
	ck_assert_str_eq(address, second.socket);
	ck_assert_int_eq(rpcinfo("tcp", "127.0.0.1", number), 0);
	server_stop(&second);
	ck_assert(!rpcbind_knows(program, "tcp", address));
}
END_TEST

START_TEST(entries_that_rpcbind_lost_are_made_again) {
	struct process rpcbind;
	struct server server;
	char number[16];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_enter_own_network()) {
		suite_skip("a lost entry: only root may have an rpcbind to kill");
		return;
	}
	rpcbind_start(&rpcbind);
	start(&server, number);
	process_signal(&rpcbind, SIGKILL);
	(void)process_wait(&rpcbind, 30);
	rpcbind_start(&rpcbind);
	uint64_t since = suite_now_ms();
	for (size_t i = 0; i < netid_count(); i++) {
		rpcbind_await(program, netids[i]);
	}
	suite_figure("registered again %.1f s after rpcbind came back",
		     (double)(suite_now_ms() - since) / 1000);
	ck_assert_int_eq(rpcinfo("tcp", "127.0.0.1", number), 0);
	server_stop(&server);
}
END_TEST

START_TEST(without_rpcbind_a_server_that_can_be_named_serves_and_registers_later) {
	struct process rpcbind;
	struct server server;
	char number[16];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_enter_own_network()) {
		suite_skip("no rpcbind: only root can be without the machine's");
		return;
	}
	start(&server, number);
	check_serves(&server, program);
	char *said = server_said(&server);
	ck_assert_ptr_nonnull(strstr(said, "rpcbind"));
	free(said);
	rpcbind_start(&rpcbind);
	rpcbind_await(program, "tcp");
	ck_assert(is_registered(&server, program));
	server_stop(&server);
}
END_TEST

START_TEST(without_rpcbind_a_server_that_nobody_could_find_is_exit_1) {
	static const char *const any_port[] = {"-l", "tcp:127.0.0.1", NULL};
	struct server server;

	if (!rpcbind_enter_own_network()) {
		suite_skip("nobody could find it: only root can be without the machine's rpcbind");
		return;
	}
	server_launch(&server, any_port);
	ck_assert(!server_await_ready(&server));
	ck_assert_int_eq(server_wait(&server), 1);
	char *said = server_said(&server);
	char *end = strchr(said, '\n');
	ck_assert_msg(end != NULL && end[1] == '\0', "not one line: %s", said);
	ck_assert_ptr_nonnull(strstr(said, "rpcbind"));
	ck_assert_ptr_nonnull(strstr(said, "-l"));
	free(said);
}
END_TEST

START_TEST(a_frozen_rpcbind_keeps_nobody_from_being_served_nor_the_server_from_ending) {
	struct process rpcbind;
	struct server server;
	struct server other;
	char number[16];
	char other_number[16];
	uint32_t program = rpcbind_program(number);

	(void)rpcbind_program(other_number);
	if (!rpcbind_enter_own_network()) {
		suite_skip("a frozen rpcbind: only root may have one of his own");
		return;
	}
	rpcbind_start(&rpcbind);
	start(&server, number);
	process_signal(&rpcbind, SIGSTOP);
	start(&other, other_number);
	check_serves(&server, program);
	uint64_t since = suite_now_ms();
	server_stop(&server);
	server_stop(&other);
	suite_figure("two servers beside a frozen rpcbind ended in %.1f s",
		     (double)(suite_now_ms() - since) / 1000);
	process_signal(&rpcbind, SIGKILL);
	(void)process_wait(&rpcbind, 30);
}
END_TEST

static int connect_to(const struct server *server) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(server->port[VIA_TCP]),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

START_TEST(peers_are_left_before_rpcbind_is_waited_for) {
	struct process rpcbind;
	struct server server;
	char number[16];
	char byte;

	(void)rpcbind_program(number);
	if (!rpcbind_enter_own_network()) {
		suite_skip("a frozen rpcbind: only root may have one of his own");
		return;
	}
	rpcbind_start(&rpcbind);
	start(&server, number);
	process_signal(&rpcbind, SIGSTOP);
	int peer = connect_to(&server);
	ck_assert_int_ge(peer, 0);
	process_signal(&server.process, SIGTERM);
	ck_assert_int_le(read(peer, &byte, sizeof(byte)), 0);
	char *said = server_said(&server);
	ck_assert_ptr_null(strstr(said, "rpcbind does not answer"));
	free(said);
	/* Whoever comes now is not kept waiting either, and nobody else gets the port. */
	ck_assert_int_eq(connect_to(&server), -1);
	server_stop(&server);
	(void)close(peer);
	process_signal(&rpcbind, SIGKILL);
	(void)process_wait(&rpcbind, 30);
}
END_TEST

START_TEST(the_library_finds_a_registered_server_and_finds_it_again_on_another_port) {
	static const char *const servers[] = {"tcp:127.0.0.1", "udp:127.0.0.1", "localhost"};
	struct server server;
	char number[16];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_have("finding a server")) {
		return;
	}
	for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
		struct kv_options options = {
		    .server = servers[i], .timeout_ms = 60000, .program = program};
		struct kv_client *client;
		struct kv_value value;
		uint64_t version;
		start(&server, number);
		ck_assert_int_eq(kv_open(&options, &client), KV_OK);
		/* That leaves nothing to remember of the store. */
		ck_assert_int_eq(kv_ping(client), KV_OK);
		server_kill(&server);
		start(&server, number);
		ck_assert_int_eq(kv_get(client, (struct kv_bytes){"k", 1}, &value), KV_NOKEY);
		ck_assert_int_eq(kv_put(client, (struct kv_bytes){"k", 1},
					(struct kv_bytes){"v", 1}, 0, &version),
				 KV_OK);
		ck_assert_uint_eq(version, 1);
		kv_close(client);
		server_stop(&server);
	}
}
END_TEST

int main(void) {
	Suite *suite = suite_create("rpcbind");
	TCase *entries = suite_case(suite, "entries");
	TCase *absence = suite_case(suite, "absence");

	tcase_add_test(entries, every_transport_is_registered_and_withdrawn_at_the_end);
	tcase_add_test(entries, a_second_server_of_the_same_number_is_exit_1_and_told_what_to_do);
	tcase_add_test(entries, the_entries_of_a_dead_server_are_replaced);
	tcase_add_test(entries, entries_that_rpcbind_lost_are_made_again);
	tcase_add_test(entries,
		       the_library_finds_a_registered_server_and_finds_it_again_on_another_port);
	tcase_add_test(absence,
		       without_rpcbind_a_server_that_can_be_named_serves_and_registers_later);
	tcase_add_test(absence, without_rpcbind_a_server_that_nobody_could_find_is_exit_1);
	tcase_add_test(absence, peers_are_left_before_rpcbind_is_waited_for);
	tcase_add_test(absence,
		       a_frozen_rpcbind_keeps_nobody_from_being_served_nor_the_server_from_ending);
	return suite_run(suite);
}

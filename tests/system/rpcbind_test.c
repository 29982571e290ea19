/* SPDX-License-Identifier: BSD-3-Clause */
/* kvd and rpcbind: entries made, renewed, withdrawn; and life without rpcbind. */
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kv/kv.h>
#include <netconfig.h>
#include <rpc/rpc.h>
#include <rpc/rpcb_clnt.h>

#include "rpcbind.h"
#include "server.h"
#include "suite.h"
#include "test.h"

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

CASE(entries);

TEST(every_transport_is_registered_and_withdrawn_at_the_end) {
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

static void check_said(const struct server *server, const char *words) {
	char *said = server_said(server);

	ck_assert_msg(strstr(said, words) != NULL, "no \"%s\" in: %s", words, said);
	free(said);
}

TEST(a_second_server_of_the_same_number_serves_where_it_is_found_and_says_what_to_do) {
	struct server first;
	struct server second;
	char number[16];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_have("two servers")) {
		return;
	}
	start(&first, number);
	/* At a local socket, which needs no rpcbind. */
	start(&second, number);
	check_said(&second, number);
	check_said(&second, "-P N or -n");
	check_serves(&second, program);
	server_stop(&second);
	ck_assert(is_registered(&first, program));
	server_launch(&second, (const char *const[]){"-P", number, "-l", "tcp:127.0.0.1", NULL});
	ck_assert(!server_await_ready(&second));
	ck_assert_int_eq(server_wait(&second), 1);
	check_said(&second, "another server is registered");
	check_said(&second, "no client can find a port");
	check_said(&second, "-l");
	ck_assert(is_registered(&first, program));
	ck_assert_int_eq(rpcinfo("tcp", "127.0.0.1", number), 0);
	server_stop(&first);
}

/* A tcp port of loopback that listens or, without a backlog, does not. */
static uint16_t open_port(int *fd, bool listens) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(*fd, 0);
	ck_assert_int_eq(bind(*fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(*fd, (struct sockaddr *)&address, &size), 0);
	ck_assert(!listens || listen(*fd, 0) == 0);
	return ntohs(address.sin_port);
}

/* Registers a tcp port of loopback as this user. */
static void set_tcp_entry(uint32_t program, uint16_t port) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct netbuf where = {sizeof(address), sizeof(address), &address};
	struct netconfig *netconfig = getnetconfigent("tcp");

	ck_assert_ptr_nonnull(netconfig);
	ck_assert(rpcb_set(program, 1, netconfig, &where));
	freenetconfigent(netconfig);
}

/* Sends a byte of nothing now and then, so that each read ends and the reply never does. */
static void *trickle(void *argument) {
	int peer = accept(*(int *)argument, NULL, NULL);

	for (;;) {
		(void)send(peer, "", 1, MSG_NOSIGNAL);
		suite_pause_ms(100);
	}
	return NULL;
}

/* From here on this test is an ordinary user, with a directory and a copy of kvd of its own. */
static void become_ordinary(void) {
	enum { UNPRIVILEGED_UID = 65534 };
	char dir[64];

	server_share_kvd();
	suite_directory(dir);
	ck_assert_int_eq(setenv("TMPDIR", dir, 1), 0);
	ck_assert_int_eq(chown(dir, UNPRIVILEGED_UID, UNPRIVILEGED_UID), 0);
	ck_assert_int_eq(setgid(UNPRIVILEGED_UID), 0);
	ck_assert_int_eq(setuid(UNPRIVILEGED_UID), 0);
}

enum { ENTRY_DEAD, ENTRY_SILENT, ENTRY_FULL, ENTRY_TRICKLES, ENTRY_KINDS };

/* kvd is an ordinary user's, and root's entry is one that it may not remove. */
LOOP_TEST(an_entry_of_another_user_keeps_no_server_from_serving, 0, ENTRY_KINDS) {
	struct process rpcbind;
	struct server server;
	pthread_t thread;
	char number[16];
	char address[128];
	int fd;
	int peers[8];
	uint32_t program = rpcbind_program(number);

	if (!rpcbind_enter_own_network()) {
		suite_skip("another user's entry: only root can make one");
		return;
	}
	rpcbind_start(&rpcbind);
	uint16_t port = open_port(&fd, _i != ENTRY_DEAD);
	set_tcp_entry(program, port);
	for (int i = 0; _i == ENTRY_FULL && i < 8; i++) {
		struct sockaddr_in to = {.sin_family = AF_INET,
					 .sin_port = htons(port),
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		peers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(peers[i], (struct sockaddr *)&to, sizeof(to));
	}
	if (_i == ENTRY_TRICKLES)
		ck_assert_int_eq(pthread_create(&thread, NULL, trickle, &fd), 0);
	become_ordinary();
	uint64_t since_ms = suite_now_ms();
	start(&server, number);
	suite_figure("ready %llu ms after the start",
		     (unsigned long long)(suite_now_ms() - since_ms));
	check_said(&server, "rpcbind keeps a dead server's entry for program");
	check_said(&server, "owner superuser");
	check_said(&server, "clients need the local socket or -s tcp:HOST:PORT");
	check_serves(&server, program);
	/* What is free is registered all the same. */
	ck_assert(rpcbind_knows(program, "udp", address));
	ck_assert(!is_registered(&server, program));
	server_stop(&server);
	ck_assert(!rpcbind_knows(program, "udp", address));
}

TEST(the_entries_of_a_dead_server_are_replaced) {
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

TEST(entries_that_rpcbind_lost_are_made_again) {
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

CASE(absence);

TEST(without_rpcbind_a_server_that_can_be_named_serves_and_registers_later) {
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
	ck_assert_ptr_nonnull(strstr(said, "rpcbind is not reachable"));
	ck_assert_ptr_null(strstr(said, "registered with rpcbind"));
	free(said);
	rpcbind_start(&rpcbind);
	rpcbind_await(program, "tcp");
	ck_assert(is_registered(&server, program));
	server_stop(&server);
	check_said(&server, "registered with rpcbind (program");
}

TEST(without_rpcbind_a_server_that_no_client_could_find_is_exit_1) {
	static const char *const any_port[] = {"-l", "tcp:127.0.0.1", NULL};
	struct server server;

	if (!rpcbind_enter_own_network()) {
		suite_skip(
		    "no client could find it: only root can be without the machine's rpcbind");
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

TEST(a_frozen_rpcbind_delays_no_client_and_not_the_end_of_the_server) {
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

TEST(peers_are_left_before_rpcbind_is_waited_for) {
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
	/* A client that comes now does not wait either, and no other server gets the port. */
	ck_assert_int_eq(connect_to(&server), -1);
	server_stop(&server);
	(void)close(peer);
	process_signal(&rpcbind, SIGKILL);
	(void)process_wait(&rpcbind, 30);
}

CASE(entries);

TEST(the_library_finds_a_registered_server_and_finds_it_again_on_another_port) {
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

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a service manager hears of kvd: sd_notify(3)'s datagrams. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { WAIT_MS = 60000, EXIT_CANNOT = 1 };

/* A socket as $NOTIFY_SOCKET names it: '@' stands for the NUL of an abstract name. */
static int listen_at(const char *name) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void check_hears(int fd, const char *words) {
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char text[256];

	ck_assert_msg(poll(&ready, 1, WAIT_MS) == 1, "\"%s\" is not heard", words);
	ssize_t got = recv(fd, text, sizeof text - 1, 0);
	ck_assert_int_gt(got, 0);
	text[got] = '\0';
	ck_assert_str_eq(text, words);
}

static void check_hears_nothing(int fd) {
	char byte;

	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
}

static void check_start_and_stop(int fd) {
	struct fixture fixture;
	char dir[64];

	suite_directory(dir);
	fixture_open(&fixture, "-d", dir, NULL);
	check_hears(fd, "READY=1");
	check_hears_nothing(fd);
	fixture_close(&fixture);
	check_hears(fd, "STOPPING=1");
	check_hears_nothing(fd);
	(void)close(fd);
}

TEST(readiness_and_the_stop_are_told_to_a_socket_with_a_path) {
	char dir[64];
	char path[80];

	suite_directory(dir);
	(void)snprintf(path, sizeof path, "%s/notify", dir);
	check_start_and_stop(listen_at(path));
}

TEST(readiness_and_the_stop_are_told_to_an_abstract_socket) {
	char dir[64];
	char name[80];

	/* As unique as the directory. */
	suite_directory(dir);
	(void)snprintf(name, sizeof name, "@%s", dir);
	check_start_and_stop(listen_at(name));
}

TEST(a_start_that_fails_is_never_called_ready) {
	char dir[64];
	char path[80];
	struct server server;

	suite_directory(dir);
	(void)snprintf(path, sizeof path, "%s/notify", dir);
	int fd = listen_at(path);
	server_launch(&server, (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d",
						     "/dev/null/none", NULL});
	ck_assert(!server_await_ready(&server));
	ck_assert_int_eq(server_wait(&server), EXIT_CANNOT);
	check_hears_nothing(fd);
	(void)close(fd);
}

TEST(a_manager_that_is_gone_or_misnamed_does_no_harm) {
	static const char *const names[] = {"", "relative", "@", "/nowhere/socket",
					    "/an/address/that/is/longer/than/a/socket/may/have/"
					    "which/is/one/hundred/and/seven/bytes/and/no/more/"
					    "than/that"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		ck_assert_int_eq(setenv("NOTIFY_SOCKET", names[i], 1), 0);
		fixture_plain();
		fixture_end();
	}
}

/* Its queue is full: what is sent there waits for as long as the sender likes. */
TEST(a_manager_that_does_not_read_keeps_no_client_waiting) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char dir[64];
	char path[80];

	suite_directory(dir);
	(void)snprintf(path, sizeof path, "%s/notify", dir);
	int fd = listen_at(path);
	int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(sender, 0);
	strcpy(address.sun_path, path);
	while (sendto(sender, "x", 1, MSG_DONTWAIT, (const struct sockaddr *)&address,
		      sizeof address) == 1)
		;
	ck_assert_int_eq(errno, EAGAIN);
	fixture_plain();
	char *said = server_said(&fx.server);
	ck_assert_ptr_nonnull(strstr(said, "the service manager did not take READY=1"));
	free(said);
	fixture_end();
	(void)close(sender);
	(void)close(fd);
}

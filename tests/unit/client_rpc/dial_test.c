/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: getpeername close */
/* Connecting to endpoints that refuse, stay silent, or are the socket itself. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "rpc/dial.h"
#include "test.h"

/* --- A socket that is connected to itself, seen by the kernel's own words -------------------- */

static bool is_self;
static struct linger linger_at_close;

int __real_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size) {
	return is_self ? getsockname(fd, address, size) : __real_getpeername(fd, address, size);
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
	socklen_t size = sizeof(linger_at_close);

	(void)getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger_at_close, &size);
	return __real_close(fd);
}

/* --- Endpoints ----------------------------------------------------------------------------- */

static struct endpoint loopback(uint32_t host) {
	struct endpoint endpoint = {.is_stream = true, .size = sizeof(struct sockaddr_in)};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&endpoint.address;

	v4->sin_family = AF_INET;
	v4->sin_addr.s_addr = htonl(host);
	return endpoint;
}

/* A socket that is bound there; it listens if backlog is not negative. */
static int serve(struct endpoint *endpoint, int backlog) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&endpoint->address, endpoint->size), 0);
	if (backlog >= 0)
		ck_assert_int_eq(listen(fd, backlog), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&endpoint->address, &endpoint->size),
			 0);
	return fd;
}

static int others[16];
static size_t other_count;

/* Fills the backlog: SYNs are then dropped, not refused. */
static void fill(const struct endpoint *endpoint) {
	for (bool is_full = false; !is_full;) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		struct pollfd wanted = {.fd = fd, .events = POLLOUT};

		ck_assert_uint_lt(other_count, 16);
		others[other_count++] = fd;
		(void)connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->size);
		is_full = poll(&wanted, 1, 100) == 0;
	}
}

static uint64_t soon(void) {
	return clock_ms() + 60000;
}

TEST(of_several_endpoints_the_one_that_accepts_is_connected) {
	struct endpoint all[] = {loopback(0x7f000001), loopback(0x7f000002), loopback(0x7f000003)};
	int listeners[] = {serve(&all[0], -1), serve(&all[1], -1), serve(&all[2], 5)};
	size_t connected = 9;
	int fd = dial(all, 3, soon(), &connected);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(connected, 2);
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	(void)close(fd);
	for (size_t i = 0; i < 3; i++)
		(void)close(listeners[i]);
}

TEST(a_silent_endpoint_delays_the_next_one_by_a_quarter_of_a_second) {
	struct endpoint all[] = {loopback(0x7f000001), loopback(0x7f000002)};
	int silent = serve(&all[0], 0), living = serve(&all[1], 5);
	uint64_t began_ms;
	size_t connected = 9;
	int fd;

	fill(&all[0]);
	began_ms = clock_ms();
	fd = dial(all, 2, soon(), &connected);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(connected, 1);
	ck_assert_uint_ge(clock_ms() - began_ms, DIAL_STAGGER_MS);
	ck_assert_uint_lt(clock_ms() - began_ms, 30000);
	(void)close(fd);
	(void)close(silent);
	(void)close(living);
}

TEST(with_little_time_a_silent_endpoint_still_leaves_some_for_the_next_one) {
	struct endpoint all[] = {loopback(0x7f000001), loopback(0x7f000002)};
	int silent = serve(&all[0], 0), living = serve(&all[1], 5);
	size_t connected = 9;
	int fd;

	fill(&all[0]);
	fd = dial(all, 2, clock_ms() + DIAL_STAGGER_MS, &connected);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(connected, 1);
	(void)close(fd);
	(void)close(silent);
	(void)close(living);
}

TEST(if_all_are_silent_it_ends_at_the_deadline) {
	struct endpoint all[] = {loopback(0x7f000001)};
	int silent = serve(&all[0], 0);
	uint64_t until_ms;

	fill(&all[0]);
	until_ms = clock_ms() + 150;
	ck_assert_int_eq(dial(all, 1, until_ms, NULL), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_uint_ge(clock_ms(), until_ms);
	(void)close(silent);
}

TEST(if_all_refuse_it_ends_at_once) {
	struct endpoint all[] = {loopback(0x7f000001), loopback(0x7f000002)};
	int one = serve(&all[0], -1), two = serve(&all[1], -1);

	ck_assert_int_eq(dial(all, 2, soon(), NULL), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	(void)close(one);
	(void)close(two);
}

TEST(a_socket_that_is_connected_to_itself_is_reset_so_that_the_port_is_free_at_once) {
	struct endpoint endpoint = loopback(0x7f000001);
	int listener = serve(&endpoint, 5);

	is_self = true;
	ck_assert_int_eq(dial(&endpoint, 1, soon(), NULL), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	ck_assert_int_eq(linger_at_close.l_onoff, 1);
	ck_assert_int_eq(linger_at_close.l_linger, 0);
	is_self = false;
	(void)close(listener);
}

TEST(a_real_self_connection_leaves_no_time_wait_behind) {
	struct endpoint endpoint = loopback(0x7f000001);
	const int on = 1;
	int fd, listener = serve(&endpoint, -1);

	/* The port is free again, and a socket bound to it connects to itself. */
	(void)close(listener);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&endpoint.address, endpoint.size), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&endpoint.address, endpoint.size), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
			 sizeof(struct linger));
	(void)close(fd);
	(void)close(serve(&endpoint, 5));
}

TEST(a_local_socket_whose_backlog_is_full_is_waited_for) {
	char folder[] = "/tmp/kv-test-XXXXXX";
	struct endpoint endpoint = {.is_stream = true, .size = sizeof(struct sockaddr_un)};
	struct sockaddr_un *local = (struct sockaddr_un *)&endpoint.address;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int first, second, third;
	uint64_t until_ms;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	local->sun_family = AF_UNIX;
	(void)snprintf(local->sun_path, sizeof(local->sun_path), "%s/s", folder);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)local, endpoint.size), 0);
	ck_assert_int_eq(listen(listener, 0), 0);
	first = dial(&endpoint, 1, soon(), NULL);
	ck_assert_int_ge(first, 0);
	until_ms = clock_ms() + 100;
	ck_assert_int_eq(dial(&endpoint, 1, until_ms, NULL), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_uint_ge(clock_ms(), until_ms);
	second = accept(listener, NULL, NULL);
	third = dial(&endpoint, 1, soon(), NULL);
	ck_assert_int_ge(third, 0);
	(void)close(first);
	(void)close(second);
	(void)close(third);
	(void)close(listener);
	(void)unlink(local->sun_path);
	(void)rmdir(folder);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: accept4 */
/* Listening sockets when the machine is short of something, and at paths that others use too. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/listener.h"
#include "log.h"
#include "net/stream.h"

enum { EVENTS = 8 };

static char directory[] = "/tmp/kv-listener.XXXXXX";
static char path[64];
static struct listeners listeners;
static int epoll;
static unsigned taken;	/* connections */
static int refusal;	/* what accept4() fails with; 0: nothing */
static unsigned asked;	/* how often it was called */
static bool is_spared;	/* when a descriptor was given up, one is there */
static bool is_one_off; /* it fails once only */

int __real_accept4(int, struct sockaddr *, socklen_t *, int);
int __wrap_accept4(int, struct sockaddr *, socklen_t *, int);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
	const int error = refusal;

	asked++;
	if (is_one_off)
		refusal = 0;
	if (error == 0 || (is_spared && (flags & SOCK_NONBLOCK) == 0))
		return __real_accept4(fd, address, size, flags);
	errno = error;
	return -1;
}

/* In place of the transport. */
void streams_add(struct streams *streams, int fd, const char *transport) {
	(void)streams;
	(void)transport;
	taken++;
	(void)close(fd);
}

static void listen_at_path(struct listeners *at) {
	struct address address = {.kind = ADDRESS_LOCAL};

	(void)snprintf(address.path, sizeof(address.path), "%s", path);
	ck_assert(listeners_open(at, &address, 1));
}

static void set_up(void) {
	/* It is only named. */
	static int streams;

	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/s", directory);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	ck_assert_int_ge(epoll, 0);
	log_open("listener_test", 0);
	taken = asked = 0;
	refusal = 0;
	is_spared = is_one_off = false;
	listen_at_path(&listeners);
	ck_assert(listeners_serve(&listeners, epoll, (struct streams *)(void *)&streams));
}

static void tear_down(void) {
	listeners_close(&listeners);
	(void)unlink(path);
	(void)rmdir(directory);
	(void)close(epoll);
}

static int connect_to_path(void) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* One turn that waits that long for something; answers whether there was. */
static bool turn(int wait_ms) {
	struct epoll_event events[EVENTS];
	int count = epoll_wait(epoll, events, EVENTS, wait_ms);

	for (int i = 0; i < count; i++) {
		struct watch *watch = events[i].data.ptr;

		watch->ready(watch, events[i].events);
	}
	return count > 0;
}

static void check_hung_up(int fd, bool is_hung_up) {
	struct pollfd wanted = {.fd = fd, .events = POLLIN};

	ck_assert_int_eq(poll(&wanted, 1, 0), is_hung_up ? 1 : 0);
}

/* Nobody is asked again and again, and whoever waited is accepted when it is over. */
static void check_rests(int error) {
	int peer = connect_to_path();

	ck_assert_int_ge(peer, 0);
	refusal = error;
	ck_assert(turn(-1));
	asked = 0;
	/* Only the timer can wake it now, and that does not ask. */
	refusal = 0;
	ck_assert(turn(-1));
	ck_assert_uint_eq(asked, 0);
	check_hung_up(peer, false);
	ck_assert(turn(-1));
	ck_assert_uint_eq(taken, 1);
	(void)close(peer);
}

START_TEST(without_memory_for_connections_nothing_is_accepted_for_a_while) {
	check_rests(ENOBUFS);
	taken = 0;
	check_rests(ENOMEM);
}
END_TEST

START_TEST(nor_without_descriptors_if_not_even_the_spare_one_helps) {
	check_rests(EMFILE);
	taken = 0;
	check_rests(ENFILE);
}
END_TEST

START_TEST(with_a_descriptor_to_spare_the_newcomer_hears_of_it) {
	int peer = connect_to_path();

	ck_assert_int_ge(peer, 0);
	refusal = EMFILE;
	is_spared = true;
	ck_assert(turn(-1));
	check_hung_up(peer, true);
	(void)close(peer);
	refusal = 0;
	peer = connect_to_path();
	ck_assert(turn(-1));
	ck_assert_uint_eq(taken, 1);
	(void)close(peer);
}
END_TEST

START_TEST(a_connection_that_broke_early_keeps_nobody_from_being_accepted) {
	int peer = connect_to_path();

	refusal = ECONNABORTED;
	is_one_off = true;
	ck_assert(turn(-1));
	ck_assert_uint_eq(taken, 1);
	(void)close(peer);
}
END_TEST

START_TEST(the_socket_goes_with_its_server) {
	struct stat status;

	ck_assert_int_eq(lstat(path, &status), 0);
	listeners_close(&listeners);
	ck_assert_int_eq(lstat(path, &status), -1);
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(a_socket_that_another_server_put_there_stays) {
	struct listeners other;
	char aside[sizeof(path) + 1];
	int peer;

	/* Both are there at once, so no inode is used twice. */
	(void)snprintf(aside, sizeof(aside), "%s2", path);
	ck_assert_int_eq(rename(path, aside), 0);
	listen_at_path(&other);
	listeners_close(&listeners);
	peer = connect_to_path();
	ck_assert_int_ge(peer, 0);
	(void)close(peer);
	ck_assert_int_eq(unlink(aside), 0);
	listeners_close(&other);
}
END_TEST

START_TEST(who_comes_when_the_server_is_going_is_refused_at_once) {
	int waiting = connect_to_path();

	ck_assert_int_ge(waiting, 0);
	listeners_shutdown(&listeners);
	ck_assert_int_eq(connect_to_path(), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	(void)close(waiting);
}
END_TEST

int main(void) {
	const TTest *const tests[] = {
	    without_memory_for_connections_nothing_is_accepted_for_a_while,
	    nor_without_descriptors_if_not_even_the_spare_one_helps,
	    with_a_descriptor_to_spare_the_newcomer_hears_of_it,
	    a_connection_that_broke_early_keeps_nobody_from_being_accepted,
	    the_socket_goes_with_its_server,
	    a_socket_that_another_server_put_there_stays,
	    who_comes_when_the_server_is_going_is_refused_at_once,
	};
	Suite *suite = suite_create("listener");
	TCase *tcase = tcase_create("listener");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

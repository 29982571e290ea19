/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: accept4 */
/* Listening sockets when the machine is short of something, and at paths that others use too. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "net/listener.h"
#include "net/peer.h"
#include "net/stream.h"
#include "test.h"

enum { EVENTS = 8 };

static char directory[] = "/tmp/kv-listener.XXXXXX";
static char path[64];
static struct listeners listeners;
static int epoll;
static unsigned taken; /* connections */
static int refusal;    /* what accept4() fails with; 0: nothing */
static unsigned asked; /* how often it was called */
static bool is_spared; /* when a descriptor was given up, one is there */
static bool is_tcp;    /* connections have these: */
static int vanished_s; /* until a peer that is gone is found; 0: never */
static int unacknowledged_ms;
static int notsent;	/* bytes */
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

static int option_of(int fd, int level, int name) {
	int value = 0;
	socklen_t size = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

static void read_options(int fd) {
	vanished_s =
	    option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE) +
	    option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL) * option_of(fd, IPPROTO_TCP, TCP_KEEPCNT);
	if (option_of(fd, SOL_SOCKET, SO_KEEPALIVE) == 0)
		vanished_s = 0;
	unacknowledged_ms = option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT);
	notsent = option_of(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
}

/* In place of the transport. */
void streams_add(struct streams *streams, int fd, const struct peer_name *name) {
	(void)streams;
	(void)name;
	taken++;
	if (is_tcp)
		read_options(fd);
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
	is_tcp = false;
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

/* One turn that waits that long for something; returns whether there was. */
static bool turn(int wait_ms) {
	struct epoll_event events[EVENTS];
	int count = epoll_wait(epoll, events, EVENTS, wait_ms);

	for (int i = 0; i < count; i++) {
		struct event_handler *watch = events[i].data.ptr;

		watch->ready(watch, events[i].events);
	}
	return count > 0;
}

static void check_hung_up(int fd, bool is_hung_up) {
	struct pollfd wanted = {.fd = fd, .events = POLLIN};

	ck_assert_int_eq(poll(&wanted, 1, 0), is_hung_up ? 1 : 0);
}

/* accept4() is not called again and again, and a client that waited is accepted afterwards. */
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

CASE(listener, .setup = set_up, .teardown = tear_down);

TEST(without_memory_for_connections_nothing_is_accepted_for_a_while) {
	check_rests(ENOBUFS);
	taken = 0;
	check_rests(ENOMEM);
}

TEST(likewise_without_descriptors_if_the_reserved_one_does_not_help) {
	check_rests(EMFILE);
	taken = 0;
	check_rests(ENFILE);
}

TEST(with_a_reserved_descriptor_a_new_connection_is_closed_at_once) {
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

TEST(a_connection_that_broke_early_does_not_stop_the_accepting) {
	int peer = connect_to_path();

	refusal = ECONNABORTED;
	is_one_off = true;
	ck_assert(turn(-1));
	ck_assert_uint_eq(taken, 1);
	(void)close(peer);
}

TEST(the_socket_goes_with_its_server) {
	struct stat status;

	ck_assert_int_eq(lstat(path, &status), 0);
	listeners_close(&listeners);
	ck_assert_int_eq(lstat(path, &status), -1);
	ck_assert_int_eq(errno, ENOENT);
}

TEST(a_socket_that_another_server_put_there_stays) {
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

TEST(a_client_that_connects_while_the_server_stops_is_refused_at_once) {
	struct listeners next;
	int waiting = connect_to_path();

	ck_assert_int_ge(waiting, 0);
	listeners_shutdown(&listeners);
	ck_assert_int_eq(connect_to_path(), -1);
	ck_assert_int_eq(errno, ENOENT);
	(void)close(waiting);
	/* And the next server has the path, although this one is still there. */
	listen_at_path(&next);
	listeners_close(&listeners);
	waiting = connect_to_path();
	ck_assert_int_ge(waiting, 0);
	(void)close(waiting);
	listeners_close(&next);
}

TEST(a_tcp_connection_ends_within_minutes_when_its_peer_is_gone_and_queues_little) {
	struct address address = {.kind = ADDRESS_TCP, .host = "127.0.0.1"};
	struct listeners tcp;
	static int streams;
	int peer;

	is_tcp = true;
	ck_assert(listeners_open(&tcp, &address, 1));
	ck_assert(listeners_serve(&tcp, epoll, (struct streams *)(void *)&streams));
	peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
	    connect(peer, (struct sockaddr *)&tcp.list[0].sockaddr, tcp.list[0].sockaddr_size), 0);
	ck_assert(turn(-1));
	ck_assert_uint_eq(taken, 1);
	ck_assert(vanished_s > 0 && vanished_s <= 300);
	/* Not sooner: else one lost probe would end it (tcp(7)). */
	ck_assert_int_ge(unacknowledged_ms, vanished_s * 1000);
	ck_assert(notsent > 0 && notsent <= 256 * 1024);
	(void)close(peer);
	listeners_close(&tcp);
}

/* What comes first at a fixed port: the end of an old connection there. */
TEST(a_port_where_the_server_closed_connections_can_be_bound_again_at_once) {
	struct address address = {.kind = ADDRESS_TCP, .host = "127.0.0.1"};
	struct listeners tcp;
	static int streams;
	int peer;
	char byte;

	ck_assert(listeners_open(&tcp, &address, 1));
	ck_assert(listeners_serve(&tcp, epoll, (struct streams *)(void *)&streams));
	address.port = tcp.list[0].address.port;
	peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
	    connect(peer, (struct sockaddr *)&tcp.list[0].sockaddr, tcp.list[0].sockaddr_size), 0);
	ck_assert(turn(-1)); /* closes it first, so TIME_WAIT is on this side */
	ck_assert_int_eq(read(peer, &byte, 1), 0);
	(void)close(peer);
	listeners_close(&tcp);
	ck_assert(listeners_open(&tcp, &address, 1));
	listeners_close(&tcp);
}

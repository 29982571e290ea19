/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STREAMS_FIXTURE_H
#define STREAMS_FIXTURE_H

/*
 * streams_fixture.h - connections of several peers to a streams_new() of a test: the test holds the
 * other end of each, and runs the turns.
 */

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "core/service.h"
#include "core/stats.h"
#include "log.h"
#include "log_limit.h"
#include "net/encode_call.h"
#include "net/event_handler.h"
#include "net/peer.h"
#include "net/recv_batch.h"
#include "net/stream.h"
#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "test.h"

enum {
	MAX = 6, /* connections */
	HELD_MAX = 4 << 20,
	MEMORY_MAX = 32 << 20,
	EVENTS = 64,
	START_MS = 100000,
};

static int epoll;
static struct service *service;
static struct dispatch *dispatch;
static struct streams *streams;
static uint64_t recorded; /* position of the last operation; none is durable yet */
static int log_fd;
static int send_buffer; /* bytes, of connections; 0: as they are */
static inline bool reserve(void *journal, const struct operation *operation) {
	(void)journal;
	(void)operation;
	return true;
}

static uint64_t record(void *journal, const struct operation *operation, uint64_t now_ms) {
	(void)journal;
	(void)operation;
	(void)now_ms;
	return ++recorded;
}

static inline void at(uint64_t now_ms) {
	dispatch_set_time(dispatch, now_ms);
	streams_set_time(streams, now_ms);
}

static inline void set_up(void) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 1 << 20, .memory_max = MEMORY_MAX, .sessions_max = 4, .lease_ms = 1000};
	static const struct stream_limits most = {.connections_max = MAX, .held_max = HELD_MAX};
	static const struct journal_sink sink = {
	    .journal = &recorded, .reserve = reserve, .record = record};
	static const struct dispatch_hooks hooks = {0};

	log_open("streams_test", 0);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	ck_assert_int_ge(epoll, 0);
	recorded = 0;
	service = service_new(&identity, &limits, &sink);
	dispatch = dispatch_new(service, KV_PROGRAM, &hooks);
	streams = streams_new(epoll, &most, dispatch, service);
	ck_assert(service != NULL && dispatch != NULL && streams != NULL);
	dispatch_release_durable(dispatch, 0); /* from now on replies wait */
	at(START_MS);
}

static inline void tear_down(void) {
	streams_free(streams);
	dispatch_free(dispatch);
	service_free(service);
	(void)close(epoll);
	(void)close(log_fd);
}

static uint64_t stat_of(const char *name) {
	struct stats stats = {0};

	streams_add_stats(streams, &stats);
	return stats_value(&stats, name);
}

/* How often the log has `text`. */
static inline unsigned logged(const char *text) {
	static char all[16384];
	ssize_t size = pread(log_fd, all, sizeof(all) - 1, 0);
	unsigned count = 0;

	ck_assert_int_ge(size, 0);
	all[size] = '\0';
	for (const char *found = strstr(all, text); found != NULL; found = strstr(found + 1, text))
		count++;
	return count;
}

/* --- Peers ----------------------------------------------------------------------------------- */

static inline struct peer_name host(unsigned last_byte) {
	struct peer_name name = {.kind = ADDRESS_TCP};

	name.address.inet.sin_family = AF_INET;
	name.address.inet.sin_port = htons(51234);
	name.address.inet.sin_addr.s_addr = htonl(0x0a000000 + last_byte);
	return name;
}

static inline struct peer_name user(uid_t uid) {
	return (struct peer_name){.kind = ADDRESS_LOCAL, .uid = uid, .pid = 4711};
}

static inline int connect_as(struct peer_name name) {
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	if (send_buffer > 0)
		ck_assert_int_eq(
		    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer)),
		    0);
	streams_add(streams, ends[1], &name);
	return ends[0];
}

static inline bool is_open(int fd) {
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK) != 0;
}

/* Receives what is there, and runs it. */
static inline void receive_ready(void) {
	struct epoll_event events[EVENTS];
	int count = epoll_wait(epoll, events, EVENTS, 0);

	for (int i = 0; i < count; i++) {
		struct event_handler *handler = events[i].data.ptr;

		handler->ready(handler, events[i].events);
	}
	streams_run_received(streams);
}

static inline void turn(void) {
	receive_ready();
	streams_flush(streams);
	(void)streams_expire(streams);
}

static inline void close_all(const int fds[], unsigned count) {
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
}

/* Adds `count` connections of one peer. */
static inline void fill(int fds[], unsigned count, struct peer_name name) {
	for (unsigned i = 0; i < count; i++) {
		fds[i] = connect_as(name);
		ck_assert(is_open(fds[i]));
	}
}

static inline void send_all(int fd, const char *bytes, size_t size) {
	ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Sends a Put whose reply waits for the journal: the second one is refused, but shows the first. */
static inline void send_put(int fd) {
	size_t size;
	char *call = encode_put(1, &size);

	send_all(fd, call, size);
	free(call);
	turn();
}

/* Sends the mark of a record of `claimed` bytes and `size` bytes of it. */
static inline void send_part(int fd, uint32_t claimed, size_t size) {
	uint32_t mark = htonl(0x80000000u | claimed);
	char *bytes = calloc(1, size);

	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(send(fd, &mark, MARK, MSG_NOSIGNAL), MARK);
	for (size_t sent = 0; sent < size;) {
		ssize_t now = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);

		if (now > 0)
			sent += (size_t)now;
		else if (!is_open(fd))
			break;
		turn();
	}
	free(bytes);
	turn();
}

static inline size_t receive_all(int fd) {
	char bytes[4096];
	size_t size = 0;
	ssize_t now;

	while ((now = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		size += (size_t)now;
	return size;
}

#endif

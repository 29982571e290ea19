/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "clock.h"

enum {
	BACKLOG_PAUSE_MS = 10, /* before a local socket whose backlog is full is tried again */
};

/* The connects under way: one socket for each endpoint that was started; fd -1: it failed. */
struct dialing {
	const struct endpoint *endpoints;
	size_t count;
	size_t started;
	size_t pending;
	uint64_t stagger_ms;
	uint64_t next_ms; /* when the next endpoint is started though the others are pending */
	uint64_t deadline_ms;
	struct pollfd sockets[ENDPOINT_MAX];
	int failure; /* of the one that failed last */
};

static bool is_tcp(const struct endpoint *endpoint) {
	return endpoint->is_stream && endpoint->address.ss_family != AF_UNIX;
}

/*
 * A connect to a free port of the own machine may by chance take that very port as its own end and
 * connect to itself (TCP simultaneous open).
 */
static bool is_self_connected(int fd) {
	struct sockaddr_storage own = {0};
	struct sockaddr_storage peer = {0};
	socklen_t own_size = sizeof(own);
	socklen_t peer_size = sizeof(peer);

	if (getsockname(fd, (struct sockaddr *)&own, &own_size) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0)
		return false;
	return own_size == peer_size && memcmp(&own, &peer, own_size) == 0;
}

/*
 * 0, or why a connected socket is of no use. One that is connected to itself is reset when it is
 * closed: the TIME_WAIT that a FIN leaves would keep the server from its port for a minute.
 */
static int check_connected(int fd, const struct endpoint *endpoint) {
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (!is_tcp(endpoint) || !is_self_connected(fd))
		return 0;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return ECONNREFUSED;
}

/* A local socket whose backlog is full refuses with EAGAIN where tcp waits. */
static int connect_once(int fd, const struct endpoint *endpoint, uint64_t deadline_ms) {
	while (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->size) < 0) {
		if (errno != EAGAIN || endpoint->address.ss_family != AF_UNIX)
			return errno == EINTR ? EINPROGRESS : errno;
		if (clock_ms() >= deadline_ms)
			return ETIMEDOUT;
		(void)poll(NULL, 0, BACKLOG_PAUSE_MS);
	}
	return check_connected(fd, endpoint);
}

static void drop(struct dialing *dialing, size_t index, int failure) {
	(void)close(dialing->sockets[index].fd);
	dialing->sockets[index].fd = -1;
	dialing->failure = failure;
	dialing->pending--;
}

/* Starts the next endpoint. True: it is connected. */
static bool start_next(struct dialing *dialing) {
	const size_t index = dialing->started++;
	const struct endpoint *endpoint = &dialing->endpoints[index];
	struct pollfd *socket_of = &dialing->sockets[index];
	const int type = endpoint->is_stream ? SOCK_STREAM : SOCK_DGRAM;
	const int on = 1;
	int failure = 0;

	dialing->next_ms = clock_ms() + dialing->stagger_ms;
	*socket_of = (struct pollfd){
	    .fd = socket(endpoint->address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	    .events = POLLOUT};
	if (socket_of->fd < 0) {
		dialing->failure = errno;
		return false;
	}
	dialing->pending++;
	if (is_tcp(endpoint) &&
	    setsockopt(socket_of->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		failure = errno;
	if (failure == 0)
		failure = connect_once(socket_of->fd, endpoint, dialing->deadline_ms);
	if (failure != 0 && failure != EINPROGRESS)
		drop(dialing, index, failure);
	return failure == 0;
}

/* Waits for the pending connects until `until_ms`. True: that of *index is connected. */
static bool await_any(struct dialing *dialing, uint64_t now_ms, uint64_t until_ms, size_t *index) {
	const uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;

	if (poll(dialing->sockets, dialing->started, left_ms < 60000 ? (int)left_ms : 60000) <= 0)
		return false;
	for (size_t i = 0; i < dialing->started; i++) {
		const int fd = dialing->sockets[i].fd;
		int failure = 0;
		socklen_t size = sizeof(failure);

		if (fd < 0 || dialing->sockets[i].revents == 0)
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0)
			failure = errno;
		if (failure == 0)
			failure = check_connected(fd, &dialing->endpoints[i]);
		if (failure == 0) {
			*index = i;
			return true;
		}
		drop(dialing, i, failure);
	}
	return false;
}

/* True: the socket of *index is connected. */
static bool race(struct dialing *dialing, size_t *index) {
	for (;;) {
		const uint64_t now_ms = clock_ms();
		const bool has_next = dialing->started < dialing->count;
		uint64_t until_ms = dialing->deadline_ms;

		if (has_next && (dialing->pending == 0 || now_ms >= dialing->next_ms)) {
			*index = dialing->started;
			if (start_next(dialing))
				return true;
			continue;
		}
		if (dialing->pending == 0)
			return false;
		if (now_ms >= dialing->deadline_ms) {
			dialing->failure = ETIMEDOUT;
			return false;
		}
		if (has_next && dialing->next_ms < until_ms)
			until_ms = dialing->next_ms;
		if (await_any(dialing, now_ms, until_ms, index))
			return true;
	}
}

int dial(const struct endpoint endpoints[], size_t count, uint64_t deadline_ms, size_t *connected) {
	const uint64_t now_ms = clock_ms();
	struct dialing dialing = {.endpoints = endpoints,
				  .count = count < ENDPOINT_MAX ? count : ENDPOINT_MAX,
				  .stagger_ms = DIAL_STAGGER_MS,
				  .deadline_ms = deadline_ms,
				  .failure = ETIMEDOUT};
	size_t index = 0;
	int fd = -1;

	if (deadline_ms <= now_ms)
		dialing.stagger_ms = 0;
	else if (count > 0 && (deadline_ms - now_ms) / count < DIAL_STAGGER_MS)
		dialing.stagger_ms = (deadline_ms - now_ms) / count;
	if (race(&dialing, &index)) {
		fd = dialing.sockets[index].fd;
		dialing.sockets[index].fd = -1;
		if (connected != NULL)
			*connected = index;
	}
	for (size_t i = 0; i < dialing.started; i++)
		if (dialing.sockets[i].fd >= 0)
			(void)close(dialing.sockets[i].fd);
	if (fd < 0)
		errno = dialing.failure;
	return fd;
}

ino_t socket_inode(int fd) {
	struct stat info;

	return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

void socket_close(int fd, ino_t inode) {
	if (socket_inode(fd) == inode)
		(void)close(fd);
}

bool socket_let_receive_block(int fd, unsigned ms) {
	const struct timeval limit = {.tv_usec = ms * 1000L};
	int flags = fcntl(fd, F_GETFL);

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 && flags >= 0 &&
	       fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

ssize_t socket_send_datagrams(int fd, struct iovec *parts, size_t count) {
	struct mmsghdr messages[SOCKET_SENT_MAX] = {0};
	ssize_t bytes = 0;
	int went;

	for (size_t i = 0; i < count; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	went = sendmmsg(fd, messages, (unsigned)count, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (int i = 0; i < went; i++)
		bytes += messages[i].msg_len;
	return went < 0 ? went : bytes;
}

void endpoint_set_port(struct endpoint *endpoint, uint16_t port) {
	if (endpoint->address.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&endpoint->address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&endpoint->address)->sin_port = htons(port);
}

uint16_t endpoint_port(const struct endpoint *endpoint) {
	if (endpoint->address.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&endpoint->address)->sin6_port);
	if (endpoint->address.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&endpoint->address)->sin_port);
	return 0;
}

bool endpoint_is_loopback(const struct endpoint *endpoint) {
	if (endpoint->address.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)&endpoint->address)->sin6_addr);
	if (endpoint->address.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&endpoint->address;

		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	return false;
}

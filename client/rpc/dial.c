/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/dial.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

/* Waits for a connect under way. 0, or what became of it as an errno. */
static int await_connected(int fd, uint64_t deadline_ms) {
	for (;;) {
		struct pollfd wanted = {.fd = fd, .events = POLLOUT};
		uint64_t now_ms = clock_ms();
		int failure;
		socklen_t size = sizeof(failure);
		int ready;

		if (now_ms >= deadline_ms)
			return ETIMEDOUT;
		ready =
		    poll(&wanted, 1,
			 deadline_ms - now_ms < INT_MAX ? (int)(deadline_ms - now_ms) : INT_MAX);
		if (ready < 0 && errno != EINTR)
			return errno;
		if (ready <= 0)
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0)
			return errno;
		return failure;
	}
}

/*
 * A connect to a free port of one's own machine may, by chance, take that very port as its own end
 * and meet itself. Such a socket echoes calls, and keeps the server from its port.
 */
static bool met_itself(int fd) {
	struct sockaddr_storage own = {0};
	struct sockaddr_storage peer = {0};
	socklen_t own_size = sizeof(own);
	socklen_t peer_size = sizeof(peer);

	if (getsockname(fd, (struct sockaddr *)&own, &own_size) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0)
		return false;
	return own_size == peer_size && memcmp(&own, &peer, own_size) == 0;
}

static int connect_by(int fd, const struct place *place, uint64_t deadline_ms) {
	bool is_local = place->address.ss_family == AF_UNIX;
	int on = 1;
	int failure = 0;

	if (place->is_stream && !is_local &&
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)&place->address, place->size) < 0)
		failure = errno;
	if (failure == EINPROGRESS || failure == EINTR)
		failure = await_connected(fd, deadline_ms);
	if (failure == 0 && place->is_stream && !is_local && met_itself(fd))
		failure = ECONNREFUSED;
	return failure;
}

int dial(const struct place *place, uint64_t deadline_ms) {
	int type = place->is_stream ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(place->address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int failure;

	if (fd < 0)
		return -1;
	failure = connect_by(fd, place, deadline_ms);
	if (failure == 0)
		return fd;
	(void)close(fd);
	errno = failure;
	return -1;
}

void place_set_port(struct place *place, uint16_t port) {
	if (place->address.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&place->address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&place->address)->sin_port = htons(port);
}

bool place_is_loopback(const struct place *place) {
	if (place->address.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)&place->address)->sin6_addr);
	if (place->address.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&place->address;

		return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	return false;
}

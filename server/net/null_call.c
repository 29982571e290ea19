/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/null_call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "random.h"

/* RFC 5531: words of a call with AUTH_NONE, and of the shortest reply to it, with their marks. */
enum {
	CALL_WORDS = 10,
	REPLY_WORDS = 6,
	RPC_VERSION = 2,
	MSG_TYPE_REPLY = 1,
};

static const uint32_t last_fragment = 0x80000000;

/* Waits until the socket is ready for `events`; false when the time is up. */
static bool wait_for(int fd, short events, uint64_t until_ns) {
	struct pollfd ready = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now_ns = clock_ns();
		int count;

		if (now_ns >= until_ns)
			return false;
		count = poll(&ready, 1, (int)((until_ns - now_ns) / 1000000) + 1);
		if (count > 0)
			return true;
		if (count < 0 && errno != EINTR)
			return false;
	}
}

/* A full queue of a local socket (EAGAIN) is not waited for. */
static bool connect_until(int fd, const struct sockaddr *address, socklen_t size,
			  uint64_t until_ns) {
	socklen_t error_size = sizeof(int);
	int error = 0;

	if (connect(fd, address, size) == 0)
		return true;
	return errno == EINPROGRESS && wait_for(fd, POLLOUT, until_ns) &&
	       getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) == 0 && error == 0;
}

/* Reads exactly `size` bytes of a stream, or a datagram of at least as many. */
static bool read_until(int fd, void *bytes, size_t size, bool is_datagram, uint64_t until_ns) {
	size_t used = 0;

	while (used < size) {
		ssize_t got;

		if (!wait_for(fd, POLLIN, until_ns))
			return false;
		got = recv(fd, (char *)bytes + used, size - used, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0 || (is_datagram && (size_t)got < size))
			return false;
		used += (size_t)got;
	}
	return true;
}

static bool exchange(int fd, bool is_datagram, uint32_t program, uint32_t version,
		     uint64_t until_ns) {
	uint32_t xid = (uint32_t)random_id();
	uint32_t call[1 + CALL_WORDS] = {htonl(last_fragment | CALL_WORDS * 4),
					 xid,
					 0,
					 htonl(RPC_VERSION),
					 htonl(program),
					 htonl(version)};
	uint32_t reply[1 + REPLY_WORDS] = {0};
	/* A datagram has no record mark. */
	size_t skip = is_datagram ? 1 : 0;

	if (send(fd, call + skip, sizeof(call) - skip * 4, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
	    !read_until(fd, reply + skip, sizeof(reply) - skip * 4, is_datagram, until_ns))
		return false;
	/* Accepted, with an empty verifier, and successful: zeros behind the type. */
	return reply[1] == xid && reply[2] == htonl(MSG_TYPE_REPLY) && reply[3] == 0 &&
	       reply[5] == 0 && reply[6] == 0;
}

bool null_call(const struct sockaddr *address, socklen_t size, bool is_datagram, uint32_t program,
	       uint32_t version, uint64_t until_ns) {
	int type = is_datagram ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(address->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool replied;

	if (fd < 0)
		return false;
	replied = connect_until(fd, address, size, until_ns) &&
		  exchange(fd, is_datagram, program, version, until_ns);
	(void)close(fd);
	return replied;
}

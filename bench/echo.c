/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * echo.c - the raw echo: the same bytes in both directions as a call of kv and its reply, and no
 * work in between. What kvd is measured against; nothing with one thread and sockets can be faster.
 *
 *	echo
 *
 * Listens on any port of 127.0.0.1 and prints "echo: ready tcp:127.0.0.1:PORT". A call begins with
 * its size and that of the reply wanted, 4 bytes each; a reply begins with its size. One read
 *and one write for each connection that is ready, as kvd does it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

enum {
	HEAD = 8,
	EVENTS_AT_ONCE = 256,
	SCRATCH = 256 * 1024,
	ANSWER_MAX = 32 * 1024 * 1024,
	REPLIES_MAX = 4096, /* owed to one peer: more than the load has under way */
};

struct peer {
	int fd;
	uint8_t head[HEAD]; /* of the call that is coming; head_size bytes of it are here */
	size_t head_size;
	size_t call_left;	    /* bytes of the call after its head */
	uint32_t owed[REPLIES_MAX]; /* sizes of replies, owed_count of them */
	size_t owed_count;
	size_t owed_sent; /* bytes of the first one */
	bool waits_to_send;
};

struct echo {
	int epoll;
	uint8_t in[SCRATCH];
	uint8_t out[SCRATCH];
};

/* Takes the calls in these bytes. False: it is no client of ours. */
static bool take(struct peer *peer, const uint8_t *bytes, size_t size) {
	while (size > 0) {
		size_t part = 0;
		if (peer->call_left > 0) {
			part = size < peer->call_left ? size : peer->call_left;
			peer->call_left -= part;
		} else {
			uint32_t sizes[2];
			part = HEAD - peer->head_size < size ? HEAD - peer->head_size : size;
			memcpy(peer->head + peer->head_size, bytes, part);
			peer->head_size += part;
			if (peer->head_size < HEAD)
				return true;
			memcpy(sizes, peer->head, HEAD);
			peer->head_size = 0;
			if (sizes[0] < HEAD || sizes[1] < sizeof(sizes[1]) ||
			    sizes[1] > ANSWER_MAX || peer->owed_count == REPLIES_MAX)
				return false;
			peer->call_left = sizes[0] - HEAD;
			peer->owed[peer->owed_count++] = sizes[1];
		}
		bytes += part;
		size -= part;
	}
	return true;
}

/* Lays out what fits of the replies that are whole by now; the last call may still be coming. */
static size_t lay_out(const struct peer *peer, uint8_t *out) {
	size_t whole = peer->owed_count - (peer->call_left > 0);
	size_t size = 0;
	size_t begin = peer->owed_sent;

	for (size_t i = 0; i < whole && size < SCRATCH; i++, begin = 0) {
		size_t part = peer->owed[i] - begin;
		if (part > SCRATCH - size)
			part = SCRATCH - size;
		for (size_t at = begin; at < sizeof(uint32_t) && at - begin < part; at++)
			out[size + at - begin] = ((const uint8_t *)&peer->owed[i])[at];
		size += part;
	}
	return size;
}

static void settle(struct peer *peer, size_t sent) {
	size_t done = 0;

	peer->owed_sent += sent;
	while (done < peer->owed_count && peer->owed_sent >= peer->owed[done])
		peer->owed_sent -= peer->owed[done++];
	peer->owed_count -= done;
	memmove(peer->owed, peer->owed + done, peer->owed_count * sizeof(peer->owed[0]));
}

/* Sends until all is sent or the peer takes no more. */
static bool send_replies(struct echo *echo, struct peer *peer) {
	size_t size = 0;
	bool waits = false;

	while (!waits && (size = lay_out(peer, echo->out)) > 0) {
		ssize_t sent = send(peer->fd, echo->out, size, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN)
			return false;
		waits = sent < (ssize_t)size;
		if (sent > 0)
			settle(peer, (size_t)sent);
	}
	if (waits != peer->waits_to_send) {
		struct epoll_event event = {.events = EPOLLIN | (waits ? (uint32_t)EPOLLOUT : 0),
					    .data.ptr = peer};
		(void)epoll_ctl(echo->epoll, EPOLL_CTL_MOD, peer->fd, &event);
		peer->waits_to_send = waits;
	}
	return true;
}

static bool serve(struct echo *echo, struct peer *peer) {
	ssize_t got = recv(peer->fd, echo->in, sizeof(echo->in), 0);

	if (got < 0 && errno == EAGAIN)
		return send_replies(echo, peer);
	return got > 0 && take(peer, echo->in, (size_t)got) && send_replies(echo, peer);
}

static void accept_peer(struct echo *echo, int listener) {
	const int on = 1;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct peer *peer = fd < 0 ? NULL : calloc(1, sizeof(*peer));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

	if (peer == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	peer->fd = fd;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(echo->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		(void)close(fd);
		free(peer);
	}
}

/* -1: it failed, and an error line says why. */
static int listen_anywhere(void) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, SOMAXCONN) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
		log_error("no socket on 127.0.0.1: %s", strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	printf("echo: ready tcp:127.0.0.1:%d\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	return fd;
}

int main(void) {
	static struct echo echo;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct rlimit files;
	int listener = -1;

	log_open("echo", 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	listener = listen_anywhere();
	echo.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (listener < 0 || echo.epoll < 0 ||
	    epoll_ctl(echo.epoll, EPOLL_CTL_ADD, listener, &event) != 0)
		return 1;
	for (;;) {
		struct epoll_event events[EVENTS_AT_ONCE];
		int ready = epoll_wait(echo.epoll, events, EVENTS_AT_ONCE, -1);
		for (int i = 0; i < ready; i++) {
			struct peer *peer = events[i].data.ptr;
			if (peer == NULL) {
				accept_peer(&echo, listener);
			} else if (!serve(&echo, peer)) {
				(void)close(peer->fd);
				free(peer);
			}
		}
	}
}

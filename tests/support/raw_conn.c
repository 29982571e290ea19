/* SPDX-License-Identifier: BSD-3-Clause */
#include "raw_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "suite.h"

enum {
	WAIT_MAX_MS = 60000,
	DATAGRAM_BOUND = 65536,
	RECORD_BOUND = 64 * 1024 * 1024,
	EARLY_STEP = 64,
};

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

static socklen_t fill_address(union address *address, const struct server *server, enum via via) {
	memset(address, 0, sizeof *address);
	switch (via) {
	case VIA_TCP:
	case VIA_UDP:
		address->in.sin_family = AF_INET;
		address->in.sin_port = htons(server->port[via]);
		address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof address->in;
	case VIA_TCP6:
	case VIA_UDP6:
		address->in6.sin6_family = AF_INET6;
		address->in6.sin6_port = htons(server->port[via]);
		address->in6.sin6_addr = in6addr_loopback;
		return sizeof address->in6;
	case VIA_LOCAL:
		address->un.sun_family = AF_UNIX;
		memcpy(address->un.sun_path, server->socket, sizeof address->un.sun_path - 1);
		return sizeof address->un;
	case VIA_COUNT:
		break;
	}
	ck_abort_msg("no such way to a server");
	return 0;
}

static bool is_stream(enum via via) {
	return via != VIA_UDP && via != VIA_UDP6;
}

int peer_connect(const struct server *server, enum via via) {
	union address address;
	socklen_t size = fill_address(&address, server, via);
	int type = is_stream(via) ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(address.any.sa_family, type | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	if (connect(fd, &address.any, size) != 0) {
		int error = errno;
		(void)close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

void peer_open(struct peer *peer, const struct server *server, enum via via) {
	const int on = 1;

	*peer = (struct peer){.fd = peer_connect(server, via), .is_stream = is_stream(via)};
	ck_assert_msg(peer->fd >= 0, "cannot connect: %s", strerror(errno));
	if (via == VIA_TCP || via == VIA_TCP6) {
		ck_assert_int_eq(setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
	}
	ck_assert_int_eq(getrandom(&peer->next_xid, sizeof peer->next_xid, 0),
			 sizeof peer->next_xid);
}

void peer_open_from(struct peer *peer, const struct server *server, const char *source) {
	struct sockaddr_in from = {.sin_family = AF_INET};
	union address address;
	socklen_t size = fill_address(&address, server, VIA_TCP);

	*peer =
	    (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .is_stream = true};
	ck_assert_int_ge(peer->fd, 0);
	ck_assert_int_eq(inet_pton(AF_INET, source, &from.sin_addr), 1);
	ck_assert_int_eq(bind(peer->fd, (const struct sockaddr *)&from, sizeof from), 0);
	ck_assert_msg(connect(peer->fd, &address.any, size) == 0, "cannot connect: %s",
		      strerror(errno));
}

void peer_close(struct peer *peer) {
	for (size_t i = 0; i < peer->early_count; i++) {
		answer_free(&peer->early[i]);
	}
	free(peer->early);
	ck_assert_int_eq(close(peer->fd), 0);
	*peer = (struct peer){.fd = -1};
}

void peer_reset(struct peer *peer) {
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	ck_assert_int_eq(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
	peer_close(peer);
}

uint32_t peer_xid(struct peer *peer) {
	return peer->next_xid++;
}

bool peer_send_bytes(struct peer *peer, const void *data, size_t size) {
	const uint8_t *bytes = data;
	uint64_t deadline = suite_now_ms() + WAIT_MAX_MS;

	while (size > 0) {
		ssize_t sent = send(peer->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			bytes += sent;
			size -= (size_t)sent;
			continue;
		}
		if (errno == EPIPE || errno == ECONNRESET) {
			return false;
		}
		ck_assert_msg(errno == EAGAIN, "cannot send: %s", strerror(errno));
		ck_assert_msg(suite_now_ms() < deadline, "the server does not read");
		struct pollfd room = {.fd = peer->fd, .events = POLLOUT};
		(void)poll(&room, 1, 100);
	}
	return true;
}

void peer_send(struct peer *peer, struct message call) {
	struct message record = peer->is_stream ? message_record(call, 0) : call;
	bool sent = peer_send_bytes(peer, record.data, record.size);

	message_free(&record);
	ck_assert_msg(sent, "the server closed the connection");
}

/* Whether something can be read (or the end was reached) by then. */
static bool await_input(const struct peer *peer, uint64_t deadline) {
	struct pollfd ready = {.fd = peer->fd, .events = POLLIN};
	uint64_t now = suite_now_ms();

	return poll(&ready, 1, now < deadline ? (int)(deadline - now) : 0) == 1;
}

/* Reads exactly `size` bytes of something that has begun to arrive. */
static enum received read_all(struct peer *peer, void *data, size_t size, uint64_t deadline) {
	uint8_t *bytes = data;

	while (size > 0) {
		if (!await_input(peer, deadline)) {
			return RECEIVED_NOTHING;
		}
		ssize_t got = recv(peer->fd, bytes, size, 0);
		if (got <= 0) {
			ck_assert_msg(got == 0 || errno == ECONNRESET, "cannot receive: %s",
				      strerror(errno));
			return RECEIVED_CLOSED;
		}
		bytes += got;
		size -= (size_t)got;
	}
	return RECEIVED_REPLY;
}

static enum received receive_record(struct peer *peer, uint64_t deadline, struct message *record) {
	bool is_last = false;

	while (!is_last) {
		uint8_t header[4];
		uint64_t until_ms = record->size == 0 ? deadline : suite_now_ms() + WAIT_MAX_MS;
		enum received received = read_all(peer, header, sizeof header, until_ms);
		if (received != RECEIVED_REPLY) {
			return received;
		}
		is_last = (header[0] & 0x80) != 0;
		size_t size = (size_t)(header[0] & 0x7f) << 24 | (size_t)header[1] << 16 |
			      (size_t)header[2] << 8 | header[3];
		ck_assert_uint_le(record->size + size, RECORD_BOUND);
		record->data = realloc(record->data, record->size + size + 1);
		ck_assert_ptr_nonnull(record->data);
		received =
		    read_all(peer, record->data + record->size, size, suite_now_ms() + WAIT_MAX_MS);
		if (received != RECEIVED_REPLY) {
			return received;
		}
		record->size += size;
	}
	return RECEIVED_REPLY;
}

static enum received receive_datagram(struct peer *peer, uint64_t deadline,
				      struct message *record) {
	if (!await_input(peer, deadline)) {
		return RECEIVED_NOTHING;
	}
	record->data = malloc(DATAGRAM_BOUND);
	ck_assert_ptr_nonnull(record->data);
	ssize_t got = recv(peer->fd, record->data, DATAGRAM_BOUND, 0);
	if (got < 0) {
		ck_assert_int_eq(errno, ECONNREFUSED);
		return RECEIVED_CLOSED;
	}
	record->size = (size_t)got;
	return RECEIVED_REPLY;
}

enum received peer_receive(struct peer *peer, unsigned timeout_ms, struct answer *answer) {
	uint64_t deadline = suite_now_ms() + timeout_ms;
	struct message record = {0};
	enum received received = peer->is_stream ? receive_record(peer, deadline, &record)
						 : receive_datagram(peer, deadline, &record);

	if (received != RECEIVED_REPLY) {
		message_free(&record);
		return received;
	}
	*answer = answer_read(record);
	return RECEIVED_REPLY;
}

struct answer peer_await(struct peer *peer, uint32_t xid) {
	for (size_t i = 0; i < peer->early_count; i++) {
		if (peer->early[i].xid == xid) {
			struct answer found = peer->early[i];
			peer->early[i] = peer->early[--peer->early_count];
			return found;
		}
	}
	for (;;) {
		struct answer answer;
		enum received received = peer_receive(peer, WAIT_MAX_MS, &answer);
		ck_assert_msg(received != RECEIVED_CLOSED, "the server closed the connection");
		ck_assert_msg(received == RECEIVED_REPLY, "no answer to %08x", xid);
		if (answer.xid == xid) {
			return answer;
		}
		if (peer->early_count % EARLY_STEP == 0) {
			peer->early = realloc(peer->early, (peer->early_count + EARLY_STEP) *
							       sizeof *peer->early);
			ck_assert_ptr_nonnull(peer->early);
		}
		peer->early[peer->early_count++] = answer;
	}
}

void peer_call(struct peer *peer, uint32_t procedure, xdrproc_t encode, const void *args,
	       xdrproc_t decode, void *results) {
	struct call_header header = call_header(peer_xid(peer), procedure);

	peer_send(peer, message_call(&header, encode, args));
	struct answer answer = peer_await(peer, header.xid);
	answer_results(&answer, decode, results);
	answer_free(&answer);
}

void peer_ping(struct peer *peer) {
	peer_call(peer, KVPROC_NULL, NULL, NULL, NULL, NULL);
}

bool peer_is_closed_within(struct peer *peer, unsigned timeout_ms) {
	uint64_t deadline = suite_now_ms() + timeout_ms;
	uint8_t bytes[4096];

	while (await_input(peer, deadline)) {
		ssize_t got = recv(peer->fd, bytes, sizeof bytes, 0);
		if (got <= 0) {
			return true;
		}
	}
	return false;
}

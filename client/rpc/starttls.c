/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/starttls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <rpcsvc/kv.h>

#include "clock.h"
#include "random.h"
#include "record_marking.h"
#include "rpc/last_error.h"

/* RFC 5531, 9 and RFC 9289, 4.1, as words. */
enum {
	RPC_CALL = 0,
	RPC_REPLY = 1,
	RPC_VERSION = 2,
	RPC_ACCEPTED = 0,
	RPC_SUCCESS_STATUS = 0,
	FLAVOR_NONE = 0,
	FLAVOR_TLS = 7,
	PROCEDURE_NULL = 0,
	CALL_WORDS = 10,
	TOKEN_SIZE = 8,
	TOKEN_WORDS = TOKEN_SIZE / 4,

	/* xid, direction, status, verifier's flavor and size, the token, accept status */
	REPLY_WORDS = 5 + TOKEN_WORDS + 1,
};

static const char token[] = "STARTTLS";

/* One system call at most; poll() waits for the rest. False: the connection failed, or is late. */
static bool await(int fd, short events, uint64_t deadline_ms, const char *name) {
	struct pollfd wanted = {.fd = fd, .events = events};
	const uint64_t now_ms = clock_ms();
	const uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

	if (poll(&wanted, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) != 0)
		return true;
	last_error_set("%s: no reply to the question for TLS", name);
	return false;
}

/* Sends (`sends`) or receives all of it. */
static bool move_all(int fd, void *data, size_t size, bool sends, uint64_t deadline_ms,
		     const char *name) {
	uint8_t *bytes = data;
	char text[64];

	while (size > 0) {
		ssize_t moved = sends ? send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT)
				      : recv(fd, bytes, size, MSG_DONTWAIT);

		if (moved > 0) {
			bytes += moved;
			size -= (size_t)moved;
		} else if (moved == 0) {
			last_error_set("%s: the server hung up when it was asked for TLS", name);
			return false;
		} else if (errno == EAGAIN) {
			if (!await(fd, sends ? POLLOUT : POLLIN, deadline_ms, name))
				return false;
		} else if (errno != EINTR) {
			last_error_set("%s: %s", name, strerror_r(errno, text, sizeof(text)));
			return false;
		}
	}
	return true;
}

static bool send_probe(int fd, uint32_t program, uint32_t xid, uint64_t deadline_ms,
		       const char *name) {
	const uint32_t call[CALL_WORDS] = {
	    xid,	RPC_CALL, RPC_VERSION, program, KV_V1, PROCEDURE_NULL,
	    FLAVOR_TLS, 0,	  FLAVOR_NONE, 0};
	uint8_t record[RECORD_MARK_SIZE + sizeof(call)];

	record_mark(record, sizeof(call));
	for (size_t i = 0; i < CALL_WORDS; i++) {
		const uint32_t word = htonl(call[i]);

		memcpy(record + RECORD_MARK_SIZE + 4 * i, &word, sizeof(word));
	}
	return move_all(fd, record, sizeof(record), true, deadline_ms, name);
}

/* Whether the reply, of which the first words are there, is the one that offers TLS. */
static bool is_offer(const uint32_t reply[REPLY_WORDS], size_t size, uint32_t xid) {
	return size == 4 * REPLY_WORDS && ntohl(reply[0]) == xid && ntohl(reply[1]) == RPC_REPLY &&
	       ntohl(reply[2]) == RPC_ACCEPTED && ntohl(reply[3]) == FLAVOR_NONE &&
	       ntohl(reply[4]) == TOKEN_SIZE && memcmp(&reply[5], token, TOKEN_SIZE) == 0 &&
	       ntohl(reply[REPLY_WORDS - 1]) == RPC_SUCCESS_STATUS;
}

/*
 * A reply that offers TLS is one fragment of a known size; what has another size is none, and need
 * not be read. What stands behind it is left to the TLS session, which cannot decrypt it: nothing
 * that was sent in the clear is ever taken for the server's.
 */
bool starttls(int fd, uint32_t program, const char *name, uint64_t deadline_ms) {
	uint32_t reply[REPLY_WORDS] = {0};
	uint32_t mark;
	uint32_t xid;
	size_t size;

	random_bytes(&xid, sizeof(xid));
	if (!send_probe(fd, program, xid, deadline_ms, name) ||
	    !move_all(fd, &mark, sizeof(mark), false, deadline_ms, name))
		return false;
	size = ntohl(mark) & 0x7fffffff;
	if (!move_all(fd, reply, size < sizeof(reply) ? size : sizeof(reply), false, deadline_ms,
		      name))
		return false;
	if ((ntohl(mark) & 0x80000000) != 0 && is_offer(reply, size, xid))
		return true;
	last_error_set("%s: the server offers no TLS", name);
	return false;
}

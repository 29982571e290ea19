/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waiters.c - many calls that wait on the server for one key, from few connections.
 *
 *	waiters ADDRESS COUNT KEY
 *
 * The key must be missing. Prints "parked" once all COUNT WAITs are. A line on standard input
 * writes the key; then it prints how many replies came, and how many ms after the write the first
 * and the last. The end of standard input ends it before that.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "address.h"
#include "clock.h"
#include "connection.h"
#include "kv_call.h"
#include "log.h"
#include "protocol.h"
#include "record_marking.h"

enum {
	CALLS_MAX = 1000, /* of a connection */
	CONNS_MAX = 256,
	CALL_MAX = 256,
	REPLIES_MAX = 65536,
	WAIT_MS = 60000,
	SILENCE_MS = 20000,
};

/* A connection, and what came of the reply that is not whole yet. */
struct conn {
	int fd;
	uint8_t head[RECORD_MARK_SIZE];
	size_t head_size;
	size_t left; /* bytes of the reply */
};

struct waiters {
	struct conn conns[CONNS_MAX];
	unsigned conn_count;
	uint64_t count;
	kv1_key key;
	uint64_t epoch;
	uint64_t replies;
};

static const xdrproc_t nothing = (xdrproc_t)(void (*)(void))xdr_void;

static bool say_hello(struct waiters *waiters, int fd) {
	kv1_hello_res hello = {.status = KV1_OK};

	if (!kv_call_once(fd, KV_PROGRAM, KVPROC_HELLO, nothing, NULL, (xdrproc_t)xdr_kv1_hello_res,
			  &hello))
		return false;
	waiters->epoch = hello.epoch;
	return hello.status == KV1_OK;
}

/* An empty call is answered when the server has read all before it. */
static bool park(struct waiters *waiters, struct conn *conn, uint64_t count) {
	kv1_wait_args wait = {.epoch = waiters->epoch, .key = waiters->key, .wait_ms = WAIT_MS};
	static uint8_t bytes[CALLS_MAX * CALL_MAX];
	const size_t size = kv_call_encode(bytes, CALL_MAX, KV_PROGRAM, KVPROC_WAIT,
					   (xdrproc_t)xdr_kv1_wait_args, &wait);

	for (uint64_t i = 1; i < count; i++)
		memcpy(bytes + i * size, bytes, size);
	return size > 0 && protocol_send(conn->fd, bytes, count * size) &&
	       kv_call_once(conn->fd, KV_PROGRAM, KVPROC_NULL, nothing, NULL, nothing, NULL);
}

static bool park_all(struct waiters *waiters, const struct address *server) {
	for (uint64_t left = waiters->count; left > 0;) {
		struct conn *conn = &waiters->conns[waiters->conn_count];
		const uint64_t count = left < CALLS_MAX ? left : CALLS_MAX;

		conn->fd = connection_dial(server);
		if (conn->fd < 0 || (waiters->conn_count == 0 && !say_hello(waiters, conn->fd)) ||
		    !park(waiters, conn, count))
			return false;
		waiters->conn_count++;
		left -= count;
	}
	return true;
}

/* --- The wake -------------------------------------------------------------------------------- */

static bool write_key(const struct waiters *waiters, int fd) {
	char byte = 'x';
	kv1_put_args put = {.writer = {.epoch = waiters->epoch},
			    .key = waiters->key,
			    .value = {sizeof(byte), &byte}};
	kv1_put_res done = {.status = KV1_OK};

	return kv_call_once(fd, KV_PROGRAM, KVPROC_PUT, (xdrproc_t)xdr_kv1_put_args, &put,
			    (xdrproc_t)xdr_kv1_put_res, &done) &&
	       done.status == KV1_OK;
}

/* Counts the replies that end in these bytes. */
static uint64_t count_replies(struct conn *conn, const uint8_t *bytes, size_t size) {
	uint64_t count = 0;

	while (size > 0) {
		if (conn->head_size < RECORD_MARK_SIZE) {
			conn->head[conn->head_size++] = *bytes++;
			size--;
			if (conn->head_size < RECORD_MARK_SIZE)
				continue;
			uint32_t mark;
			memcpy(&mark, conn->head, sizeof(mark));
			conn->left = ntohl(mark) & INT32_MAX;
		}
		const size_t part = size < conn->left ? size : conn->left;
		bytes += part;
		size -= part;
		conn->left -= part;
		if (conn->left == 0) {
			conn->head_size = 0;
			count++;
		}
	}
	return count;
}

/* False: a connection ended, or was silent. */
static bool receive_some(struct waiters *waiters) {
	static uint8_t bytes[REPLIES_MAX];
	static struct pollfd fds[CONNS_MAX];

	for (unsigned i = 0; i < waiters->conn_count; i++)
		fds[i] = (struct pollfd){.fd = waiters->conns[i].fd, .events = POLLIN};
	if (poll(fds, waiters->conn_count, SILENCE_MS) <= 0)
		return false;
	for (unsigned i = 0; i < waiters->conn_count; i++) {
		if (fds[i].revents == 0)
			continue;
		ssize_t got = recv(fds[i].fd, bytes, sizeof(bytes), 0);
		if (got <= 0)
			return false;
		waiters->replies += count_replies(&waiters->conns[i], bytes, (size_t)got);
	}
	return true;
}

static bool wake(struct waiters *waiters, const struct address *server) {
	const int fd = connection_dial(server);
	const uint64_t begin_ns = clock_ns();
	uint64_t first_ns = 0;
	bool is_right = fd >= 0 && write_key(waiters, fd);

	while (is_right && waiters->replies < waiters->count) {
		is_right = receive_some(waiters);
		if (first_ns == 0)
			first_ns = clock_ns();
	}
	printf("answered %" PRIu64 "\nfirst_ms %.3f\nlast_ms %.3f\n", waiters->replies,
	       (double)(first_ns - begin_ns) / 1e6, (double)(clock_ns() - begin_ns) / 1e6);
	return is_right;
}

int main(int argc, char **argv) {
	static struct waiters waiters;
	struct address server;
	char line[16];
	char *end = NULL;

	log_open("waiters", 0);
	waiters.count = argc == 4 ? strtoull(argv[2], &end, 10) : 0;
	if (waiters.count == 0 || waiters.count > (uint64_t)CALLS_MAX * CONNS_MAX || *end != '\0' ||
	    address_parse(argv[1], &server) != NULL) {
		log_error("usage: waiters ADDRESS COUNT KEY, with a COUNT of 1 to %d",
			  CALLS_MAX * CONNS_MAX);
		return 2;
	}
	waiters.key = (kv1_key){(u_int)strlen(argv[3]), argv[3]};
	if (!park_all(&waiters, &server)) {
		log_error("not all calls wait");
		return 1;
	}
	printf("parked\n");
	(void)fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 0;
	if (wake(&waiters, &server))
		return 0;
	log_error("%" PRIu64 " of %" PRIu64 " were answered", waiters.replies, waiters.count);
	return 1;
}

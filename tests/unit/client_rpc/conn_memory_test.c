/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: malloc calloc realloc */
/* A connection in a process that has no memory left. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "refuse_memory.h"
#include "rpc/conn.h"
#include "rpc/last_error.h"
#include "test.h"

enum { XID = 7, LARGE = 10000 };

static bool has_none;

static bool is_refused(void) {
	return has_none;
}

static int peer;

static struct conn *connect_pair(int type) {
	int fds[2];
	struct conn *conn;

	ck_assert_int_eq(socketpair(AF_UNIX, type, 0, fds), 0);
	conn = conn_new(fds[0], type == SOCK_STREAM, "test", 1);
	ck_assert_ptr_nonnull(conn);
	peer = fds[1];
	return conn;
}

/* A call whose reply of that size is already there. */
static enum attempt call_for_reply(struct conn *conn, size_t size) {
	static uint32_t message[1 + LARGE / 4];
	const uint32_t sent[] = {htonl(XID)};
	const struct kv_bytes bytes = {sent, sizeof(sent)};
	const struct call_time time = {.deadline_ms = clock_ms() + 60000};
	struct rpc_reply reply = {0};
	enum attempt outcome;

	message[0] = htonl((uint32_t)size | 0x80000000u);
	message[1] = htonl(XID);
	if (conn_is_stream(conn))
		ck_assert_int_eq(send(peer, message, size + 4, 0), size + 4);
	else
		ck_assert_int_eq(send(peer, message + 1, size, 0), size);
	has_none = true;
	outcome = conn_call(conn, bytes, &time, &reply);
	has_none = false;
	if (outcome == ATTEMPT_ANSWERED)
		free(reply.data);
	return outcome;
}

TEST(without_memory_for_a_connection_the_socket_is_closed) {
	int fds[2];
	struct conn *conn;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	has_none = true;
	conn = conn_new(fds[0], true, "test", 1);
	has_none = false;
	ck_assert_ptr_null(conn);
	ck_assert_int_eq(fcntl(fds[0], F_GETFD), -1);
	(void)close(fds[1]);
}

TEST(a_datagram_without_memory_ends_its_call_and_not_the_connection) {
	struct conn *conn = connect_pair(SOCK_DGRAM);

	ck_assert_int_eq(call_for_reply(conn, 100), ATTEMPT_NOMEM);
	ck_assert_ptr_nonnull(strstr(last_error_text(), "no memory"));
	ck_assert(conn_is_usable(conn));
	conn_unref(conn);
	(void)close(peer);
}

TEST(a_record_without_memory_ends_its_call_and_the_connection) {
	struct conn *conn = connect_pair(SOCK_STREAM);

	ck_assert_int_eq(call_for_reply(conn, 100), ATTEMPT_NOMEM);
	conn_unref(conn);
	(void)close(peer);

	conn = connect_pair(SOCK_STREAM);
	ck_assert_int_eq(call_for_reply(conn, LARGE), ATTEMPT_NOMEM);
	ck_assert_ptr_nonnull(strstr(last_error_text(), "no memory"));
	conn_unref(conn);
	(void)close(peer);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "conn_peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "rpc/last_error.h"
#include "rpc/secure.h"
#include "test.h"
#include "test_pki.h"
#include "test_server.h"

extern const struct tls_plugin kv_tls_plugin;

struct conn *conn_under_test;
int link_fd;
int peer;
struct test_server peer_server;
static bool is_secure;

static void *shake(void *unused) {
	(void)unused;
	server_shake(&peer_server);
	return NULL;
}

void open_secure(void) {
	char error[TLS_ERROR_MAX];
	struct secure *secure;
	pthread_t thread;
	int ends[2];

	pki_make();
	pki_add("server", &(struct wish){.dns = "localhost"});
	const struct tls_config config = {.ca = pki_path("ca.pem"), .name = "localhost"};

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	link_fd = ends[0];
	peer = ends[1];
	server_open(&peer_server, &(struct server_wish){.name = NULL});
	server_attach(&peer_server, peer);
	ck_assert_int_eq(pthread_create(&thread, NULL, shake, NULL), 0);
	ck_assert_int_eq(secure_new(&kv_tls_plugin, &config, &secure, error), TLS_OK);
	ck_assert_int_eq(secure_handshake(secure, link_fd, clock_ms() + LONG_MS, error), TLS_OK);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(peer_server.is_done);
	pki_remove();
	conn_under_test = conn_new_secure(link_fd, secure, "test", 7);
	ck_assert_ptr_nonnull(conn_under_test);
	is_secure = true;
}

void open_stream(void) {
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	conn_under_test = conn_new(ends[0], true, "test", 7);
	ck_assert_ptr_nonnull(conn_under_test);
	link_fd = ends[0];
	peer = ends[1];
}

void open_tcp(void) {
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	peer = accept(listener, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	(void)close(listener);
	link_fd = fd;
	conn_under_test = conn_new(fd, true, "test", 7);
	ck_assert_ptr_nonnull(conn_under_test);
}

void open_datagram(void) {
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(peer, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(peer, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&address, size), 0);
	conn_under_test = conn_new(fd, false, "test", 7);
	ck_assert_ptr_nonnull(conn_under_test);
}

void hang_up(void) {
	if (peer >= 0)
		(void)close(peer);
	peer = -1;
}

void close_all(void) {
	hang_up();
	conn_unref(conn_under_test);
	conn_under_test = NULL;
	if (is_secure)
		server_close(&peer_server);
	is_secure = false;
}

/* --- The caller's side --------------------------------------------------------------------- */

void *call_run(void *argument) {
	struct call *call = argument;
	uint8_t *bytes = calloc(1, call->size);
	uint32_t xid = htonl(call->xid);

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, &xid, sizeof(xid));
	last_error_clear();
	call->outcome =
	    conn_call(conn_under_test, (struct kv_bytes){.data = bytes, .size = call->size},
		      &call->time, &call->came);
	(void)snprintf(call->reason, sizeof(call->reason), "%s", last_error_text());
	free(bytes);
	return NULL;
}

struct call call_new(uint32_t xid, size_t size, unsigned timeout_ms) {
	return (struct call){.xid = xid, .size = size, .time.deadline_ms = clock_ms() + timeout_ms};
}

void call_start(struct call *call) {
	ck_assert_int_eq(pthread_create(&call->thread, NULL, call_run, call), 0);
}

void call_finish(struct call *call) {
	ck_assert_int_eq(pthread_join(call->thread, NULL), 0);
}

void call_check_answered(struct call *call, const char *text) {
	ck_assert_int_eq(call->outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call->came.size, 4 + strlen(text));
	ck_assert_mem_eq(call->came.data + 4, text, strlen(text));
	free(call->came.data);
}

/* --- The peer's side ----------------------------------------------------------------------- */

void write_all(const void *data, size_t size) {
	const uint8_t *next = data;

	while (size > 0) {
		ssize_t went = is_secure ? gnutls_record_send(peer_server.gnutls, next, size)
					 : send(peer, next, size, MSG_NOSIGNAL);

		ck_assert_int_gt(went, 0);
		next += went;
		size -= (size_t)went;
	}
}

void read_all(void *data, size_t size) {
	uint8_t *next = data;

	while (size > 0) {
		ssize_t came = is_secure ? gnutls_record_recv(peer_server.gnutls, next, size)
					 : recv(peer, next, size, 0);

		/* A message of the handshake, as one that changes keys, is not data. */
		if (is_secure && came == GNUTLS_E_AGAIN)
			continue;
		ck_assert_int_gt(came, 0);
		next += came;
		size -= (size_t)came;
	}
}

uint32_t read_call(void) {
	uint8_t head[8];
	uint32_t mark;
	uint32_t xid;
	uint8_t *rest;

	read_all(head, sizeof(head));
	memcpy(&mark, head, 4);
	memcpy(&xid, head + 4, 4);
	mark = ntohl(mark);
	ck_assert_uint_ne(mark & 0x80000000, 0);
	mark &= 0x7fffffff;
	rest = malloc(mark);
	read_all(rest, mark - 4);
	free(rest);
	return ntohl(xid);
}

void write_fragment(const void *data, size_t size, bool is_last) {
	uint32_t mark = htonl((uint32_t)size | (is_last ? 0x80000000 : 0));

	write_all(&mark, sizeof(mark));
	write_all(data, size);
}

void write_answer(uint32_t xid, const char *text) {
	uint8_t bytes[64];
	uint32_t word = htonl(xid);

	memcpy(bytes, &word, 4);
	memcpy(bytes + 4, text, strlen(text));
	write_fragment(bytes, 4 + strlen(text), true);
}

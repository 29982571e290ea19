/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc_script.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/rpc_transport.h"
#include "test.h"

enum {
	LONG_MS = 60000,
	BUFFER_SIZE = 1 << 20,
};

/* --- The scripted server ------------------------------------------------------------------- */

static script *play;
int listener;
char server_text[200];
static pthread_t server_thread;

void put_words(XDR *answer, const uint32_t *words, size_t count) {
	for (size_t i = 0; i < count; i++) {
		uint32_t word = words[i];

		ck_assert(xdr_u_int32_t(answer, &word));
	}
}

void put_success(XDR *answer) {
	const uint32_t words[] = {REPLY, MSG_ACCEPTED, 0, 0, SUCCESS};

	put_words(answer, words, 5);
}

static bool read_all(int fd, void *data, size_t size) {
	uint8_t *next = data;

	while (size > 0) {
		ssize_t came = recv(fd, next, size, 0);

		if (came <= 0)
			return false;
		next += came;
		size -= (size_t)came;
	}
	return true;
}

static void answer_call(int fd, char *bytes, size_t size) {
	char *reply = calloc(1, BUFFER_SIZE);
	char credential[MAX_AUTH_BYTES];
	char verifier[MAX_AUTH_BYTES];
	struct rpc_msg call = {0};
	XDR arguments;
	XDR answer;
	uint32_t mark;

	call.rm_call.cb_cred.oa_base = credential;
	call.rm_call.cb_verf.oa_base = verifier;
	xdrmem_create(&arguments, bytes, (u_int)size, XDR_DECODE);
	ck_assert(xdr_callmsg(&arguments, &call));
	ck_assert_uint_eq(call.rm_call.cb_prog, PROGRAM);
	ck_assert_uint_eq(call.rm_call.cb_vers, KV_V1);
	ck_assert_int_eq(call.rm_call.cb_cred.oa_flavor, AUTH_NONE);

	xdrmem_create(&answer, reply + 4, BUFFER_SIZE - 4, XDR_ENCODE);
	ck_assert(xdr_u_int32_t(&answer, &call.rm_xid));
	play(&call, &arguments, &answer);
	mark = htonl(0x80000000 | xdr_getpos(&answer));
	memcpy(reply, &mark, 4);
	ck_assert_int_gt(send(fd, reply, 4 + xdr_getpos(&answer), MSG_NOSIGNAL), 0);
	free(reply);
}

/* One connection, until the client hangs up. */
static void *serve(void *unused) {
	char *bytes = malloc(BUFFER_SIZE);
	uint32_t mark;
	int fd = accept(listener, NULL, NULL);

	(void)unused;
	while (fd >= 0 && read_all(fd, &mark, sizeof(mark))) {
		size_t size = ntohl(mark) & 0x7fffffff;

		ck_assert_uint_le(size, BUFFER_SIZE);
		if (!read_all(fd, bytes, size))
			break;
		answer_call(fd, bytes, size);
	}
	if (fd >= 0)
		(void)close(fd);
	free(bytes);
	return NULL;
}

void listen_on_loopback(const char *host) {
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(listen(listener, 5), 0);
	(void)snprintf(server_text, sizeof(server_text), "tcp:%s:%u", host,
		       (unsigned)ntohs(address.sin_port));
}

/* --- The client ---------------------------------------------------------------------------- */

struct transport transport;
struct conn *script_conn;

void open_transport(const char *server) {
	struct kv_options options = {.server = server, .program = PROGRAM};

	ck_assert_int_eq(rpc_transport_new(&options, &transport), KV_OK);
}

uint64_t soon(void) {
	return transport.now_ms(transport.context) + LONG_MS;
}

const char *reason(void) {
	return transport.last_error(transport.context);
}

/* Listens, serves with the script and connects. */
void start(script *with) {
	play = with;
	ck_assert_int_eq(pthread_create(&server_thread, NULL, serve, NULL), 0);
	open_transport(server_text);
	script_conn = transport.connect(transport.context, 0, false, soon());
	ck_assert_msg(script_conn != NULL, "%s", reason());
}

void stop(void) {
	transport.unref(script_conn);
	rpc_transport_free(&transport);
	ck_assert_int_eq(pthread_join(server_thread, NULL), 0);
	(void)close(listener);
}

void start_on_loopback(script *with) {
	listen_on_loopback("127.0.0.1");
	start(with);
}

enum attempt attempt(struct request *request, struct response *response) {
	request->xid = 77;
	*response = (struct response){0};
	return transport.attempt(script_conn, request, soon(), response);
}

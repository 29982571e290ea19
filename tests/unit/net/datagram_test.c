/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: recvmsg sendmsg */
/* How large a reply over udp may be: the test is the network, and says where a call came from. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "core/service.h"
#include "net/datagram.h"
#include "net/event_handler.h"
#include "rpc/dispatch.h"
#include "test.h"

enum {
	VALUE = 60000,
	CALL_MAX = 65507,
	REPLY_MIN = 256, /* bytes that a reply may always have */
	FACTOR = 3,	 /* times as large as the call */
	WORD_STATUS = 6,
};

static char call_bytes[CALL_MAX];
static size_t call_size;
static bool is_call_there;
static struct sockaddr_storage sender;
static socklen_t sender_size;
static uint32_t reply_words[CALL_MAX / 4 + 1];
static size_t reply_size; /* 0: none */

ssize_t __wrap_recvmsg(int, struct msghdr *, int);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags) {
	(void)fd;
	(void)flags;
	if (!is_call_there)
		return -1;
	is_call_there = false;
	memcpy(message->msg_iov[0].iov_base, call_bytes, call_size);
	memcpy(message->msg_name, &sender, sender_size);
	message->msg_namelen = sender_size;
	message->msg_controllen = 0;
	return (ssize_t)call_size;
}

ssize_t __wrap_sendmsg(int, const struct msghdr *, int);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
	(void)fd;
	(void)flags;
	reply_size = message->msg_iov[0].iov_len;
	memcpy(reply_words, message->msg_iov[0].iov_base, reply_size);
	return (ssize_t)reply_size;
}

static int epoll;
static struct service *service;
static struct dispatch *dispatch;
static struct datagrams *datagrams;

static void start(void) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = VALUE, .memory_max = 1 << 30, .sessions_max = 4, .lease_ms = 1000};
	static const struct dispatch_hooks others = {0};

	epoll = epoll_create1(EPOLL_CLOEXEC);
	service = service_new(&identity, &limits, NULL);
	dispatch = dispatch_new(service, KV_PROGRAM, &others);
	ck_assert(epoll >= 0 && service != NULL && dispatch != NULL);
	datagrams = datagrams_new(epoll, socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), AF_INET6,
				  dispatch);
	ck_assert_ptr_nonnull(datagrams);
}

static void stop(void) {
	datagrams_free(datagrams);
	dispatch_free(dispatch);
	service_free(service);
	(void)close(epoll);
}

/* Hands over a call from there, padded to `size` bytes; the status that its reply has. */
static uint32_t ask(const char *from, uint32_t procedure, uint32_t version, xdrproc_t encode,
		    void *arguments, size_t size) {
	struct epoll_event event = {.data.ptr = datagrams}; /* its event_handler comes first */
	struct event_handler *handler = event.data.ptr;
	struct rpc_msg message = {.rm_direction = CALL};
	XDR xdrs;

	message.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	message.rm_call.cb_prog = KV_PROGRAM;
	message.rm_call.cb_vers = version;
	message.rm_call.cb_proc = procedure;
	memset(call_bytes, 0, sizeof(call_bytes));
	xdrmem_create(&xdrs, call_bytes, sizeof(call_bytes), XDR_ENCODE);
	ck_assert(xdr_callmsg(&xdrs, &message));
	ck_assert(encode == NULL || encode(&xdrs, arguments));
	call_size = XDR_GETPOS(&xdrs) > size ? XDR_GETPOS(&xdrs) : size;
	XDR_DESTROY(&xdrs);
	memset(&sender, 0, sizeof(sender));
	if (inet_pton(AF_INET, from, &((struct sockaddr_in *)&sender)->sin_addr) == 1) {
		sender.ss_family = AF_INET;
		sender_size = sizeof(struct sockaddr_in);
	} else {
		ck_assert_int_eq(
		    inet_pton(AF_INET6, from, &((struct sockaddr_in6 *)&sender)->sin6_addr), 1);
		sender.ss_family = AF_INET6;
		sender_size = sizeof(struct sockaddr_in6);
	}
	is_call_there = true;
	reply_size = 0;
	handler->ready(handler, EPOLLIN);
	ck_assert_uint_gt(reply_size, 0);
	return ntohl(reply_words[WORD_STATUS]);
}

static xdrproc_t routine(bool_t (*xdr)(void)) {
	return (xdrproc_t)(void (*)(void))xdr;
}

#define ROUTINE(xdr) routine((bool_t(*)(void))(void (*)(void))(xdr))

static void put(const char *key, uint32_t size) {
	struct kv1_put_args args = {
	    .key = {(u_int)strlen(key), (char *)(uintptr_t)key},
	    .value = {size, calloc(1, size)},
	};

	ck_assert_uint_eq(ask("127.0.0.1", KVPROC_PUT, KV_V1, ROUTINE(xdr_kv1_put_args), &args, 0),
			  KV1_OK);
	free(args.value.kv1_value_val);
}

static uint32_t get(const char *from, const char *key, size_t size) {
	struct kv1_get_args args = {.key = {(u_int)strlen(key), (char *)(uintptr_t)key}};

	return ask(from, KVPROC_GET, KV_V1, ROUTINE(xdr_kv1_get_args), &args, size);
}

static size_t bound(void) {
	return FACTOR * call_size > REPLY_MIN ? FACTOR * call_size : REPLY_MIN;
}

CASE(datagram, .setup = start, .teardown = stop);

static const char *const loopback[] = {"127.0.0.1", "127.200.0.9", "::1"};
static const char *const elsewhere[] = {"192.0.2.1", "126.255.255.255", "128.0.0.1",
					"0.0.0.0",   "2001:db8::1",	"fe80::1",
					"::",	     "::ffff:127.0.0.1"};

TEST(beyond_loopback_a_reply_is_at_most_three_times_as_large_as_its_call) {
	put("k", VALUE);
	put("s", 100);
	for (unsigned i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
		ck_assert_uint_eq(get(elsewhere[i], "k", 0), KV1_TOOBIG);
		ck_assert_uint_le(reply_size, bound());
		ck_assert_uint_eq(get(elsewhere[i], "k", VALUE / FACTOR), KV1_TOOBIG);
		ck_assert_uint_le(reply_size, bound());
		/* What a call carries behind its arguments is not looked at. */
		ck_assert_uint_eq(get(elsewhere[i], "k", VALUE / FACTOR + 40), KV1_OK);
		ck_assert_uint_gt(reply_size, VALUE);
		ck_assert_uint_le(reply_size, bound());
		ck_assert_uint_eq(get(elsewhere[i], "s", 0), KV1_OK);
		ck_assert_uint_le(reply_size, bound());
	}
}

TEST(on_loopback_a_reply_is_as_large_as_a_datagram) {
	put("k", VALUE);
	for (unsigned i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++) {
		ck_assert_uint_eq(get(loopback[i], "k", 0), KV1_OK);
		ck_assert_uint_gt(reply_size, VALUE);
		ck_assert_uint_eq(ask(loopback[i], KVPROC_STATUS, KV_V1, NULL, NULL, 0), KV1_OK);
	}
}

TEST(beyond_loopback_the_replies_of_all_procedures_and_refusals_are_small) {
	for (uint32_t version = 0; version < 3; version++)
		for (uint32_t procedure = 0; procedure < 16; procedure++)
			for (size_t size = 0; size < 120; size += 4) {
				(void)ask("192.0.2.1", procedure, version, NULL, NULL, size);
				ck_assert_uint_le(reply_size, bound());
			}
	ck_assert_uint_eq(ask("192.0.2.1", KVPROC_STATUS, KV_V1, NULL, NULL, 0), KV1_TOOBIG);
	ck_assert_uint_eq(ask("192.0.2.1", KVPROC_HELLO, KV_V1, NULL, NULL, 0), KV1_OK);
}

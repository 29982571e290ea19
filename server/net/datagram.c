/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/datagram.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "core/stats.h"
#include "log.h"
#include "log_limit.h"
#include "net/event_handler.h"
#include "net/peer.h"
#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "rpc/xdr_inplace.h"

enum {
	DATAGRAMS_PER_TURN = 64, /* from one socket, so that it does not hold up the others */
	/*
	 * A sender beyond loopback may be forged, so a reply to it is at most as many times as
	 * large as the call (RFC 9000, 8.1 has the same rule), or as many bytes.
	 */
	DATAGRAM_REPLY_FACTOR = 3,
	DATAGRAM_REPLY_MIN = 256,
};

struct datagrams {
	struct event_handler handler;
	int epoll;
	int family;
	bool is_paused;
	bool has_unread; /* this turn may have left some */
	struct dispatch *dispatch;
	enum tls_policy tls_policy;
	uint64_t received;
	uint64_t bytes_received;
	uint64_t bytes_sent;
	uint64_t malformed; /* no RPC call */
	uint64_t unsent;    /* replies that the kernel did not take */
	struct log_limit malformed_lines;
	struct caller caller;	 /* of each call: "any" */
	const struct call *call; /* that runs */
	_Alignas(8) char in[WIRE_DATAGRAM_MAX + 1];
	_Alignas(8) char out[WIRE_DATAGRAM_MAX + 1];
};

/* Room for one IP_PKTINFO or IPV6_PKTINFO. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Notes the address that the peer sent its call to: the reply must come from there. */
static void set_local(struct call *call, struct msghdr *message) {
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL;
	     control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(control), sizeof(info));
			memcpy(&call->local, &info.ipi_spec_dst, sizeof(info.ipi_spec_dst));
		} else if (control->cmsg_level == IPPROTO_IPV6 &&
			   control->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(control), sizeof(info));
			call->local = info.ipi6_addr;
		}
	}
}

static void send_from_local(const struct call *call, struct msghdr *message,
			    union control *control) {
	struct cmsghdr *header = &control->header;

	memset(control, 0, sizeof(*control));
	message->msg_control = control->bytes;
	if (call->datagrams->family == AF_INET) {
		struct in_pktinfo info = {.ipi_ifindex = 0};

		memcpy(&info.ipi_spec_dst, &call->local, sizeof(info.ipi_spec_dst));
		message->msg_controllen = CMSG_SPACE(sizeof(info));
		header->cmsg_level = IPPROTO_IP;
		header->cmsg_type = IP_PKTINFO;
		header->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(header), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {.ipi6_addr = call->local,
					   /* Of a link-local peer; else 0. */
					   .ipi6_ifindex = call->peer.sin6_scope_id};

		message->msg_controllen = CMSG_SPACE(sizeof(info));
		header->cmsg_level = IPPROTO_IPV6;
		header->cmsg_type = IPV6_PKTINFO;
		header->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(header), &info, sizeof(info));
	}
}

static struct peer_name name_of(const struct call *call) {
	struct peer_name name = {.kind = ADDRESS_UDP};

	memcpy(&name.address, &call->peer, sizeof(call->peer));
	return name;
}

static bool is_loopback(const struct call *call) {
	const struct peer_name name = name_of(call);

	return peer_is_loopback(&name);
}

/* Bytes. */
static uint32_t largest_reply(const struct call *call, size_t call_size) {
	size_t size = DATAGRAM_REPLY_FACTOR * call_size;

	if (is_loopback(call) || size > WIRE_DATAGRAM_MAX)
		return WIRE_DATAGRAM_MAX;
	return size > DATAGRAM_REPLY_MIN ? (uint32_t)size : DATAGRAM_REPLY_MIN;
}

static bool send_reply(struct call *call, struct rpc_msg *reply) {
	struct datagrams *datagrams = call->datagrams;
	union control control;
	struct iovec piece = {.iov_base = datagrams->out};
	struct msghdr message = {.msg_name = &call->peer,
				 .msg_namelen = call->peer_size,
				 .msg_iov = &piece,
				 .msg_iovlen = 1};
	XDR xdrs;

	xdr_mem_init(&xdrs, XDR_ENCODE, datagrams->out, call->reply_max + WIRE_REPLY_OVERHEAD);
	if (!xdr_inplace_replymsg(&xdrs, reply))
		return false;
	piece.iov_len = XDR_GETPOS(&xdrs);
	datagrams->bytes_sent += piece.iov_len;
	send_from_local(call, &message, &control);
	return sendmsg(datagrams->handler.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static const char *peer_of(const struct call *call, char text[PEER_TEXT_MAX]) {
	const struct peer_name name = name_of(call);

	return peer_name_format(&name, text);
}

/* "any at 192.0.2.7:40112 over udp". */
static const char *describe(const struct caller *caller, char text[CALLER_TEXT_MAX]) {
	const struct datagrams *datagrams =
	    (const struct datagrams *)(const void *)((const char *)caller -
						     offsetof(struct datagrams, caller));
	char principal[PRINCIPAL_TEXT_MAX], peer[PEER_TEXT_MAX];

	(void)snprintf(text, CALLER_TEXT_MAX, "%s at %s over udp", principal_of(caller, principal),
		       peer_of(datagrams->call, peer));
	return text;
}

static bool_t datagram_reply(SVCXPRT *xprt, struct rpc_msg *reply) {
	struct call *call = xprt->xp_p1;
	struct datagrams *datagrams = call->datagrams;
	char peer[PEER_TEXT_MAX];
	bool sent;

	reply->rm_xid = call->xid;
	if (log_has_debug())
		dispatch_log_call(call, "udp", peer_of(call, peer));
	sent = send_reply(call, reply);
	if (!sent)
		datagrams->unsent++;
	dispatch_call_free(datagrams->dispatch, call);
	return sent ? TRUE : FALSE;
}

static const struct xp_ops datagram_ops = {
    .xp_reply = datagram_reply,
};

static void log_malformed(struct datagrams *datagrams, const struct call *call) {
	char peer[PEER_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];

	if (log_limit_allows(&datagrams->malformed_lines, clock_ms(), more))
		log_warn("ignored a udp datagram from %s: it is not an RPC call%s",
			 peer_of(call, peer), more);
}

/* False if there is no datagram. */
static bool receive(struct datagrams *datagrams, struct call *call) {
	union control control;
	struct iovec piece = {.iov_base = datagrams->in, .iov_len = sizeof(datagrams->in)};
	struct msghdr message = {.msg_name = &call->peer,
				 .msg_namelen = sizeof(call->peer),
				 .msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t size = recvmsg(datagrams->handler.fd, &message, MSG_DONTWAIT);

	if (size < 0)
		return false;
	datagrams->received++;
	datagrams->bytes_received += (size_t)size;
	call->peer_size = message.msg_namelen;
	call->reply_max = largest_reply(call, (size_t)size) - WIRE_REPLY_OVERHEAD;
	call->caller = &datagrams->caller;
	call->is_too_weak = datagrams->tls_policy == TLS_REQUIRE ||
			    (datagrams->tls_policy == TLS_REQUIRE_REMOTE && !is_loopback(call));
	datagrams->call = call;
	set_local(call, &message);
	if (!dispatch_record(datagrams->dispatch, call,
			     (struct kv_bytes){datagrams->in, (size_t)size}, NULL)) {
		datagrams->malformed++;
		log_malformed(datagrams, call);
		dispatch_call_free(datagrams->dispatch, call);
	}
	return true;
}

void datagrams_pause(struct datagrams *datagrams, bool is_paused) {
	struct epoll_event event = {.events = is_paused ? 0 : EPOLLIN,
				    .data.ptr = &datagrams->handler};

	if (datagrams->is_paused == is_paused)
		return;
	datagrams->is_paused = is_paused;
	(void)epoll_ctl(datagrams->epoll, EPOLL_CTL_MOD, datagrams->handler.fd, &event);
}

static void datagrams_ready(struct event_handler *handler, uint32_t events) {
	struct datagrams *datagrams = (struct datagrams *)(void *)handler;

	(void)events;
	datagrams->has_unread = true;
	for (int count = 0; count < DATAGRAMS_PER_TURN && !datagrams->is_paused; count++) {
		struct call *call = dispatch_call(datagrams->dispatch);

		if (call == NULL)
			return;
		call->is_datagram = true;
		call->datagrams = datagrams;
		call->xp_ops = &datagram_ops;
		if (!receive(datagrams, call)) {
			dispatch_call_free(datagrams->dispatch, call);
			datagrams->has_unread = false;
			return;
		}
	}
}

bool datagrams_took_all(struct datagrams *datagrams) {
	bool took_all = !datagrams->has_unread;

	datagrams->has_unread = false;
	return took_all;
}

struct datagrams *datagrams_new(int epoll, int fd, int family, struct dispatch *dispatch) {
	struct datagrams *datagrams = calloc(1, sizeof(*datagrams));
	struct epoll_event event = {.events = EPOLLIN};
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int option = family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO;
	int on = 1;

	assert(family == AF_INET || family == AF_INET6);
	if (datagrams == NULL) {
		(void)close(fd);
		return NULL;
	}
	datagrams->handler = (struct event_handler){.fd = fd, .ready = datagrams_ready};
	datagrams->epoll = epoll;
	datagrams->family = family;
	datagrams->dispatch = dispatch;
	datagrams->caller.describe = describe;
	event.data.ptr = &datagrams->handler;
	if (setsockopt(fd, level, option, &on, sizeof(on)) != 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		log_error("cannot serve a udp socket: %s (raise ulimit -n, or use tcp addresses "
			  "only: -l)",
			  strerror(errno));
		datagrams_free(datagrams);
		return NULL;
	}
	return datagrams;
}

void datagrams_set_policy(struct datagrams *datagrams, enum tls_policy policy) {
	datagrams->tls_policy = policy;
}

void datagrams_free(struct datagrams *datagrams) {
	if (datagrams == NULL)
		return;
	(void)close(datagrams->handler.fd);
	free(datagrams);
}

void datagrams_add_stats(const struct datagrams *datagrams, struct stats *stats) {
	stats_add(stats, "datagram_bytes_received", datagrams->bytes_received);
	stats_add(stats, "datagram_bytes_sent", datagrams->bytes_sent);
	stats_add(stats, "datagrams", datagrams->received);
	stats_add(stats, "datagrams_malformed", datagrams->malformed);
	stats_add(stats, "datagrams_unsent", datagrams->unsent);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/datagram.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "log.h"
#include "net/event_handler.h"
#include "rpc/xdr_inplace.h"

enum {
	DATAGRAMS_A_TURN = 64, /* from one socket, so that the others have theirs */
};

struct datagrams {
	struct watch watch;
	int epoll;
	int family;
	bool is_paused;
	struct dispatch *dispatch;
	struct datagram_counters counters;
	_Alignas(8) char in[WIRE_DATAGRAM_MAX + 1];
	_Alignas(8) char out[WIRE_DATAGRAM_MAX + 1];
};

/* Room for one IP_PKTINFO or IPV6_PKTINFO. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* The address that the peer sent its call to: its answer must come from there. */
static void take_local(struct call *call, struct msghdr *message) {
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

static void put_local(const struct call *call, struct msghdr *message, union control *control) {
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

static bool send_reply(struct call *call, struct rpc_msg *reply) {
	struct datagrams *datagrams = call->datagrams;
	union control control;
	struct iovec piece = {.iov_base = datagrams->out};
	struct msghdr message = {.msg_name = &call->peer,
				 .msg_namelen = call->peer_size,
				 .msg_iov = &piece,
				 .msg_iovlen = 1};
	XDR xdrs;

	xdr_mem_init(&xdrs, XDR_ENCODE, datagrams->out, WIRE_DATAGRAM_MAX);
	if (!xdr_inplace_replymsg(&xdrs, reply))
		return false;
	piece.iov_len = XDR_GETPOS(&xdrs);
	put_local(call, &message, &control);
	return sendmsg(datagrams->watch.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool_t datagram_reply(SVCXPRT *xprt, struct rpc_msg *reply) {
	struct call *call = xprt->xp_p1;
	struct datagrams *datagrams = call->datagrams;
	bool sent;

	reply->rm_xid = call->xid;
	sent = send_reply(call, reply);
	if (!sent)
		datagrams->counters.unsent++;
	dispatch_call_free(datagrams->dispatch, call);
	return sent ? TRUE : FALSE;
}

static const struct xp_ops datagram_ops = {
    .xp_getargs = call_getargs,
    .xp_reply = datagram_reply,
    .xp_freeargs = call_freeargs,
};

/* False: no datagram is there. */
static bool receive(struct datagrams *datagrams, struct call *call) {
	union control control;
	struct iovec piece = {.iov_base = datagrams->in, .iov_len = sizeof(datagrams->in)};
	struct msghdr message = {.msg_name = &call->peer,
				 .msg_namelen = sizeof(call->peer),
				 .msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t size = recvmsg(datagrams->watch.fd, &message, MSG_DONTWAIT);

	if (size < 0)
		return false;
	datagrams->counters.received++;
	call->peer_size = message.msg_namelen;
	take_local(call, &message);
	if (!dispatch_record(datagrams->dispatch, call,
			     (struct kv_bytes){datagrams->in, (size_t)size})) {
		datagrams->counters.rubbish++;
		dispatch_call_free(datagrams->dispatch, call);
	}
	return true;
}

void datagrams_pause(struct datagrams *datagrams, bool is_paused) {
	struct epoll_event event = {.events = is_paused ? 0 : EPOLLIN,
				    .data.ptr = &datagrams->watch};

	if (datagrams->is_paused == is_paused)
		return;
	datagrams->is_paused = is_paused;
	(void)epoll_ctl(datagrams->epoll, EPOLL_CTL_MOD, datagrams->watch.fd, &event);
}

static void datagrams_ready(struct watch *watch, uint32_t events) {
	struct datagrams *datagrams = (struct datagrams *)(void *)watch;

	(void)events;
	for (int count = 0; count < DATAGRAMS_A_TURN && !datagrams->is_paused; count++) {
		struct call *call = dispatch_call(datagrams->dispatch);

		if (call == NULL)
			return;
		call->datagrams = datagrams;
		call->xprt.xp_ops = &datagram_ops;
		call->xprt.xp_fd = watch->fd;
		call->reply_max = WIRE_DATAGRAM_MAX - WIRE_REPLY_OVERHEAD;
		if (!receive(datagrams, call)) {
			dispatch_call_free(datagrams->dispatch, call);
			return;
		}
	}
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
	datagrams->watch = (struct watch){.fd = fd, .ready = datagrams_ready};
	datagrams->epoll = epoll;
	datagrams->family = family;
	datagrams->dispatch = dispatch;
	event.data.ptr = &datagrams->watch;
	if (setsockopt(fd, level, option, &on, sizeof(on)) != 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		log_error("cannot serve a udp socket: %s", strerror(errno));
		datagrams_free(datagrams);
		return NULL;
	}
	return datagrams;
}

void datagrams_free(struct datagrams *datagrams) {
	if (datagrams == NULL)
		return;
	(void)close(datagrams->watch.fd);
	free(datagrams);
}

void datagrams_get_stats(const struct datagrams *datagrams, struct datagram_counters *counters) {
	counters->received += datagrams->counters.received;
	counters->rubbish += datagrams->counters.rubbish;
	counters->unsent += datagrams->counters.unsent;
}

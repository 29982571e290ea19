/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/resolve.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <rpc/rpc.h>
#include <rpc/rpcb_prot.h>
#include <rpcsvc/kv.h>

#include "clock.h"
#include "random.h"
#include "rpc/last_error.h"
#include "rpc/rpc_call.h"
#include "rpc/trust.h"

enum { RPCBIND_PORT = 111 };

static const char rpcbind_path[] = "/run/rpcbind.sock";

/* What is looked for in rpcbind's list, and the ports found; 0: none. */
struct rpcbind_query {
	uint32_t program;
	bool is_stream;
	bool must_be_trusted;
	uint16_t port_v4;
	uint16_t port_v6;
	bool has_untrusted; /* there is an entry of another user */
};

static struct endpoint local_endpoint(const char *path) {
	struct endpoint endpoint = {.is_stream = true};
	struct sockaddr_un *local = (struct sockaddr_un *)&endpoint.address;

	local->sun_family = AF_UNIX;
	(void)snprintf(local->sun_path, sizeof(local->sun_path), "%s", path);
	endpoint.size = sizeof(*local);
	return endpoint;
}

static size_t resolve_name(struct target *target, uint64_t deadline_ms,
			   struct endpoint endpoints[ENDPOINT_MAX]) {
	const struct address *address = &target->address;
	const bool is_stream = address->kind == ADDRESS_TCP;
	struct addrinfo *found = NULL;
	int failure = lookup_host(&target->lookup, address->host,
				  is_stream ? SOCK_STREAM : SOCK_DGRAM, deadline_ms, &found);
	size_t count = 0;
	char text[64];

	if (failure != 0) {
		last_error_set("%s: %s", target->name,
			       failure == LOOKUP_PENDING ? "the name server does not reply"
			       : failure == EAI_SYSTEM	 ? strerror_r(errno, text, sizeof(text))
							 : gai_strerror(failure));
		return 0;
	}
	for (struct addrinfo *one = found; one != NULL && count < ENDPOINT_MAX;
	     one = one->ai_next) {
		struct endpoint *endpoint = &endpoints[count];

		if (one->ai_family != AF_INET && one->ai_family != AF_INET6)
			continue;
		*endpoint = (struct endpoint){.is_stream = is_stream, .size = one->ai_addrlen};
		memcpy(&endpoint->address, one->ai_addr, one->ai_addrlen);
		endpoint_set_port(endpoint, address->port);
		count++;
	}
	freeaddrinfo(found);
	if (count == 0)
		last_error_set("%s: the name has no IPv4 or IPv6 address", target->name);
	return count;
}

void target_release(struct target *target) {
	lookup_abandon(target->lookup);
	target->lookup = NULL;
}

/* --- rpcbind ------------------------------------------------------------------------------- */

/*
 * The port in a universal address: the last two of its numbers ("127.0.0.1.27.88", "::1.27.88";
 * RFC 5665, 5.2.3.3 and 5.2.3.4). 0: it has none.
 */
static uint16_t port_of(const char *universal) {
	const char *low = strrchr(universal, '.');
	const char *high = low;
	unsigned numbers[2];
	char rest;

	if (low == NULL)
		return 0;
	while (high > universal && high[-1] != '.')
		high--;
	if (high == universal || sscanf(high, "%3u.%3u%c", &numbers[0], &numbers[1], &rest) != 2 ||
	    numbers[0] > 255 || numbers[1] > 255)
		return 0;
	return (uint16_t)(numbers[0] << 8 | numbers[1]);
}

static void note_entry(const struct rpcb *entry, struct rpcbind_query *query) {
	const char *netid = query->is_stream ? "tcp" : "udp";
	const size_t size = strlen(netid);
	uint16_t *port;

	if (entry->r_prog != query->program || entry->r_vers != KV_V1 ||
	    strncmp(entry->r_netid, netid, size) != 0)
		return;
	if (entry->r_netid[size] == '\0')
		port = &query->port_v4;
	else if (strcmp(entry->r_netid + size, "6") == 0)
		port = &query->port_v6;
	else
		return;
	if (query->must_be_trusted && !trust_rpcbind_owner(entry->r_owner))
		query->has_untrusted = true;
	else
		*port = port_of(entry->r_addr);
}

/*
 * Asks the rpcbind at one of the endpoints for the ports of kv. Asked is RPCBPROC_DUMP:
 * RPCBPROC_GETADDR replies only for the transport that the question came by, whatever netid it
 * names (RFC 1833, 2.2.1), and does not say whose an entry is.
 */
static bool ask_rpcbind(const struct endpoint endpoints[], size_t count, const char *name,
			uint64_t deadline_ms, struct rpcbind_query *query) {
	struct rpc_call call;
	rpcblist_ptr list = NULL;
	char nothing = 0;
	char text[64];
	uint32_t xid;
	struct conn *conn;
	int fd = dial(endpoints, count, deadline_ms, NULL);

	if (fd < 0) {
		last_error_set("%s: %s", name, strerror_r(errno, text, sizeof(text)));
		return false;
	}
	conn = conn_new(fd, true, name, RPCBPROG);
	if (conn == NULL) {
		last_error_set("%s: no memory", name);
		return false;
	}
	random_bytes(&xid, sizeof(xid));
	rpc_call_init(&call, conn, RPCBPROG, RPCBVERS4, xid, deadline_ms);
	(void)clnt_call(&call.client, RPCBPROC_DUMP, rpc_call_no_data, &nothing,
			(xdrproc_t)xdr_rpcblist_ptr, &list, (struct timeval){0});
	conn_unref(conn);
	if (call.outcome != ATTEMPT_ANSWERED)
		return false;
	for (rpcblist_ptr entry = list; entry != NULL; entry = entry->rpcb_next)
		note_entry(&entry->rpcb_map, query);
	xdr_free((xdrproc_t)xdr_rpcblist_ptr, &list);
	return true;
}

/* Sets the ports of the endpoints and drops those without one. Returns how many are left. */
static size_t keep_with_port(struct endpoint endpoints[], size_t count,
			     const struct rpcbind_query *query) {
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint16_t port =
		    endpoints[i].address.ss_family == AF_INET6 ? query->port_v6 : query->port_v4;

		if (port == 0)
			continue;
		endpoints[kept] = endpoints[i];
		endpoint_set_port(&endpoints[kept++], port);
	}
	return kept;
}

/*
 * On this machine rpcbind is asked by its local socket, which is there even if it serves no
 * network; else, and on other machines, at port 111 of the address that accepts first.
 */
static size_t find_ports(const struct target *target, uint32_t program, uint64_t deadline_ms,
			 struct endpoint endpoints[], size_t count) {
	struct rpcbind_query query = {.program = program,
				      .is_stream = target->address.kind == ADDRESS_TCP,
				      .must_be_trusted = target->is_default};
	const struct endpoint local = local_endpoint(rpcbind_path);
	const uint64_t now_ms = clock_ms();
	struct endpoint remote[ENDPOINT_MAX];
	char name[ADDRESS_TEXT_MAX];
	bool is_loopback = false;
	bool is_answered = false;
	size_t kept;

	(void)snprintf(name, sizeof(name), "rpcbind on %s", target->address.host);
	for (size_t i = 0; i < count; i++) {
		is_loopback = is_loopback || endpoint_is_loopback(&endpoints[i]);
		remote[i] = endpoints[i];
		remote[i].is_stream = true;
		endpoint_set_port(&remote[i], RPCBIND_PORT);
	}
	/* Half the time: an rpcbind that hangs on one may reply on the other. */
	if (is_loopback && now_ms < deadline_ms)
		is_answered =
		    ask_rpcbind(&local, 1, name, now_ms + (deadline_ms - now_ms) / 2, &query);
	if (!is_answered)
		is_answered = ask_rpcbind(remote, count, name, deadline_ms, &query);
	if (!is_answered)
		return 0;
	kept = keep_with_port(endpoints, count, &query);
	if (kept == 0 && query.has_untrusted)
		last_error_set("%s: the entry for kv is not root's or yours, so it is not used "
			       "(-s tcp:%s uses it)",
			       name, target->address.host);
	else if (kept == 0)
		last_error_set("%s knows no kv server on %s (program %lu)", name,
			       query.is_stream ? "tcp" : "udp", (unsigned long)program);
	return kept;
}

size_t resolve(struct target *target, uint32_t program, uint64_t deadline_ms,
	       struct endpoint endpoints[ENDPOINT_MAX]) {
	size_t count;

	if (target->address.kind == ADDRESS_LOCAL) {
		endpoints[0] = local_endpoint(target->address.path);
		return 1;
	}
	count = resolve_name(target, deadline_ms, endpoints);
	if (count > 0 && target->address.port == 0)
		count = find_ports(target, program, deadline_ms, endpoints, count);
	return count;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <rpc/rpc.h>
#include <rpc/rpcb_prot.h>
#include <rpcsvc/kv.h>

#include "rpc/rpc_call.h"
#include "random.h"
#include "clock.h"
#include "rpc/last_error.h"

enum { RPCBIND_PORT = 111 };

static const char rpcbind_path[] = "/run/rpcbind.sock";

/* What rpcbind knows of kv on one host, for tcp or for udp; 0: nothing. */
struct ports {
	uint16_t v4;
	uint16_t v6;
};

uint64_t resolve_share(uint64_t deadline_ms, size_t left) {
	uint64_t now_ms = clock_ms();

	if (left <= 1 || now_ms >= deadline_ms)
		return deadline_ms;
	return now_ms + (deadline_ms - now_ms + left - 1) / left;
}

static struct place local_place(const char *path) {
	struct place place = {.is_stream = true};
	struct sockaddr_un *local = (struct sockaddr_un *)&place.address;

	local->sun_family = AF_UNIX;
	(void)snprintf(local->sun_path, sizeof(local->sun_path), "%s", path);
	place.size = sizeof(*local);
	return place;
}

static size_t resolve(const struct address *address, const char *name,
		      struct place places[LOCATE_MAX]) {
	struct addrinfo *found = NULL;
	struct addrinfo hints = {
	    .ai_socktype = address->kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM,
	};
	int failure = getaddrinfo(address->host, NULL, &hints, &found);
	size_t count = 0;
	char text[64];

	if (failure != 0) {
		last_error_set("%s: %s", name,
			   failure == EAI_SYSTEM ? strerror_r(errno, text, sizeof(text))
						 : gai_strerror(failure));
		return 0;
	}
	for (struct addrinfo *one = found; one != NULL && count < LOCATE_MAX; one = one->ai_next) {
		struct place *place = &places[count];

		if (one->ai_family != AF_INET && one->ai_family != AF_INET6)
			continue;
		*place = (struct place){
		    .is_stream = address->kind == ADDRESS_TCP,
		    .size = one->ai_addrlen,
		};
		memcpy(&place->address, one->ai_addr, one->ai_addrlen);
		place_set_port(place, address->port);
		count++;
	}
	freeaddrinfo(found);
	if (count == 0)
		last_error_set("%s: the name has no IPv4 or IPv6 address", name);
	return count;
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

static void note_port(const struct rpcb *entry, uint32_t program, bool is_stream,
		      struct ports *ports) {
	if (entry->r_prog != program || entry->r_vers != KV_V1)
		return;
	if (strcmp(entry->r_netid, is_stream ? "tcp" : "udp") == 0)
		ports->v4 = port_of(entry->r_addr);
	else if (strcmp(entry->r_netid, is_stream ? "tcp6" : "udp6") == 0)
		ports->v6 = port_of(entry->r_addr);
}

/*
 * Asks the rpcbind at `place` for the ports of kv. Asked is RPCBPROC_DUMP: RPCBPROC_GETADDR answers
 * only for the transport that the question came by, whatever netid it names (RFC 1833, 2.2.1), so
 * that it would take four sockets, two of them datagrams, and tell nothing over the local one.
 */
static bool ask_rpcbind(const struct place *place, const char *name, uint32_t program,
			bool is_stream, uint64_t deadline_ms, struct ports *ports) {
	struct caller caller;
	rpcblist_ptr list = NULL;
	char nothing = 0;
	char text[64];
	uint32_t xid;
	struct link *link;
	int fd = dial(place, deadline_ms);

	if (fd < 0) {
		last_error_set("%s: %s", name, strerror_r(errno, text, sizeof(text)));
		return false;
	}
	link = conn_new(fd, true, name, RPCBPROG);
	if (link == NULL) {
		last_error_set("%s: no memory", name);
		return false;
	}
	random_bytes(&xid, sizeof(xid));
	caller_init(&caller, link, RPCBPROG, RPCBVERS4, xid, deadline_ms);
	(void)clnt_call(&caller.client, RPCBPROC_DUMP, caller_no_data, &nothing,
			(xdrproc_t)xdr_rpcblist_ptr, &list, (struct timeval){0});
	conn_unref(link);
	if (caller.outcome != ATTEMPT_ANSWERED)
		return false;
	for (rpcblist_ptr entry = list; entry != NULL; entry = entry->rpcb_next)
		note_port(&entry->rpcb_map, program, is_stream, ports);
	xdr_free((xdrproc_t)xdr_rpcblist_ptr, &list);
	return true;
}

/* Sets the ports of the places and drops those without one. Answers how many are left. */
static size_t keep_with_port(struct place places[], size_t count, const struct ports *ports) {
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint16_t port = places[i].address.ss_family == AF_INET6 ? ports->v6 : ports->v4;

		if (port == 0)
			continue;
		places[kept] = places[i];
		place_set_port(&places[kept++], port);
	}
	return kept;
}

/*
 * Where rpcbind may be asked: on this machine by its local socket, which is there even if it serves
 * no network; else, and on other machines, at port 111 of every address.
 */
static size_t rpcbind_places(const struct place places[], size_t count,
			     struct place sources[LOCATE_MAX + 1]) {
	size_t used = 0;

	for (size_t i = 0; i < count && used == 0; i++)
		if (place_is_loopback(&places[i]))
			sources[used++] = local_place(rpcbind_path);
	for (size_t i = 0; i < count; i++) {
		sources[used] = places[i];
		sources[used].is_stream = true;
		place_set_port(&sources[used++], RPCBIND_PORT);
	}
	return used;
}

/* One rpcbind tells the ports of all families, so the first one that knows kv is enough. */
static size_t find_ports(const struct address *address, uint32_t program, uint64_t deadline_ms,
			 struct place places[], size_t count) {
	struct place sources[LOCATE_MAX + 1];
	size_t source_count = rpcbind_places(places, count, sources);
	bool is_stream = address->kind == ADDRESS_TCP;
	char name[ADDRESS_TEXT_MAX];
	bool was_answered = false;

	(void)snprintf(name, sizeof(name), "rpcbind on %s", address->host);
	for (size_t i = 0; i < source_count; i++) {
		struct ports ports = {0};
		size_t kept;

		if (!ask_rpcbind(&sources[i], name, program, is_stream,
				 resolve_share(deadline_ms, source_count - i), &ports))
			continue;
		was_answered = true;
		kept = keep_with_port(places, count, &ports);
		if (kept > 0)
			return kept;
	}
	if (was_answered)
		last_error_set("%s knows no kv server on %s (program %lu)", name,
			   is_stream ? "tcp" : "udp", (unsigned long)program);
	return 0;
}

size_t locate(const struct address *address, const char *name, uint32_t program,
	      uint64_t deadline_ms, struct place places[LOCATE_MAX]) {
	size_t count;

	if (address->kind == ADDRESS_LOCAL) {
		places[0] = local_place(address->path);
		return 1;
	}
	count = resolve(address, name, places);
	if (count > 0 && address->port == 0)
		count = find_ports(address, program, deadline_ms, places, count);
	return count;
}

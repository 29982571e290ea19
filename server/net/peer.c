/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Names --------------------------------------------------------------------------------- */

struct peer_name peer_name_local(int fd) {
	struct peer_name name = {.kind = ADDRESS_LOCAL, .uid = (uid_t)-1};
	struct ucred user;
	socklen_t size = sizeof(user);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size) == 0) {
		name.uid = user.uid;
		name.pid = user.pid;
	}
	return name;
}

bool peer_is_loopback(const struct peer_name *name) {
	const struct in6_addr *inet6 = &name->address.inet6.sin6_addr;

	if (name->kind == ADDRESS_LOCAL)
		return true;
	if (name->address.family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(inet6);
	return ntohl(name->address.inet.sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
}

const char *peer_transport(const struct peer_name *name) {
	return name->kind == ADDRESS_LOCAL ? "local" : name->kind == ADDRESS_UDP ? "udp" : "tcp";
}

const char *peer_name_format(const struct peer_name *name, char text[PEER_TEXT_MAX]) {
	char host[INET6_ADDRSTRLEN] = "?";
	char zone[16] = "";

	if (name->kind == ADDRESS_LOCAL) {
		(void)snprintf(text, PEER_TEXT_MAX, "uid %d pid %d", (int)name->uid,
			       (int)name->pid);
	} else if (name->address.family == AF_INET6) {
		const struct sockaddr_in6 *inet6 = &name->address.inet6;

		(void)inet_ntop(AF_INET6, &inet6->sin6_addr, host, sizeof(host));
		if (inet6->sin6_scope_id != 0)
			(void)snprintf(zone, sizeof(zone), "%%%u", inet6->sin6_scope_id);
		(void)snprintf(text, PEER_TEXT_MAX, "[%s%s]:%u", host, zone,
			       ntohs(inet6->sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &name->address.inet.sin_addr, host, sizeof(host));
		(void)snprintf(text, PEER_TEXT_MAX, "%s:%u", host,
			       ntohs(name->address.inet.sin_port));
	}
	return text;
}

/* --- Peers --------------------------------------------------------------------------------- */

static size_t chain_of(const unsigned char *bytes, size_t size) {
	return peer_hash(bytes, size, 0) % PEER_CHAINS;
}

struct peer *peers_find(const struct peers *peers, const struct peer_id *id) {
	struct peer *peer = peers->chains[chain_of(id->bytes, id->size)];

	while (peer != NULL &&
	       (peer->id_size != id->size || memcmp(peer->id, id->bytes, id->size) != 0))
		peer = peer->next;
	return peer;
}

static void append(struct peer *peer, struct peer_member *member) {
	member->peer = peer;
	member->next = NULL;
	member->previous = peer->last;
	if (peer->last != NULL)
		peer->last->next = member;
	else
		peer->first = member;
	peer->last = member;
}

static void detach(struct peer_member *member) {
	struct peer *peer = member->peer;

	if (member->previous != NULL)
		member->previous->next = member->next;
	else
		peer->first = member->next;
	if (member->next != NULL)
		member->next->previous = member->previous;
	else
		peer->last = member->previous;
}

bool peers_join(struct peers *peers, struct peer_member *member, const struct peer_id *id) {
	struct peer *peer = peers_find(peers, id);

	if (peer == NULL) {
		struct peer **chain = &peers->chains[chain_of(id->bytes, id->size)];

		peer = calloc(1, sizeof(*peer) + id->size);
		if (peer == NULL)
			return false;
		peer->id_size = id->size;
		memcpy(peer->id, id->bytes, id->size);
		peer->next = *chain;
		*chain = peer;
		peers->count++;
	}
	append(peer, member);
	peer->connections++;
	return true;
}

void peers_leave(struct peers *peers, struct peer_member *member) {
	struct peer *peer = member->peer;
	struct peer **link = &peers->chains[chain_of(peer->id, peer->id_size)];

	detach(member);
	member->peer = NULL;
	if (--peer->connections > 0)
		return;
	while (*link != peer)
		link = &(*link)->next;
	*link = peer->next;
	peers->count--;
	free(peer);
}

void peer_rotate(struct peer_member *member) {
	detach(member);
	append(member->peer, member);
}

static size_t connections_of(const struct peer *peer) {
	return peer->connections;
}

static size_t held_of(const struct peer *peer) {
	return peer->held;
}

static struct peer *max_by(const struct peers *peers, size_t (*value_of)(const struct peer *)) {
	struct peer *max = NULL;

	for (size_t i = 0; i < PEER_CHAINS; i++)
		for (struct peer *peer = peers->chains[i]; peer != NULL; peer = peer->next)
			if (max == NULL || value_of(peer) > value_of(max))
				max = peer;
	return max;
}

struct peer *peers_max_connections(const struct peers *peers) {
	return max_by(peers, connections_of);
}

struct peer *peers_max_held(const struct peers *peers) {
	return max_by(peers, held_of);
}

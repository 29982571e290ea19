/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PEER_H
#define PEER_H

/*
 * peer.h - the peers that hold connections, and what each of them holds: so that limits that all
 * peers share are kept at the cost of the peer that holds most.
 *
 * A peer is an IPv4 address, the first 64 bits of an IPv6 address (a host has as many of the others
 * as it likes), or a user of this machine (local sockets).
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "address.h"

enum {
	PEER_TEXT_MAX = 96, /* a peer_name as text, with its NUL */
	PEER_CHAINS = 1024,
};

/* The other end of one connection, or of one datagram. */
struct peer_name {
	enum address_kind kind;
	union {
		sa_family_t family; /* of all three */
		struct sockaddr_in inet;
		struct sockaddr_in6 inet6;
	} address; /* tcp, udp */
	uid_t uid; /* local; (uid_t)-1: unknown */
	pid_t pid;
};

/* Names the other end of an accepted local socket. */
struct peer_name peer_name_local(int fd);

/* Whether it is of this machine; the kernel drops what comes from elsewhere and claims to be. */
bool peer_is_loopback(const struct peer_name *name);

/* "tcp", "udp", "local". */
const char *peer_transport(const struct peer_name *name);

/* "10.0.0.7:51234", "[fe80::1%2]:51234", "uid 1000 pid 4711". */
const char *peer_name_format(const struct peer_name *name, char text[PEER_TEXT_MAX]);

struct peer {
	struct peer *next; /* of its chain */
	uint64_t key;
	sa_family_t family;
	unsigned connections;
	unsigned handshakes;	   /* of TLS, under way */
	size_t held;		   /* bytes of unfinished records and unsent replies */
	struct peer_member *first; /* its connections */
	struct peer_member *last;
};

/* A connection's place among those of its peer. */
struct peer_member {
	struct peer *peer;
	struct peer_member *next;
	struct peer_member *previous;
};

/* All zero: there are none. */
struct peers {
	struct peer *chains[PEER_CHAINS];
	unsigned count;
};

/* Adds a connection of the peer `name`. False: no memory. */
bool peers_join(struct peers *peers, struct peer_member *member, const struct peer_name *name);

/* Removes it; a peer without connections is freed. */
void peers_leave(struct peers *peers, struct peer_member *member);

/* Makes it the last of its peer's. */
void peer_rotate(struct peer_member *member);

/* How many connections the peer `name` has. */
unsigned peers_connections(const struct peers *peers, const struct peer_name *name);

/* The peer with the most connections, or with the most bytes held. NULL: there is none. */
struct peer *peers_max_connections(const struct peers *peers);
struct peer *peers_max_held(const struct peers *peers);

#endif

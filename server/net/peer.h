/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PEER_H
#define PEER_H

/*
 * peer.h - the peers (acl/principal.h) that hold connections, and what each of them holds: so that
 * each has a limit, and limits that all peers share are kept at the cost of the peer that holds
 * most.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "acl/principal.h"
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
	unsigned connections;
	unsigned handshakes;	   /* of TLS, under way */
	size_t held;		   /* bytes of unfinished records and unsent replies */
	struct peer_member *first; /* its connections */
	struct peer_member *last;
	uint8_t id_size;
	unsigned char id[];
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

/* Adds a connection of the peer, which holds nothing yet. False: no memory. */
bool peers_join(struct peers *peers, struct peer_member *member, const struct peer_id *id);

/* Removes it, which holds nothing any more; a peer without connections is freed. */
void peers_leave(struct peers *peers, struct peer_member *member);

/* Makes it the last of its peer's. */
void peer_rotate(struct peer_member *member);

/* The peer; NULL: it has no connections. */
struct peer *peers_find(const struct peers *peers, const struct peer_id *id);

/* The peer with the most connections, or with the most bytes held. NULL: there is none. */
struct peer *peers_max_connections(const struct peers *peers);
struct peer *peers_max_held(const struct peers *peers);

#endif

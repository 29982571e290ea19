/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NETWORK_H
#define NETWORK_H

/*
 * network.h - the simulated network: routes from clients to servers, the messages on their way,
 * and the loop that delivers them when they are due.
 *
 * A route is an address where clients connect and one where the server is. A link is one client on
 * a route: a connection, or one source port of udp. A parcel is one copy of a message (a record or
 * a datagram) on its way along a link. Streams and datagrams each define how a parcel is delivered
 * (struct link_kind).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "address.h"
#include "bytes.h"
#include "rules.h"

enum {
	ROUTES_MAX = 32,
	DOORS_MAX = ROUTES_MAX + 1, /* and the control socket */
	LINKS_MAX = 2048,	    /* on all routes */
	MESSAGE_MAX = 64 * 1024 * 1024,
	BYTES_MAX = 256 * 1024 * 1024, /* of all parcels; above it nothing is read from streams */
	PARCELS_MAX = 200000,
	ASKED_MAX = 128, /* calls of a link whose answers are recognised; a power of 2 */
};

/* A descriptor that the loop waits for. */
struct watch {
	void (*ready)(struct watch *watch, uint32_t events);
};

/* One where clients connect, while none is accepted. */
struct closed_door {
	int fd;
	struct watch *watch;
};

enum count {
	COUNT_REQUESTS,
	COUNT_REPLIES,
	COUNT_LOST,
	COUNT_REPEATED,
	COUNT_DELAYED,
	COUNT_REORDERED,
	COUNT_CUT,
	COUNT_FRAGMENTED,
	COUNT_HELD, /* of all time */
	COUNTS,
};

struct parcel {
	struct parcel *next; /* while it is held */
	struct link *link;
	enum direction direction;
	uint64_t due_ms;
	uint64_t number; /* of two that are due at once the older one goes first */
	bool is_end;	 /* no message: the sender says no more */
	bool is_ordered; /* held by hand: a partition that ends does not let it go */
	bool is_cut;
	unsigned cut_at;
	unsigned fragment;
	size_t size;
	uint8_t data[];
};

struct route {
	struct network *network;
	unsigned number;	/* from 1 */
	struct address listens; /* with the port that was given */
	struct address server;
	struct sockaddr_storage server_address;
	socklen_t server_address_size;
	bool is_stream;
	int fd;
	struct watch watch;
	struct rules rules;
	uint64_t counts[COUNTS];
	unsigned link_count; /* that ever were */
	struct link *links;
	/* What a partition or an order keeps back, oldest first. */
	struct parcel *held;
	struct parcel **held_end;
};

struct asked {
	uint32_t xid;
	int procedure;
};

struct link {
	struct link *next; /* on the route's list */
	struct route *route;
	const struct link_kind *kind;
	unsigned number;
	bool is_closed;	  /* its parcels go nowhere */
	unsigned parcels; /* on their way or held: it is freed after the last one */
	uint64_t messages[DIRECTIONS];
	uint64_t last_due_ms[DIRECTIONS];
	struct asked asked[ASKED_MAX];
};

struct link_kind {
	/* Hands the parcel over. May close the link. The parcel stays the caller's. */
	void (*deliver)(struct link *link, const struct parcel *parcel);
	/* Ends it at once; link_closed() follows. */
	void (*close)(struct link *link, bool with_reset);
	/* Looks again at whether it may read. */
	void (*look)(struct link *link);
};

struct network {
	uint64_t seed;
	unsigned procedure_max; /* the server seems to know none above it; 0: it knows all */
	int epoll;
	bool is_over;
	struct route routes[ROUTES_MAX];
	size_t route_count;
	size_t link_count; /* that there are */
	uint64_t parcel_number;
	uint64_t bytes; /* of parcels */
	size_t parcel_count;
	bool is_full;
	/* Those on their way: a heap, the first is due first. */
	struct parcel **heap;
	size_t heap_size, heap_capacity;
	struct link *graves; /* freed when no event can name them any more */
	struct closed_door closed_doors[DOORS_MAX];
	size_t closed_door_count;
	uint64_t opens_ms;    /* all of them; when the last one was closed, and a while more */
	bool has_said_closed; /* once is enough */
};

/* False with errno. */
bool network_open(struct network *network, uint64_t seed);
void network_close(struct network *network);

/* Moves messages until network->is_over, or `stop` has something to read. */
void network_run(struct network *network, int stop);

bool network_watch(struct network *network, int fd, struct watch *watch, uint32_t events);
void network_change(struct network *network, int fd, struct watch *watch, uint32_t events);

/*
 * No connection could be accepted at `fd`, which is watched for EPOLLIN, for this errno. If nothing
 * was left to make a connection of, that address is not polled for a while.
 */
void network_accept_failed(struct network *network, int error, int fd, struct watch *watch);

/* Puts a new link on its route's list; false: there are LINKS_MAX. The caller allocated it. */
bool link_open(struct link *link, struct route *route, const struct link_kind *kind);
/* It has closed its descriptors. Frees it, now or once nothing names it. */
void link_closed(struct link *link);

/* A whole message has come: judges it and sends it on its way. */
void link_carry(struct link *link, enum direction direction, struct kv_bytes message);
/* The sender says no more: that arrives behind all that it sent. */
void link_carry_end(struct link *link, enum direction direction);

/* A partition begins or ends. What it kept back on streams goes on its way then. */
void route_cut_off(struct route *route, enum direction direction, bool is_cut_off);
/* Ends every connection of the route. */
void route_cut_all(struct route *route);
/* Hands over, or loses, the oldest `count` of those held by order. Answers how many. */
unsigned route_release(struct route *route, unsigned count, bool is_lost);
/* How many messages are kept back now: by order, or for a partition. */
unsigned route_held(const struct route *route);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_NETWORK_H
#define SIM_NETWORK_H

/*
 * sim_network.h - the simulated network between the hosts of clients and the one server.
 *
 * A *wire* joins a socket of a client to the server: a stream, which loses no bytes in the middle
 * and keeps their order but may break at any time, or datagrams, each of which may be lost,
 * repeated, delayed and reordered. It carries complete messages.
 *
 * A stream without traffic is not broken: what was sent is retransmitted until it arrives, so a
 * request may arrive long after its client closed the socket.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A host of a client: what is cut off from the server, and whether its process has died. */
struct host {
	unsigned number;
	bool is_deaf;	    /* nothing arrives from the server ... */
	bool is_mute;	    /* ... nothing gets there */
	bool is_dead;	    /* what it sent before is still delivered */
	uint64_t asleep_ms; /* for so long it was suspended */
};

/* In 10,000 messages. */
struct net_faults {
	unsigned lose;
	unsigned repeat;
	unsigned hold;	/* for long: seconds, in a datagram network up to a minute */
	unsigned cut;	/* breaks the stream: one side may not hear of it */
	unsigned choke; /* the kernel takes no more of the stream: not sent whole */
	uint64_t least_ms;
	uint64_t most_ms;
};

struct net;
struct wire;

/* What the network asks of the server's server. */
struct net_server {
	/* Counts the boots; 0: it is off. */
	uint64_t (*boot)(void *context);
	/* The process that listens; 0: none does. */
	uint64_t (*generation)(void *context);
	/* A message came; the bytes, aligned as malloc() does, are the server's now. */
	void (*take)(void *context, struct wire *wire, uint8_t *bytes, size_t size);
	void *context;
};

/* What it tells the owner of the client's end, until net_close(). */
struct net_client {
	void (*connected)(void *owner, bool is_refused);
	/* The bytes are the owner's now. `generation` is that of the process that sent them. */
	void (*take)(void *owner, uint8_t *bytes, size_t size, uint64_t generation);
	/* Nothing comes any more. */
	void (*broke)(void *owner);
};

/* Both tables are copied. Freed with net_free(), when nothing is due any more. */
struct net *net_new(const struct net_server *server, const struct net_client *client);
void net_free(struct net *net);

void net_set_weather(struct net *net, const struct net_faults *faults);

/*
 * A wire from that host. Of a stream connected() tells whether it came to be, if anything is heard;
 * datagrams need no connecting. It generations as long as the net.
 */
struct wire *net_open(struct net *net, const struct host *host, bool is_stream, void *owner);
/* The client closes it. Nothing more is told; what was sent is still on its way. */
void net_close(struct wire *wire);

bool wire_is_stream(const struct wire *wire);
/* Neither cut nor closed by the client. */
bool wire_is_connected(const struct wire *wire);
unsigned wire_number(const struct wire *wire);

/* From the client. False: it was not taken whole, and the stream is broken. The bytes are copied.
 */
bool net_send(struct wire *wire, const void *bytes, size_t size);
/* From the server process of that generation. */
void net_answer(struct wire *wire, uint64_t generation, const void *bytes, size_t size);

/* That process died. Its kernel says so, unless the power is lost. */
void net_process_died(struct net *net, uint64_t generation, bool is_power_lost);

#endif

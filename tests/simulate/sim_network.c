/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_network.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

enum {
	RESEND_LEAST_MS = 200, /* what a kernel waits before it sends again */
	RESEND_MOST_MS = 1500,
	HOLD_STREAM_MS = 8000,
	HOLD_DATAGRAM_MS = 60000,
	REPEATS_MAX = 3,
	LATE_MS = 2000,
};

/* A message on its way. `bytes` NULL, over a stream: the end of it. */
struct packet {
	struct packet *next;
	struct wire *wire;
	uint8_t *bytes;
	size_t size;
	uint64_t generation; /* of the sender, if it is the server */
	uint64_t sent_ms;
	uint64_t due_ms;
	uint64_t order; /* of those sent this way */
	bool is_up;
};

/* One way of a wire. Of a stream: first come, first delivered. */
struct way {
	struct packet *first;
	struct packet **end;
	bool is_moving;	 /* the first one has its time */
	uint64_t due_ms; /* of the last one */
	uint64_t sent;
	uint64_t highest; /* order, of those delivered */
};

struct wire {
	struct wire *next;
	struct net *net;
	const struct host *host;
	void *owner; /* NULL: closed by the client */
	unsigned number;
	bool is_stream;
	bool is_void;	     /* what is on it gets nowhere */
	bool is_told;	     /* the client knows that it is broken */
	uint64_t generation; /* of a stream: the process that accepted it; 0: none yet */
	uint64_t boot;
	struct way up;
	struct way down;
};

struct net {
	struct net_server server;
	struct net_client client;
	struct net_faults faults;
	struct wire *wires;
	unsigned wire_count;
};

struct net *net_new(const struct net_server *server, const struct net_client *client) {
	struct net *net = or_die(calloc(1, sizeof(*net)));

	net->server = *server;
	net->client = *client;
	return net;
}

static void packet_free(struct packet *packet) {
	free(packet->bytes);
	free(packet);
}

static void empty(struct way *way) {
	while (way->first != NULL) {
		struct packet *packet = way->first;

		way->first = packet->next;
		packet_free(packet);
	}
	way->end = &way->first;
}

void net_free(struct net *net) {
	if (net == NULL)
		return;
	while (net->wires != NULL) {
		struct wire *wire = net->wires;

		net->wires = wire->next;
		empty(&wire->up);
		empty(&wire->down);
		free(wire);
	}
	free(net);
}

void net_set_weather(struct net *net, const struct net_faults *faults) {
	net->faults = *faults;
}

bool wire_is_connected(const struct wire *wire) {
	return wire->owner != NULL && !wire->is_void;
}

bool wire_is_stream(const struct wire *wire) {
	return wire->is_stream;
}

unsigned wire_number(const struct wire *wire) {
	return wire->number;
}

/* --- Chance ------------------------------------------------------------------------------------
 */

static bool happens(unsigned in_10000) {
	return in_10000 > 0 && prng_often(&sim()->prng, in_10000);
}

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

static uint64_t latency(const struct net *net) {
	return between(net->faults.least_ms, net->faults.most_ms);
}

static uint64_t now(void) {
	return sim()->now_ms;
}

/* --- Breaking ----------------------------------------------------------------------------------
 */

static void tell_broken(void *context, uint64_t number) {
	struct wire *wire = context;

	(void)number;
	if (wire->is_told || wire->owner == NULL)
		return;
	/* A reset gets lost like anything else, and it is not sent again. */
	if (wire->host->is_deaf || wire->host->is_dead)
		return;
	wire->is_told = true;
	sim_log("wire %u: client %u hears that it is broken", wire->number, wire->host->number);
	wire->net->client.broke(wire->owner);
}

static void tell_broken_soon(struct wire *wire) {
	sim_schedule(now() + latency(wire->net), tell_broken, wire, 0);
}

/* In the middle of whatever is on its way. */
static void cut(struct wire *wire) {
	sim()->figures.cuts++;
	wire->is_void = true;
	empty(&wire->up);
	empty(&wire->down);
	if (happens(7000))
		tell_broken_soon(wire);
}

void net_process_died(struct net *net, uint64_t generation, bool is_power_lost) {
	for (struct wire *wire = net->wires; wire != NULL; wire = wire->next) {
		struct packet *end;

		if (!wire->is_stream || wire->generation != generation || wire->is_void)
			continue;
		if (is_power_lost) {
			/* What had left goes on; what was only in its kernel is gone. */
			if (happens(5000))
				empty(&wire->down);
			continue;
		}
		end = or_die(calloc(1, sizeof(*end)));
		*end = (struct packet){.wire = wire, .sent_ms = now(), .due_ms = now()};
		*wire->down.end = end;
		wire->down.end = &end->next;
		if (!wire->down.is_moving)
			tell_broken_soon(wire);
	}
}

/* --- A stream ----------------------------------------------------------------------------------
 */

static void move(void *context, uint64_t is_up);

static void move_at(struct wire *wire, struct way *way, uint64_t at_ms) {
	way->is_moving = true;
	sim_schedule(at_ms, move, wire, way == &wire->up);
}

/* Nothing gets through: the sender's kernel tries again, and gives up at some time. */
static void try_later(struct wire *wire, struct way *way) {
	if (happens(300)) {
		cut(wire);
		return;
	}
	move_at(wire, way, now() + between(RESEND_LEAST_MS, RESEND_MOST_MS));
}

static bool is_shut(const struct wire *wire, bool is_up) {
	return is_up ? wire->host->is_mute : wire->host->is_deaf;
}

static void note_delivery(const struct packet *packet, struct way *way) {
	if (packet->order < way->highest)
		sim()->figures.overtaken++;
	else
		way->highest = packet->order;
	if (now() - packet->sent_ms > LATE_MS)
		sim()->figures.late++;
}

static void arrive_up(struct wire *wire, struct packet *packet) {
	struct net *net = wire->net;
	uint8_t *bytes = packet->bytes;

	note_delivery(packet, &wire->up);
	packet->bytes = NULL;
	net->server.take(net->server.context, wire, bytes, packet->size);
}

static void arrive_down(struct wire *wire, struct packet *packet) {
	struct net *net = wire->net;
	uint8_t *bytes = packet->bytes;

	note_delivery(packet, &wire->down);
	if (wire->owner == NULL || wire->host->is_dead)
		return;
	packet->bytes = NULL;
	net->client.take(wire->owner, bytes, packet->size, packet->generation);
}

static void deliver(struct wire *wire, struct way *way, bool is_up) {
	struct packet *packet = way->first;

	way->first = packet->next;
	if (way->first == NULL)
		way->end = &way->first;
	if (packet->bytes == NULL)
		tell_broken(wire, 0);
	else if (is_up)
		arrive_up(wire, packet);
	else
		arrive_down(wire, packet);
	packet_free(packet);
}

static void move(void *context, uint64_t is_up) {
	struct wire *wire = context;
	struct way *way = is_up ? &wire->up : &wire->down;
	const struct net_server *server = &wire->net->server;
	uint64_t boot = server->boot(server->context);

	way->is_moving = false;
	if (way->first == NULL)
		return;
	if (wire->is_void || (!is_up && boot != wire->boot && boot != 0)) {
		empty(way);
		return;
	}
	if (is_shut(wire, is_up != 0) || boot == 0) {
		try_later(wire, way);
		return;
	}
	if (is_up && server->generation(server->context) != wire->generation) {
		/* This connection is not known: a reset. */
		empty(way);
		tell_broken_soon(wire);
		return;
	}
	deliver(wire, way, is_up != 0);
	if (way->first != NULL && !way->is_moving)
		move_at(wire, way, way->first->due_ms);
}

static void knock(void *context, uint64_t is_answer) {
	struct wire *wire = context;
	struct net *net = wire->net;
	const struct net_server *server = &net->server;
	uint64_t boot = server->boot(server->context);

	if (wire->owner == NULL || wire->host->is_dead)
		return;
	if (is_shut(wire, is_answer == 0) || (!is_answer && boot == 0)) {
		sim_schedule(now() + between(RESEND_LEAST_MS, RESEND_MOST_MS), knock, wire,
			     is_answer);
		return;
	}
	if (is_answer) {
		net->client.connected(wire->owner, wire->generation == 0);
		return;
	}
	wire->boot = boot;
	wire->generation = server->generation(server->context);
	sim_schedule(now() + latency(net), knock, wire, 1);
}

struct wire *net_open(struct net *net, const struct host *host, bool is_stream, void *owner) {
	struct wire *wire = or_die(calloc(1, sizeof(*wire)));

	*wire = (struct wire){.next = net->wires,
			      .net = net,
			      .host = host,
			      .owner = owner,
			      .number = ++net->wire_count,
			      .is_stream = is_stream};
	wire->up.end = &wire->up.first;
	wire->down.end = &wire->down.first;
	net->wires = wire;
	sim()->figures.connects++;
	if (is_stream)
		sim_schedule(now() + latency(net), knock, wire, 0);
	return wire;
}

void net_close(struct wire *wire) {
	wire->owner = NULL;
}

/* --- Datagrams ---------------------------------------------------------------------------------
 */

static void land(void *context, uint64_t number) {
	struct packet *packet = context;
	struct wire *wire = packet->wire;
	const struct net_server *server = &wire->net->server;

	(void)number;
	if (is_shut(wire, packet->is_up) || (packet->is_up && server->boot(server->context) == 0))
		sim()->figures.lost++;
	else if (!packet->is_up)
		arrive_down(wire, packet);
	else if (server->generation(server->context) != 0)
		arrive_up(wire, packet);
	else if (happens(5000))
		tell_broken_soon(wire); /* no server listens there */
	packet_free(packet);
}

static struct packet *packet_of(struct wire *wire, struct way *way, const void *bytes,
				size_t size) {
	struct packet *packet = or_die(calloc(1, sizeof(*packet)));

	*packet = (struct packet){.wire = wire,
				  .bytes = or_die(malloc(size > 0 ? size : 1)),
				  .size = size,
				  .sent_ms = now(),
				  .is_up = way == &wire->up};
	memcpy(packet->bytes, bytes, size);
	return packet;
}

static void throw(struct packet * packet) {
	const struct net *net = packet->wire->net;
	uint64_t at_ms = now() + latency(net);

	if (happens(net->faults.lose)) {
		sim()->figures.lost++;
		packet_free(packet);
		return;
	}
	if (happens(net->faults.hold))
		at_ms += happens(8000) ? between(1, LATE_MS) : between(1, HOLD_DATAGRAM_MS);
	sim_schedule(at_ms, land, packet, 0);
}

/* --- Sending -----------------------------------------------------------------------------------
 */

static void put_on(struct wire *wire, struct way *way, const void *bytes, size_t size,
		   uint64_t generation) {
	const struct net_faults *faults = &wire->net->faults;
	struct packet *packet = packet_of(wire, way, bytes, size);

	packet->order = ++way->sent;
	packet->generation = generation;
	sim()->figures.messages++;
	if (!wire->is_stream) {
		for (unsigned i = 0; i < REPEATS_MAX && happens(faults->repeat); i++) {
			struct packet *copy = packet_of(wire, way, bytes, size);

			copy->order = packet->order;
			copy->generation = generation;
			sim()->figures.repeated++;
			throw(copy);
		}
		throw(packet);
		return;
	}
	packet->due_ms = now() + latency(wire->net);
	if (happens(faults->lose)) {
		sim()->figures.lost++;
		packet->due_ms += between(RESEND_LEAST_MS, RESEND_MOST_MS);
	}
	if (happens(faults->hold))
		packet->due_ms += between(1, HOLD_STREAM_MS);
	if (packet->due_ms < way->due_ms)
		packet->due_ms = way->due_ms;
	way->due_ms = packet->due_ms;
	*way->end = packet;
	way->end = &packet->next;
	if (!way->is_moving)
		move_at(wire, way, way->first->due_ms);
}

bool net_send(struct wire *wire, const void *bytes, size_t size) {
	if (wire->is_stream && happens(wire->net->faults.choke)) {
		cut(wire);
		return false;
	}
	/* The connection may break before, after, or while it is on its way. */
	if (wire->is_stream && happens(wire->net->faults.cut))
		cut(wire);
	if (wire->is_void)
		return true;
	put_on(wire, &wire->up, bytes, size, 0);
	if (wire->is_stream && happens(wire->net->faults.cut / 4))
		cut(wire);
	return true;
}

void net_answer(struct wire *wire, uint64_t generation, const void *bytes, size_t size) {
	if (wire->is_stream && happens(wire->net->faults.cut))
		cut(wire);
	if (!wire->is_void)
		put_on(wire, &wire->down, bytes, size, generation);
}

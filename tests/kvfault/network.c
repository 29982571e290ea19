/* SPDX-License-Identifier: BSD-3-Clause */
#include "network.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "event_heap.h"

enum {
	EVENTS_MAX = 64,
	/* Words of an RPC message (RFC 5531, 9). */
	XID_AT = 0,
	TYPE_AT = 4,
	PROCEDURE_AT = 20,
	CALL_TYPE = 0,
	UNKNOWN_PROCEDURE = 0x40, /* its first byte */
	/* Where a fault of the kernel's would show: nothing here waits so long. */
	IDLE_MS = 1000,
	CLOSED_MS = 100,
};

bool network_open(struct network *network, uint64_t seed) {
	*network = (struct network){.seed = seed};
	network->epoll = epoll_create1(EPOLL_CLOEXEC);
	return network->epoll >= 0;
}

bool network_watch(struct network *network, int fd, struct watch *watch, uint32_t events) {
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(network->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void network_change(struct network *network, int fd, struct watch *watch, uint32_t events) {
	struct epoll_event event = {.events = events, .data.ptr = watch};

	(void)epoll_ctl(network->epoll, EPOLL_CTL_MOD, fd, &event);
}

/* --- Doors ----------------------------------------------------------------------------------- */

/* Left open, it would be reported again at once, until a client closes. */
void network_accept_failed(struct network *network, int error, int fd, struct watch *watch) {
	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return;
	if (!network->has_said_closed)
		(void)fprintf(stderr,
			      "kvfault: cannot accept: %s: new clients wait (logged once)\n",
			      strerror(error));
	network->has_said_closed = true;
	network_change(network, fd, watch, 0);
	network->closed_doors[network->closed_door_count++] = (struct closed_door){fd, watch};
	network->opens_ms = clock_ms() + CLOSED_MS;
}

static void open_doors(struct network *network) {
	if (clock_ms() < network->opens_ms)
		return;
	while (network->closed_door_count > 0) {
		struct closed_door *door = &network->closed_doors[--network->closed_door_count];

		network_change(network, door->fd, door->watch, EPOLLIN);
	}
}

/* --- Parcels --------------------------------------------------------------------------------- */

static uint32_t word_at(struct kv_bytes message, size_t offset) {
	const uint8_t *at = (const uint8_t *)message.data + offset;

	if (message.size < offset + 4)
		return 0;
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool is_call(struct kv_bytes message) {
	return message.size >= PROCEDURE_AT + 4 && word_at(message, TYPE_AT) == CALL_TYPE;
}

/* Under a number that no server knows: it says so itself (PROC_UNAVAIL). */
static void hide_procedure(const struct network *network, struct parcel *parcel) {
	const struct kv_bytes message = {parcel->data, parcel->size};

	if (network->procedure_max != 0 && is_call(message) &&
	    word_at(message, PROCEDURE_AT) > network->procedure_max)
		parcel->data[PROCEDURE_AT] = UNKNOWN_PROCEDURE;
}

static struct parcel *make_parcel(struct link *link, enum direction direction,
				  struct kv_bytes message) {
	struct network *network = link->route->network;
	struct parcel *parcel;

	if (network->parcel_count == PARCELS_MAX)
		return NULL;
	parcel = malloc(sizeof *parcel + message.size);
	if (parcel == NULL)
		return NULL;
	*parcel = (struct parcel){.link = link,
				  .direction = direction,
				  .number = network->parcel_number++,
				  .size = message.size};
	if (message.size > 0)
		memcpy(parcel->data, message.data, message.size);
	if (direction == REQUESTS)
		hide_procedure(network, parcel);
	network->bytes += message.size;
	network->parcel_count++;
	link->parcels++;
	return parcel;
}

static void bury(struct link *link) {
	struct network *network = link->route->network;

	link->next = network->graves;
	network->graves = link;
}

static void free_parcel(struct parcel *parcel) {
	struct link *link = parcel->link;
	struct network *network = link->route->network;

	network->bytes -= parcel->size;
	network->parcel_count--;
	if (--link->parcels == 0 && link->is_closed)
		bury(link);
	free(parcel);
}

static bool is_cut_off(const struct parcel *parcel) {
	return parcel->link->route->rules.is_cut_off[parcel->direction];
}

static bool waits_behind_held(const struct parcel *parcel) {
	for (const struct parcel *held = parcel->link->route->held; held != NULL; held = held->next)
		if (held->link == parcel->link && held->direction == parcel->direction)
			return true;
	return false;
}

static void keep_back(struct parcel *parcel) {
	struct route *route = parcel->link->route;

	parcel->next = NULL;
	*route->held_end = parcel;
	route->held_end = &parcel->next;
}

/* A partition loses datagrams and keeps streams waiting. An end waits for what was sent before. */
static void arrive(struct parcel *parcel) {
	struct link *link = parcel->link;
	struct route *route = link->route;

	if (link->is_closed) {
		free_parcel(parcel);
	} else if (is_cut_off(parcel) && !route->is_stream) {
		route->counts[COUNT_LOST]++;
		free_parcel(parcel);
	} else if (is_cut_off(parcel) || (parcel->is_end && waits_behind_held(parcel))) {
		keep_back(parcel);
	} else {
		link->kind->deliver(link, parcel);
		free_parcel(parcel);
	}
}

static void send_parcel(struct parcel *parcel, const struct fate *fate, unsigned delay_ms) {
	struct link *link = parcel->link;
	uint64_t *last = &link->last_due_ms[parcel->direction];

	parcel->due_ms = clock_ms() + delay_ms;
	if (link->route->is_stream && !fate->may_overtake) {
		if (parcel->due_ms < *last)
			parcel->due_ms = *last;
		*last = parcel->due_ms;
	}
	if (!heap_add(link->route->network, parcel))
		free_parcel(parcel);
}

/* --- Messages -------------------------------------------------------------------------------- */

/* The procedure that a call names, and that an answer is of, by its xid. */
static int procedure_of(struct link *link, enum direction direction, struct kv_bytes message) {
	uint32_t xid = word_at(message, XID_AT);
	struct asked *asked = &link->asked[xid % ASKED_MAX];

	if (direction == REPLIES)
		return asked->xid == xid ? asked->procedure : PROCEDURE_ANY;
	if (!is_call(message))
		return PROCEDURE_ANY;
	*asked = (struct asked){xid, (int)(word_at(message, PROCEDURE_AT) & INT_MAX)};
	return asked->procedure;
}

static void count_fate(struct route *route, enum direction direction, const struct fate *fate) {
	uint64_t *counts = route->counts;

	counts[direction == REQUESTS ? COUNT_REQUESTS : COUNT_REPLIES]++;
	counts[COUNT_LOST] += fate->is_lost;
	if (fate->is_lost)
		return;
	counts[COUNT_HELD] += fate->is_held;
	counts[COUNT_REPEATED] += fate->copies;
	counts[COUNT_DELAYED] += fate->delay_ms > 0;
	counts[COUNT_REORDERED] += fate->may_overtake;
	counts[COUNT_CUT] += fate->is_cut && route->is_stream;
	counts[COUNT_FRAGMENTED] += fate->fragment > 0 && route->is_stream;
}

void link_carry(struct link *link, enum direction direction, struct kv_bytes message) {
	struct route *route = link->route;
	struct prng prng = rules_prng(route->network->seed, route->number, link->number, direction,
				      link->messages[direction]++);
	struct fate fate = rules_judge(&route->rules, &prng, direction,
				       procedure_of(link, direction, message), message.size);
	struct parcel *parcel;

	count_fate(route, direction, &fate);
	if (fate.is_lost)
		return;
	parcel = make_parcel(link, direction, message);
	if (parcel == NULL) {
		route->counts[COUNT_LOST]++;
		return;
	}
	if (fate.is_held) {
		parcel->is_ordered = true;
		keep_back(parcel);
		return;
	}
	parcel->is_cut = fate.is_cut && route->is_stream;
	parcel->cut_at = fate.cut_at;
	parcel->fragment = fate.fragment;
	send_parcel(parcel, &fate, fate.delay_ms);
	fate.may_overtake = true;
	for (unsigned i = 0; i < fate.copies; i++) {
		parcel = make_parcel(link, direction, message);
		if (parcel != NULL)
			send_parcel(parcel, &fate, fate.delay_ms + fate.copy_after_ms[i]);
	}
}

void link_carry_end(struct link *link, enum direction direction) {
	const struct fate in_order = {0};
	struct parcel *parcel = make_parcel(link, direction, (struct kv_bytes){NULL, 0});

	if (parcel == NULL) {
		link->kind->close(link, true);
		return;
	}
	parcel->is_end = true;
	send_parcel(parcel, &in_order, 0);
}

/* --- Links and routes ------------------------------------------------------------------------ */

bool link_open(struct link *link, struct route *route, const struct link_kind *kind) {
	if (route->network->link_count == LINKS_MAX)
		return false;
	route->network->link_count++;
	link->route = route;
	link->kind = kind;
	link->number = route->link_count++;
	link->next = route->links;
	route->links = link;
	return true;
}

void link_closed(struct link *link) {
	struct link **at = &link->route->links;

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	link->is_closed = true;
	link->route->network->link_count--;
	if (link->parcels == 0)
		bury(link);
}

/*
 * What is kept back arrives again, and is kept back once more if there still is a reason; of those
 * held by order only the oldest `count`. Answers how many of these went.
 */
static unsigned review_held(struct route *route, unsigned count, bool is_lost) {
	struct parcel *parcel = route->held;
	unsigned went = 0;

	route->held = NULL;
	route->held_end = &route->held;
	while (parcel != NULL) {
		struct parcel *next = parcel->next;

		if (parcel->is_ordered && went == count) {
			keep_back(parcel);
		} else if (parcel->is_ordered && is_lost) {
			route->counts[COUNT_LOST]++;
			went++;
			free_parcel(parcel);
		} else {
			went += parcel->is_ordered;
			parcel->is_ordered = false;
			arrive(parcel);
		}
		parcel = next;
	}
	return went;
}

unsigned route_held(const struct route *route) {
	unsigned count = 0;

	for (const struct parcel *held = route->held; held != NULL; held = held->next)
		count += !held->is_end;
	return count;
}

unsigned route_release(struct route *route, unsigned count, bool is_lost) {
	return review_held(route, count, is_lost);
}

void route_cut_off(struct route *route, enum direction direction, bool cut_off) {
	route->rules.is_cut_off[direction] = cut_off;
	if (!cut_off)
		(void)review_held(route, 0, false);
}

void route_cut_all(struct route *route) {
	struct link *next;

	for (struct link *link = route->links; link != NULL; link = next) {
		next = link->next;
		link->kind->close(link, true);
		route->counts[COUNT_CUT]++;
	}
}

/* --- The loop -------------------------------------------------------------------------------- */

static void deliver_due(struct network *network) {
	uint64_t now_ms = clock_ms();

	while (network->heap_size > 0 && network->heap[0]->due_ms <= now_ms)
		arrive(heap_take(network));
}

static void empty_graves(struct network *network) {
	while (network->graves != NULL) {
		struct link *link = network->graves;

		network->graves = link->next;
		free(link);
	}
}

/* Above the limit streams are not read, so that their senders have to wait. */
static void mind_limits(struct network *network) {
	bool is_full = network->bytes > BYTES_MAX || network->parcel_count > PARCELS_MAX / 2;

	if (is_full == network->is_full)
		return;
	network->is_full = is_full;
	for (size_t i = 0; i < network->route_count; i++)
		for (struct link *link = network->routes[i].links; link != NULL; link = link->next)
			link->kind->look(link);
}

static int wait_ms(const struct network *network) {
	uint64_t now_ms = clock_ms();
	uint64_t due_ms = now_ms + IDLE_MS;

	if (network->closed_door_count > 0 && network->opens_ms < due_ms)
		due_ms = network->opens_ms;
	if (network->heap_size > 0 && network->heap[0]->due_ms < due_ms)
		due_ms = network->heap[0]->due_ms;
	return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}

void network_run(struct network *network, int stop) {
	struct watch none = {NULL};

	if (!network_watch(network, stop, &none, EPOLLIN))
		return;
	while (!network->is_over) {
		struct epoll_event events[EVENTS_MAX];
		int count = epoll_wait(network->epoll, events, EVENTS_MAX, wait_ms(network));

		for (int i = 0; i < count; i++) {
			struct watch *watch = events[i].data.ptr;

			if (watch->ready == NULL)
				network->is_over = true;
			else
				watch->ready(watch, events[i].events);
		}
		if (count < 0 && errno != EINTR)
			break;
		open_doors(network);
		deliver_due(network);
		empty_graves(network);
		mind_limits(network);
	}
}

void network_close(struct network *network) {
	for (size_t i = 0; i < network->route_count; i++) {
		struct route *route = &network->routes[i];

		while (route->links != NULL)
			route->links->kind->close(route->links, false);
		(void)review_held(route, UINT_MAX, true);
		if (route->fd >= 0)
			(void)close(route->fd);
		if (route->listens.kind == ADDRESS_LOCAL)
			(void)unlink(route->listens.path);
	}
	while (network->heap_size > 0)
		free_parcel(heap_take(network));
	empty_graves(network);
	free(network->heap);
	(void)close(network->epoll);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "suite.h"

enum {
	PAIRS_MAX = 32,
	TICK_MS = 20,
	DATAGRAM_BOUND = 65536,
	BYTES_BEFORE_CUT = 4000, /* on average half of it */
	HELD_MAX = 4,
};

/* A number below `bound`. */
static unsigned draw(struct proxy *proxy, unsigned bound) {
	proxy->chance = proxy->chance * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(proxy->chance >> 33) % bound;
}

/* --- Streams ------------------------------------------------------------------------------- */

/* A client's connection and the server's, until so many bytes went through. */
struct pair {
	int ends[2];
	unsigned bytes_left;
};

static void cut(struct pair *pairs, size_t *count, size_t which) {
	for (int i = 0; i < 2; i++) {
		/* With a reset every other time, so that both kinds of end are met. */
		const struct linger at_once = {.l_onoff = which % 2 == 0, .l_linger = 0};
		(void)setsockopt(pairs[which].ends[i], SOL_SOCKET, SO_LINGER, &at_once,
				 sizeof at_once);
		(void)close(pairs[which].ends[i]);
	}
	pairs[which] = pairs[--*count];
}

/* Moves what has come; false: the pair is to be cut. */
static bool forward(struct proxy *proxy, struct pair *pair, int from) {
	char bytes[2048];
	ssize_t got = recv(pair->ends[from], bytes, sizeof bytes, MSG_DONTWAIT);

	if (got <= 0) {
		return false;
	}
	size_t size = (size_t)got;
	bool is_last = size >= pair->bytes_left;
	if (is_last) {
		size = pair->bytes_left;
		atomic_fetch_add(&proxy->faults, 1);
	}
	pair->bytes_left -= (unsigned)size;
	return send(pair->ends[1 - from], bytes, size, MSG_NOSIGNAL) == (ssize_t)size && !is_last;
}

static void *run_streams(void *context) {
	struct proxy *proxy = context;
	struct pair pairs[PAIRS_MAX];
	size_t count = 0;

	while (!atomic_load(&proxy->is_over)) {
		struct pollfd polled[1 + 2 * PAIRS_MAX] = {{.fd = proxy->fd, .events = POLLIN}};
		for (size_t i = 0; i < 2 * count; i++) {
			polled[1 + i] =
			    (struct pollfd){.fd = pairs[i / 2].ends[i % 2], .events = POLLIN};
		}
		(void)poll(polled, (nfds_t)(1 + 2 * count), TICK_MS);
		/* From the last one on, so that a cut moves none that is still to be looked at. */
		for (size_t i = count; i-- > 0;) {
			bool is_good = true;
			for (int from = 0; from < 2 && is_good; from++) {
				is_good = polled[1 + 2 * i + (size_t)from].revents == 0 ||
					  forward(proxy, &pairs[i], from);
			}
			if (!is_good) {
				cut(pairs, &count, i);
			}
		}
		if (polled[0].revents != 0 && count < PAIRS_MAX) {
			int client = accept4(proxy->fd, NULL, NULL, SOCK_CLOEXEC);
			int server = peer_connect(proxy->server, VIA_TCP);
			ck_assert(client >= 0 && server >= 0);
			pairs[count++] =
			    (struct pair){{client, server}, draw(proxy, BYTES_BEFORE_CUT)};
		}
	}
	while (count > 0) {
		cut(pairs, &count, 0);
	}
	return NULL;
}

/* --- Datagrams ----------------------------------------------------------------------------- */

/* A datagram that is held back until others overtook it. */
struct held {
	struct message message;
	bool is_call; /* from the client to the server */
};

/* The one client of a udp proxy, and the socket to the server on its behalf. */
struct relay {
	struct sockaddr_in client;
	int server;
	struct held held[HELD_MAX];
	size_t held_count;
};

static void deliver(struct proxy *proxy, struct relay *relay, const struct held *one) {
	/* What the kernel does not take is lost, as in any network. */
	if (one->is_call) {
		(void)send(relay->server, one->message.data, one->message.size, MSG_DONTWAIT);
	} else {
		(void)sendto(proxy->fd, one->message.data, one->message.size, MSG_DONTWAIT,
			     (struct sockaddr *)&relay->client, sizeof relay->client);
	}
}

/* Takes the datagram: most are delivered, some lost, repeated, or held back for a while. */
static void pass(struct proxy *proxy, struct relay *relay, struct held one) {
	unsigned fate = draw(proxy, 20);

	if (fate == 2 && relay->held_count < HELD_MAX) {
		atomic_fetch_add(&proxy->faults, 1);
		relay->held[relay->held_count++] = one;
		return;
	}
	if (fate == 0) {
		atomic_fetch_add(&proxy->faults, 1);
	} else {
		deliver(proxy, relay, &one);
	}
	if (fate == 1) {
		atomic_fetch_add(&proxy->faults, 1);
		deliver(proxy, relay, &one);
	}
	message_free(&one.message);
	if (relay->held_count > 0 && draw(proxy, 10) == 0) {
		one = relay->held[--relay->held_count];
		deliver(proxy, relay, &one);
		message_free(&one.message);
	}
}

static void *run_datagrams(void *context) {
	struct proxy *proxy = context;
	struct relay relay = {.server = peer_connect(proxy->server, VIA_UDP)};
	char *bytes = malloc(DATAGRAM_BOUND);

	ck_assert(bytes != NULL && relay.server >= 0);
	while (!atomic_load(&proxy->is_over)) {
		struct pollfd polled[2] = {{.fd = proxy->fd, .events = POLLIN},
					   {.fd = relay.server, .events = POLLIN}};
		(void)poll(polled, 2, TICK_MS);
		if (polled[0].revents != 0) {
			socklen_t size = sizeof relay.client;
			ssize_t got = recvfrom(proxy->fd, bytes, DATAGRAM_BOUND, MSG_DONTWAIT,
					       (struct sockaddr *)&relay.client, &size);
			if (got >= 0) {
				pass(proxy, &relay,
				     (struct held){message_copy(bytes, (size_t)got), true});
			}
		}
		if (polled[1].revents != 0) {
			ssize_t got = recv(relay.server, bytes, DATAGRAM_BOUND, MSG_DONTWAIT);
			if (got >= 0) {
				pass(proxy, &relay,
				     (struct held){message_copy(bytes, (size_t)got), false});
			}
		}
	}
	while (relay.held_count > 0) {
		message_free(&relay.held[--relay.held_count].message);
	}
	free(bytes);
	(void)close(relay.server);
	return NULL;
}

void proxy_start(struct proxy *proxy, const struct server *server, enum via via, uint64_t seed) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	bool is_stream = via == VIA_TCP;

	*proxy = (struct proxy){.server = server, .chance = seed};
	proxy->fd = socket(AF_INET, (is_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(proxy->fd, 0);
	ck_assert_int_eq(bind(proxy->fd, (struct sockaddr *)&address, size), 0);
	ck_assert(!is_stream || listen(proxy->fd, PAIRS_MAX) == 0);
	ck_assert_int_eq(getsockname(proxy->fd, (struct sockaddr *)&address, &size), 0);
	proxy->port = ntohs(address.sin_port);
	ck_assert_int_eq(
	    pthread_create(&proxy->thread, NULL, is_stream ? run_streams : run_datagrams, proxy),
	    0);
}

unsigned proxy_stop(struct proxy *proxy) {
	atomic_store(&proxy->is_over, true);
	ck_assert_int_eq(pthread_join(proxy->thread, NULL), 0);
	ck_assert_int_eq(close(proxy->fd), 0);
	return atomic_load(&proxy->faults);
}

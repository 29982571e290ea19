/* SPDX-License-Identifier: BSD-3-Clause */
#include "datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	DATAGRAM_SIZE_MAX = 65536,
	CLIENTS_MAX = 512, /* on a route; the one that was silent longest makes room */
};

struct client {
	struct link link; /* first: a link of a datagram route is a client */
	struct watch watch;
	int fd; /* to the server */
	struct sockaddr_storage address;
	socklen_t address_size;
	uint64_t last_heard; /* number of the parcel */
};

static struct client *client_of(struct link *link) {
	return (struct client *)link;
}

/* What the kernel does not take is lost, as in any network. */
static void deliver(struct link *link, const struct parcel *parcel) {
	struct client *client = client_of(link);

	if (parcel->direction == REQUESTS)
		(void)send(client->fd, parcel->data, parcel->size, MSG_DONTWAIT);
	else
		(void)sendto(link->route->fd, parcel->data, parcel->size, MSG_DONTWAIT,
			     (struct sockaddr *)&client->address, client->address_size);
}

static void close_client(struct link *link, bool with_reset) {
	(void)with_reset;
	(void)close(client_of(link)->fd);
	link_closed(link);
}

/* Datagrams are always read: a client that sends too many loses some. */
static void look(struct link *link) {
	(void)link;
}

static const struct link_kind datagrams = {.deliver = deliver, .close = close_client, .look = look};

static void on_reply(struct watch *watch, uint32_t events) {
	struct client *client = (struct client *)((char *)watch - offsetof(struct client, watch));
	uint8_t bytes[DATAGRAM_SIZE_MAX];
	ssize_t got;

	(void)events;
	if (client->link.is_closed)
		return;
	/* An error is news of a server that is away: its datagrams are lost. */
	while ((got = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0)
		link_carry(&client->link, REPLIES, (struct kv_bytes){bytes, (size_t)got});
}

static void make_room(struct route *route) {
	struct link *oldest = NULL;
	unsigned count = 0;

	for (struct link *link = route->links; link != NULL; link = link->next) {
		count++;
		if (oldest == NULL || client_of(link)->last_heard < client_of(oldest)->last_heard)
			oldest = link;
	}
	if (count >= CLIENTS_MAX)
		close_client(oldest, false);
}

static int call_server(const struct route *route) {
	const struct sockaddr *address = (const struct sockaddr *)&route->server_address;
	int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, address, route->server_address_size) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static struct client *add_client(struct route *route, const struct sockaddr_storage *address,
				 socklen_t size) {
	struct client *client = calloc(1, sizeof *client);

	make_room(route);
	if (client == NULL)
		return NULL;
	client->fd = call_server(route);
	if (client->fd < 0 || !link_open(&client->link, route, &datagrams)) {
		if (client->fd >= 0)
			(void)close(client->fd);
		free(client);
		return NULL;
	}
	client->watch.ready = on_reply;
	client->address = *address;
	client->address_size = size;
	if (!network_watch(route->network, client->fd, &client->watch, EPOLLIN)) {
		close_client(&client->link, false);
		return NULL;
	}
	return client;
}

static struct client *find_client(struct route *route, const struct sockaddr_storage *address,
				  socklen_t size) {
	for (struct link *link = route->links; link != NULL; link = link->next) {
		struct client *client = client_of(link);

		if (client->address_size == size && memcmp(&client->address, address, size) == 0)
			return client;
	}
	return add_client(route, address, size);
}

void datagrams_receive(struct route *route) {
	uint8_t bytes[DATAGRAM_SIZE_MAX];

	for (;;) {
		struct sockaddr_storage address = {0};
		socklen_t size = sizeof address;
		ssize_t got = recvfrom(route->fd, bytes, sizeof bytes, MSG_DONTWAIT,
				       (struct sockaddr *)&address, &size);
		struct client *client;

		if (got < 0)
			return;
		client = find_client(route, &address, size);
		if (client == NULL)
			continue;
		client->last_heard = route->network->parcel_number;
		link_carry(&client->link, REQUESTS, (struct kv_bytes){bytes, (size_t)got});
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

union place {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
};

/* The bytes of the address; 0: the host is no number. */
static socklen_t find_place(const struct address *server, union place *place) {
	*place = (union place){.any.sa_family = AF_UNIX};
	if (server->kind == ADDRESS_LOCAL) {
		memcpy(place->local.sun_path, server->path, strlen(server->path));
		return sizeof(place->local);
	}
	if (inet_pton(AF_INET, server->host, &place->v4.sin_addr) == 1) {
		place->v4.sin_family = AF_INET;
		place->v4.sin_port = htons(server->port);
		return sizeof(place->v4);
	}
	if (inet_pton(AF_INET6, server->host, &place->v6.sin6_addr) == 1) {
		place->v6.sin6_family = AF_INET6;
		place->v6.sin6_port = htons(server->port);
		return sizeof(place->v6);
	}
	return 0;
}

int connection_dial(const struct address *server) {
	char text[ADDRESS_TEXT_MAX];
	union place place;
	socklen_t size = find_place(server, &place);
	const int on = 1;
	int fd = -1;

	address_format(server, text);
	if (size == 0) {
		log_error("%s: give the host as a number, such as 127.0.0.1", text);
		return -1;
	}
	fd = socket(place.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &place.any, size) != 0) {
		log_error("%s: %s", text, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	/* A local socket has no such option, and needs none. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

bool connection_open(struct connection *connection, const struct options *options,
		     unsigned number) {
	*connection = (struct connection){
	    .protocol = options->protocol,
	    .fd = connection_dial(&options->server),
	    .number = number,
	    .kept = malloc(PROTOCOL_HEAD_MAX),
	    .lane_count = options->common.lanes,
	    .free_count = options->common.lanes,
	};
	if (connection->fd < 0)
		return false;
	if (connection->kept == NULL) {
		log_error("no memory for a connection");
		return false;
	}
	for (unsigned i = 0; i < connection->free_count; i++)
		connection->free_lanes[i] = connection->free_count - 1 - i;
	connection->state = options->protocol->open(&options->common, connection->fd);
	if (connection->state == NULL)
		return false;
	if (fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0) {
		log_error("a socket stays blocking: %s", strerror(errno));
		return false;
	}
	return true;
}

void connection_close(struct connection *connection) {
	if (connection->state != NULL)
		connection->protocol->close(connection->state);
	if (connection->fd >= 0)
		(void)close(connection->fd);
	outgoing_free(&connection->out);
	free(connection->kept);
	*connection = (struct connection){.fd = -1};
}

bool connection_call(struct connection *connection, const struct slot *call, uint64_t expected) {
	unsigned lane = connection->free_lanes[--connection->free_count];
	unsigned place = connection->order_first + connection->order_count++;
	struct request request = {
	    .work = call->work, .key = call->key, .lane = lane, .expected = expected};

	if (call->work == WORK_MODIFY)
		request.work = call->is_second ? WORK_PUT : WORK_GET;
	connection->lanes[lane] = *call;
	connection->order[place % PROTOCOL_LANES_MAX] = lane;
	return connection->protocol->encode(connection->state, &request, &connection->out);
}

/* The reply is here in full, or all of it that matters. */
static bool take_reply(struct connection *connection, struct reply *reply,
		       connection_reply *answered, void *context) {
	if (connection->order_count == 0) {
		log_error("a reply came to no call");
		return false;
	}
	if (connection->protocol->is_ordered)
		reply->lane = connection->order[connection->order_first];
	connection->order_first = (connection->order_first + 1) % PROTOCOL_LANES_MAX;
	connection->order_count--;
	if (reply->lane >= connection->lane_count) {
		log_error("a reply came to a call that was not made");
		return false;
	}
	struct slot call = connection->lanes[reply->lane];
	connection->free_lanes[connection->free_count++] = reply->lane;
	return answered(context, connection, &call, reply);
}

/* Takes every reply that begins in these bytes. */
static bool take_bytes(struct connection *connection, const uint8_t *bytes, size_t size,
		       connection_reply *answered, void *context) {
	while (size > 0) {
		struct reply reply = {.outcome = OUTCOME_DONE};
		enum decode_result decoding =
		    connection->protocol->decode(connection->state, bytes, size, &reply);
		if (decoding == DECODE_INVALID ||
		    (decoding == DECODE_MORE && size >= PROTOCOL_HEAD_MAX)) {
			log_error("the server sends what is no reply of %s",
				  connection->protocol->name);
			return false;
		}
		if (decoding == DECODE_MORE) {
			memcpy(connection->kept, bytes, size);
			connection->kept_size = size;
			return true;
		}
		if (reply.size > size) {
			/* Answered when its last byte is here. */
			connection->pending = reply;
			connection->skipped_size = reply.size - size;
			return true;
		}
		if (!take_reply(connection, &reply, answered, context))
			return false;
		bytes += reply.size;
		size -= reply.size;
	}
	return true;
}

bool connection_read(struct connection *connection, uint8_t *scratch, connection_reply *answered,
		     void *context) {
	size_t size = connection->kept_size;
	uint8_t *bytes = scratch;

	memcpy(scratch, connection->kept, size);
	ssize_t got = recv(connection->fd, scratch + size, CONNECTION_SCRATCH - size, 0);
	if (got <= 0) {
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		log_error("the server is gone: %s", got == 0 ? "it hung up" : strerror(errno));
		return false;
	}
	size += (size_t)got;
	connection->kept_size = 0;
	if (connection->skipped_size > 0) {
		size_t skipped = size < connection->skipped_size ? size : connection->skipped_size;
		connection->skipped_size -= skipped;
		bytes += skipped;
		size -= skipped;
		if (connection->skipped_size == 0 &&
		    !take_reply(connection, &connection->pending, answered, context))
			return false;
	}
	return take_bytes(connection, bytes, size, answered, context);
}

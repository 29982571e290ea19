/* SPDX-License-Identifier: BSD-3-Clause */
#include "route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include "datagram.h"
#include "stream.h"

enum { BACKLOG = 1024, PORT_TEXT = 8 };

__attribute__((format(printf, 2, 3))) static bool wrong(char error[ROUTE_ERROR_MAX],
							const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(error, ROUTE_ERROR_MAX, format, arguments);
	va_end(arguments);
	return false;
}

static bool resolve(const struct address *address, bool is_passive, struct sockaddr_storage *found,
		    socklen_t *size, char error[ROUTE_ERROR_MAX]) {
	struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | (is_passive ? AI_PASSIVE : 0),
				 .ai_socktype =
				     address->kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM};
	struct sockaddr_un *local = (struct sockaddr_un *)found;
	struct addrinfo *list = NULL;
	char port[PORT_TEXT];
	int code;

	*found = (struct sockaddr_storage){0};
	if (address->kind == ADDRESS_LOCAL) {
		local->sun_family = AF_UNIX;
		(void)snprintf(local->sun_path, sizeof local->sun_path, "%s", address->path);
		*size = sizeof *local;
		return true;
	}
	(void)snprintf(port, sizeof port, "%u", address->port);
	code = getaddrinfo(address->host, port, &hints, &list);
	if (code != 0)
		return wrong(error, "%s: %s", address->host, gai_strerror(code));
	memcpy(found, list->ai_addr, list->ai_addrlen);
	*size = list->ai_addrlen;
	freeaddrinfo(list);
	return true;
}

static void on_ready(struct watch *watch, uint32_t events) {
	struct route *route = (struct route *)((char *)watch - offsetof(struct route, watch));

	(void)events;
	if (route->is_stream)
		streams_accept(route);
	else
		datagrams_receive(route);
}

/* Clients must be told the port that the kernel chose. */
static void learn_port(struct route *route) {
	struct sockaddr_storage bound;
	socklen_t size = sizeof bound;

	if (getsockname(route->fd, (struct sockaddr *)&bound, &size) != 0)
		return;
	if (bound.ss_family == AF_INET)
		route->listens.port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
	else if (bound.ss_family == AF_INET6)
		route->listens.port = ntohs(((struct sockaddr_in6 *)&bound)->sin6_port);
}

static bool listen_at(struct route *route, char error[ROUTE_ERROR_MAX]) {
	int type = route->is_stream ? SOCK_STREAM : SOCK_DGRAM;
	char text[ADDRESS_TEXT_MAX];
	struct sockaddr_storage at;
	socklen_t size;
	const int on = 1;

	address_format(&route->listens, text);
	if (!resolve(&route->listens, true, &at, &size, error))
		return false;
	route->fd = socket(at.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (route->fd < 0)
		return wrong(error, "%s: no socket: %s", text, strerror(errno));
	if (route->is_stream)
		(void)setsockopt(route->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(route->fd, (struct sockaddr *)&at, size) != 0 ||
	    (route->is_stream && listen(route->fd, BACKLOG) != 0) ||
	    !network_watch(route->network, route->fd, &route->watch, EPOLLIN)) {
		(void)wrong(error, "%s: cannot listen there: %s", text, strerror(errno));
		(void)close(route->fd);
		route->fd = -1;
		return false;
	}
	learn_port(route);
	return true;
}

/* Its port must be known: kvfault asks no rpcbind. */
static bool read_server(const struct route *route, const char *text, struct address *server,
			char error[ROUTE_ERROR_MAX]) {
	const char *mistake = address_parse(text, server);

	if (mistake != NULL)
		return wrong(error, "%s: %s", text, mistake);
	if (route->is_stream == (server->kind == ADDRESS_UDP))
		return wrong(
		    error, "%s: a route leads from streams to streams, and from udp to udp", text);
	if (server->kind != ADDRESS_LOCAL && server->port == 0)
		return wrong(error, "%s: a server needs its port, as in tcp:%s:7000", server->host,
			     server->host);
	return true;
}

static bool lead_to(struct route *route, const struct address *server,
		    char error[ROUTE_ERROR_MAX]) {
	struct sockaddr_storage found;
	socklen_t size = 0;

	if (!resolve(server, false, &found, &size, error))
		return false;
	route->server_address = found;
	route->server_address_size = size;
	route->server = *server;
	route_cut_all(route);
	return true;
}

bool route_lead(struct route *route, const char *server, char error[ROUTE_ERROR_MAX]) {
	struct address address;

	return read_server(route, server, &address, error) && lead_to(route, &address, error);
}

static bool read_route(struct route *route, const char *text, struct address *server,
		       char error[ROUTE_ERROR_MAX]) {
	char listens[ADDRESS_TEXT_MAX];
	const char *equals = strchr(text, '=');
	const char *mistake;

	if (equals == NULL || (size_t)(equals - text) >= sizeof listens)
		return wrong(error,
			     "%s: write a route as LISTEN=SERVER, as in "
			     "tcp:127.0.0.1:0=tcp:127.0.0.1:7000",
			     text);
	memcpy(listens, text, (size_t)(equals - text));
	listens[equals - text] = '\0';
	mistake = address_parse(listens, &route->listens);
	if (mistake != NULL)
		return wrong(error, "%s: %s", listens, mistake);
	route->is_stream = route->listens.kind != ADDRESS_UDP;
	return read_server(route, equals + 1, server, error);
}

enum route_answer route_add(struct network *network, const char *text,
			    char error[ROUTE_ERROR_MAX]) {
	struct route *route = &network->routes[network->route_count];
	struct address server;

	if (network->route_count == ROUTES_MAX) {
		(void)wrong(error, "%s: at most %d routes", text, ROUTES_MAX);
		return ROUTE_MALFORMED;
	}
	*route = (struct route){
	    .network = network, .number = (unsigned)network->route_count + 1, .fd = -1};
	route->held_end = &route->held;
	route->watch.ready = on_ready;
	if (!read_route(route, text, &server, error))
		return ROUTE_MALFORMED;
	if (!lead_to(route, &server, error) || !listen_at(route, error))
		return ROUTE_FAILED;
	network->route_count++;
	return ROUTE_ADDED;
}

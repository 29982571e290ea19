/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "net/peer.h"
#include "net/stream.h"

enum {
	ACCEPTS_PER_TURN = 64, /* from one socket, so that it does not hold up the others */
	NOTSENT_BYTES_MAX = 256 * 1024, /* bytes that the kernel takes before it can send them */
	/* A peer that is not there any more is found within KEEPALIVE_TOTAL_MS. */
	KEEPALIVE_IDLE_S = 120,
	KEEPALIVE_INTERVAL_S = 20,
	KEEPALIVE_PROBES = 4,
	KEEPALIVE_TOTAL_MS = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES) * 1000,
};

/* Of a kvd that root starts without -l. */
static const char system_socket[] = "/run/kvd.sock";

/* --- Binding ------------------------------------------------------------------------------- */

static struct listener *listener_add(struct listeners *listeners, int fd,
				     const struct address *address) {
	struct listener *listener;

	if (listeners->count == LISTENERS_MAX) {
		log_error("more than %d addresses to listen at: name fewer with -l", LISTENERS_MAX);
		(void)close(fd);
		return NULL;
	}
	listener = &listeners->list[listeners->count++];
	memset(listener, 0, sizeof(*listener));
	listener->handler.fd = fd;
	listener->address = *address;
	listener->reserve_fd = -1;
	listener->sockaddr_size = sizeof(listener->sockaddr);
	(void)getsockname(fd, (struct sockaddr *)&listener->sockaddr, &listener->sockaddr_size);
	return listener;
}

static uint16_t *port_of(struct sockaddr_storage *sockaddr) {
	if (sockaddr->ss_family == AF_INET6)
		return &((struct sockaddr_in6 *)sockaddr)->sin6_port;
	return &((struct sockaddr_in *)sockaddr)->sin_port;
}

/* Writes the address that was bound over the one that was asked for. */
static void describe(struct listener *listener) {
	(void)getnameinfo((struct sockaddr *)&listener->sockaddr, listener->sockaddr_size,
			  listener->address.host, sizeof(listener->address.host), NULL, 0,
			  NI_NUMERICHOST);
	listener->address.port = ntohs(*port_of(&listener->sockaddr));
}

/* Connections inherit them. */
static bool set_tcp_options(int fd) {
	static const struct {
		int level, name, value;
	} options[] = {
	    {SOL_SOCKET, SO_REUSEADDR, 1}, /* old connections in TIME_WAIT do not keep the port */
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
	    {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
	    {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
	    {IPPROTO_TCP, TCP_USER_TIMEOUT, KEEPALIVE_TOTAL_MS}, /* replies not acknowledged */
	    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_BYTES_MAX},
	    {IPPROTO_TCP, TCP_NODELAY, 1},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			       sizeof(options[i].value)) != 0)
			return false;
	return true;
}

/* Binds one socket address; -1 with errno set. */
static int bind_at(enum address_kind kind, const struct sockaddr_storage *sockaddr,
		   socklen_t size) {
	int type = kind == ADDRESS_TCP ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(sockaddr->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;
	int error;

	if (fd < 0)
		return -1;
	if ((sockaddr->ss_family != AF_INET6 ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
	    (kind != ADDRESS_TCP || set_tcp_options(fd)) &&
	    bind(fd, (const struct sockaddr *)sockaddr, size) == 0 &&
	    (kind != ADDRESS_TCP || listen(fd, SOMAXCONN) == 0))
		return fd;
	error = errno;
	(void)close(fd);
	errno = error;
	return -1;
}

/* The port of the listener before, for one without a port of its own; 0 if there is none. */
static uint16_t shared_port(const struct listeners *listeners) {
	for (unsigned i = listeners->count; i > 0; i--)
		if (listeners->list[i - 1].address.kind != ADDRESS_LOCAL)
			return listeners->list[i - 1].address.port;
	return 0;
}

static bool open_sockaddr(struct listeners *listeners, const struct address *address,
			  struct sockaddr_storage *sockaddr, socklen_t size) {
	int fd = -1;
	struct listener *listener;

	*port_of(sockaddr) = htons(address->port != 0 ? address->port : shared_port(listeners));
	fd = bind_at(address->kind, sockaddr, size);
	if (fd < 0 && address->port == 0 && *port_of(sockaddr) != 0) {
		*port_of(sockaddr) = 0;
		fd = bind_at(address->kind, sockaddr, size);
	}
	if (fd < 0)
		return false;
	listener = listener_add(listeners, fd, address);
	if (listener == NULL)
		return false;
	describe(listener);
	return true;
}

static bool open_inet(struct listeners *listeners, const struct address *address,
		      bool is_optional) {
	struct addrinfo hints = {.ai_flags = AI_PASSIVE,
				 .ai_socktype = SOCK_STREAM}; /* each address once */
	struct addrinfo *found = NULL;
	char text[ADDRESS_TEXT_MAX];
	int error = getaddrinfo(address->host, NULL, &hints, &found);
	bool is_open = true;

	address_format(address, text);
	if (error != 0) {
		log_error("cannot listen at %s: %s (name an address of this machine)", text,
			  gai_strerror(error));
		return false;
	}
	for (struct addrinfo *one = found; one != NULL && is_open; one = one->ai_next) {
		struct sockaddr_storage sockaddr;

		memset(&sockaddr, 0, sizeof(sockaddr));
		memcpy(&sockaddr, one->ai_addr, one->ai_addrlen);
		is_open = open_sockaddr(listeners, address, &sockaddr, one->ai_addrlen);
	}
	freeaddrinfo(found);
	if (is_open)
		return true;
	if (is_optional && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT)) {
		log_verbose("not listening at %s: %s", text, strerror(errno));
		return true;
	}
	log_error("cannot listen at %s: %s%s", text, strerror(errno),
		  errno == EADDRINUSE
		      ? " (another program has this port: choose another; ss -tuanp "
			"shows it)"
		  : errno == EACCES	   ? " (ports below 1024 are root's: choose another)"
		  : errno == EADDRNOTAVAIL ? " (this machine does not have that address)"
		  : errno == EINVAL ? " (a link-local address needs its zone: tcp:[fe80::1%eth0])"
				    : "");
	return false;
}

/* --- Local sockets ------------------------------------------------------------------------- */

static bool add_local(struct listeners *listeners, const struct address *address) {
	struct local_socket local;
	struct listener *listener;

	if (!local_socket_open(&local, address->path))
		return false;
	listener = listener_add(listeners, local.fd, address);
	if (listener == NULL)
		(void)local_socket_unlink(&local, address->path);
	else
		listener->local = local;
	return listener != NULL;
}

static bool open_local(struct listeners *listeners, const struct address *address) {
	sigset_t all, before;
	bool is_open;

	/* A signal finds the socket in the list, or finds none: listeners_unlink_sockets(). */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	is_open = add_local(listeners, address);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return is_open;
}

static void unlink_socket(struct listener *listener) {
	if (listener->address.kind == ADDRESS_LOCAL &&
	    !local_socket_unlink(&listener->local, listener->address.path))
		log_verbose("%s stays: it is another server's now", listener->address.path);
}

void listeners_unlink_sockets(const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct local_socket local = listeners->list[i].local;

		if (listeners->list[i].address.kind == ADDRESS_LOCAL)
			(void)local_socket_unlink(&local, listeners->list[i].address.path);
	}
}

/* --- All of them --------------------------------------------------------------------------- */

bool listeners_open(struct listeners *listeners, const struct address *addresses, unsigned count) {
	memset(listeners, 0, sizeof(*listeners));
	listeners->accept_timer.fd = -1;
	for (unsigned i = 0; i < count; i++) {
		if (addresses[i].kind == ADDRESS_LOCAL ? open_local(listeners, &addresses[i])
						       : open_inet(listeners, &addresses[i], false))
			continue;
		listeners_close(listeners);
		return false;
	}
	return true;
}

/* False if this user has no directory for a local socket. */
static bool default_socket(struct address *address) {
	const char *directory = getenv("XDG_RUNTIME_DIR");
	int size;

	memset(address, 0, sizeof(*address));
	address->kind = ADDRESS_LOCAL;
	if (geteuid() == 0)
		size = snprintf(address->path, sizeof(address->path), "%s", system_socket);
	else if (directory != NULL && directory[0] == '/')
		size = snprintf(address->path, sizeof(address->path), "%s/kvd.sock", directory);
	else
		return false;
	return size < (int)sizeof(address->path);
}

bool listeners_open_default(struct listeners *listeners) {
	static const struct address inet[] = {
	    {.kind = ADDRESS_TCP, .host = "127.0.0.1"},
	    {.kind = ADDRESS_UDP, .host = "127.0.0.1"},
	    {.kind = ADDRESS_TCP, .host = "::1"},
	    {.kind = ADDRESS_UDP, .host = "::1"},
	};
	struct address local;
	bool is_open = true;

	memset(listeners, 0, sizeof(*listeners));
	listeners->accept_timer.fd = -1;
	for (unsigned i = 0; i < sizeof(inet) / sizeof(inet[0]) && is_open; i++)
		is_open = open_inet(listeners, &inet[i], true);
	if (is_open && default_socket(&local))
		is_open = open_local(listeners, &local);
	else if (is_open)
		log_verbose(
		    "no local socket: XDG_RUNTIME_DIR is not set (-l local:PATH names one)");
	if (!is_open)
		listeners_close(listeners);
	return is_open;
}

/* --- Accepting ----------------------------------------------------------------------------- */

static void set_events(struct listeners *listeners, uint32_t events) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct epoll_event event = {.events = events, .data.ptr = &listener->handler};

		if (listener->streams != NULL)
			(void)epoll_ctl(listeners->epoll, EPOLL_CTL_MOD, listener->handler.fd,
					&event);
	}
}

/*
 * The machine has no memory or descriptors for another connection. Those that wait in the queue
 * would wake the event loop at once again, so it does not look at the queue for a while.
 */
static void pause_accepting(struct listeners *listeners) {
	const struct itimerspec when = {.it_value.tv_nsec = ACCEPT_BACKOFF_MS * 1000000};

	if (timerfd_settime(listeners->accept_timer.fd, 0, &when, NULL) == 0)
		set_events(listeners, 0);
}

static void accept_again(struct event_handler *handler, uint32_t events) {
	struct listeners *listeners =
	    (struct listeners *)(void *)((char *)handler -
					 offsetof(struct listeners, accept_timer));
	uint64_t times;

	(void)events;
	if (read(handler->fd, &times, sizeof(times)) == sizeof(times))
		set_events(listeners, EPOLLIN);
}

static void warn(struct listener *listener) {
	char more[LOG_LIMIT_TEXT_MAX];
	int error = errno;

	if (log_limit_allows(&listener->all->warnings, clock_ms(), more))
		log_warn("cannot accept connections: %s (%s)%s", strerror(error),
			 error == EMFILE || error == ENFILE
			     ? "raise ulimit -n, or lower --max-connections"
			     : "the machine is short of memory",
			 more);
}

/*
 * No descriptor is left, though the limits were set so that some are: accepts with the reserved one
 * and closes at once, so that the client learns of it now. False if not even that is possible.
 */
static bool reject_one(struct listener *listener) {
	int fd;

	if (listener->reserve_fd >= 0)
		(void)close(listener->reserve_fd);
	fd = accept4(listener->handler.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		(void)close(fd);
	listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

/* Returns whether there may be more to accept now. */
static bool accept_failed(struct listener *listener) {
	switch (errno) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
		warn(listener);
		if (reject_one(listener))
			return false;
		break;
	case ECONNABORTED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EINTR:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EPERM:
	case EPROTO:
		/* One connection broke before it was accepted: accept(2). */
		return true;
	default:
		/* ENOBUFS, ENOMEM */
		warn(listener);
		break;
	}
	pause_accepting(listener->all);
	return false;
}

static void listener_ready(struct event_handler *handler, uint32_t events) {
	struct listener *listener = (struct listener *)(void *)handler;
	bool has_more = true;

	(void)events;
	for (int count = 0; has_more && count < ACCEPTS_PER_TURN; count++) {
		struct peer_name peer = {.kind = listener->address.kind};
		socklen_t size = sizeof(peer.address);
		int fd = accept4(handler->fd, (struct sockaddr *)(void *)&peer.address, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			has_more = accept_failed(listener);
			continue;
		}
		if (peer.kind == ADDRESS_LOCAL)
			peer = peer_name_local(fd);
		streams_add(listener->streams, fd, &peer);
	}
}

static bool watch_accept_timer(struct listeners *listeners) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners->accept_timer};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	listeners->accept_timer = (struct event_handler){.fd = fd, .ready = accept_again};
	return fd >= 0 && epoll_ctl(listeners->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool listeners_serve(struct listeners *listeners, int epoll, struct streams *streams) {
	listeners->epoll = epoll;
	if (!watch_accept_timer(listeners)) {
		log_error("cannot make a timer: %s (raise ulimit -n)", strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->handler};

		if (listener->address.kind == ADDRESS_UDP)
			continue;
		listener->handler.ready = listener_ready;
		listener->all = listeners;
		listener->streams = streams;
		listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (listener->reserve_fd < 0 ||
		    epoll_ctl(epoll, EPOLL_CTL_ADD, listener->handler.fd, &event) != 0) {
			log_error("cannot watch a listening socket: %s (raise ulimit -n)",
				  strerror(errno));
			return false;
		}
	}
	return true;
}

void listeners_shutdown(struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		unlink_socket(&listeners->list[i]);
		if (listeners->list[i].address.kind != ADDRESS_UDP)
			(void)shutdown(listeners->list[i].handler.fd, SHUT_RDWR);
	}
}

void listeners_close(struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];

		unlink_socket(listener);
		if (listener->handler.fd >= 0)
			(void)close(listener->handler.fd);
		if (listener->reserve_fd >= 0)
			(void)close(listener->reserve_fd);
	}
	if (listeners->accept_timer.fd >= 0)
		(void)close(listeners->accept_timer.fd);
	listeners->accept_timer.fd = -1;
	listeners->count = 0;
}

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
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "net/stream.h"

enum {
	ACCEPTS_A_TURN = 64, /* from one socket, so that the others have theirs */
};

/* Where a user other than root may have no place for it. */
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
	listener->watch.fd = fd;
	listener->address = *address;
	listener->spare = -1;
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

/*
 * Binds one socket address; -1 with errno set. A port that others take is theirs to keep.
 * Connections inherit the options: kept alive, so that peers that vanished do not fill the house.
 */
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
	    (kind != ADDRESS_TCP ||
	     (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0 &&
	      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0)) &&
	    bind(fd, (const struct sockaddr *)sockaddr, size) == 0 &&
	    (kind != ADDRESS_TCP || listen(fd, SOMAXCONN) == 0))
		return fd;
	error = errno;
	(void)close(fd);
	errno = error;
	return -1;
}

/* The port that an earlier listener got, if it was not named: 0 if there is none. */
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
	bool opened = true;

	address_format(address, text);
	if (error != 0) {
		log_error("cannot listen at %s: %s (name an address of this machine)", text,
			  gai_strerror(error));
		return false;
	}
	for (struct addrinfo *one = found; one != NULL && opened; one = one->ai_next) {
		struct sockaddr_storage sockaddr;

		memset(&sockaddr, 0, sizeof(sockaddr));
		memcpy(&sockaddr, one->ai_addr, one->ai_addrlen);
		opened = open_sockaddr(listeners, address, &sockaddr, one->ai_addrlen);
	}
	freeaddrinfo(found);
	if (opened)
		return true;
	if (is_optional && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT)) {
		log_verbose("not listening at %s: %s", text, strerror(errno));
		return true;
	}
	log_error("cannot listen at %s: %s%s", text, strerror(errno),
		  errno == EADDRINUSE	   ? " (another program has this port: choose another)"
		  : errno == EACCES	   ? " (ports below 1024 are root's: choose another)"
		  : errno == EADDRNOTAVAIL ? " (this machine does not have that address)"
		  : errno == EINVAL ? " (a link-local address needs its zone: tcp:[fe80::1%eth0])"
				    : "");
	return false;
}

/* --- Local sockets ------------------------------------------------------------------------- */

/* What stands at the path. */
enum occupant { OCCUPANT_NONE, OCCUPANT_DEAD, OCCUPANT_ALIVE, OCCUPANT_OTHER };

static enum occupant look_at(const struct sockaddr_un *sockaddr) {
	struct stat status;
	enum occupant occupant = OCCUPANT_OTHER;
	int fd;

	if (lstat(sockaddr->sun_path, &status) != 0)
		return OCCUPANT_NONE;
	if (!S_ISSOCK(status.st_mode))
		return OCCUPANT_OTHER;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return OCCUPANT_OTHER;
	/* A full queue (EAGAIN) has somebody behind it too. */
	if (connect(fd, (const struct sockaddr *)sockaddr, sizeof(*sockaddr)) == 0 ||
	    errno == EAGAIN)
		occupant = OCCUPANT_ALIVE;
	else if (errno == ECONNREFUSED)
		occupant = OCCUPANT_DEAD;
	(void)close(fd);
	return occupant;
}

static bool make_way(const struct sockaddr_un *sockaddr) {
	switch (look_at(sockaddr)) {
	case OCCUPANT_NONE:
		return true;
	case OCCUPANT_DEAD:
		log_verbose("removing %s, left by a server that is gone", sockaddr->sun_path);
		if (unlink(sockaddr->sun_path) == 0 || errno == ENOENT)
			return true;
		log_error("cannot remove the stale socket %s: %s", sockaddr->sun_path,
			  strerror(errno));
		return false;
	case OCCUPANT_ALIVE:
		log_error("cannot listen at local:%s: another server listens there (stop it, or "
			  "choose another path with -l)",
			  sockaddr->sun_path);
		return false;
	case OCCUPANT_OTHER:
		log_error("cannot listen at local:%s: something that is no server's socket, or not "
			  "yours, is there (choose another path with -l)",
			  sockaddr->sun_path);
		return false;
	}
	return false;
}

/* As with the ports on loopback, every user of the machine may connect. */
static bool bind_local(struct listeners *listeners, const struct address *address,
		       const struct sockaddr_un *sockaddr) {
	struct listener *listener;
	struct stat status;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)sockaddr, sizeof(*sockaddr)) == 0;

	if (!bound || chmod(sockaddr->sun_path, 0666) != 0 || listen(fd, SOMAXCONN) != 0) {
		log_error("cannot listen at local:%s: %s (choose another path with -l)",
			  address->path, strerror(errno));
		if (bound)
			(void)unlink(sockaddr->sun_path);
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	listener = listener_add(listeners, fd, address);
	if (listener == NULL)
		(void)unlink(sockaddr->sun_path);
	else if (lstat(sockaddr->sun_path, &status) == 0) {
		listener->device = status.st_dev;
		listener->inode = status.st_ino;
	}
	return listener != NULL;
}

static bool open_local(struct listeners *listeners, const struct address *address) {
	struct sockaddr_un sockaddr = {.sun_family = AF_UNIX};
	sigset_t all, before;
	bool opened;

	(void)snprintf(sockaddr.sun_path, sizeof(sockaddr.sun_path), "%s", address->path);
	if (!make_way(&sockaddr))
		return false;
	/* A signal finds the socket and knows whose it is, or finds none: listeners_unlink_sockets(). */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	opened = bind_local(listeners, address, &sockaddr);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return opened;
}

/* False: the path leads to another socket. That of another server, which is left alone. */
static bool remove_local(const struct listener *listener) {
	const char *path = listener->address.path;
	struct stat status;

	if (lstat(path, &status) != 0)
		return true;
	if (status.st_dev != listener->device || status.st_ino != listener->inode)
		return false;
	(void)unlink(path);
	return true;
}

void listeners_unlink_sockets(const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++)
		if (listeners->list[i].address.kind == ADDRESS_LOCAL)
			(void)remove_local(&listeners->list[i]);
}

/* --- All of them --------------------------------------------------------------------------- */

bool listeners_open(struct listeners *listeners, const struct address *addresses, unsigned count) {
	memset(listeners, 0, sizeof(*listeners));
	listeners->rest.fd = -1;
	for (unsigned i = 0; i < count; i++) {
		if (addresses[i].kind == ADDRESS_LOCAL ? open_local(listeners, &addresses[i])
						       : open_inet(listeners, &addresses[i], false))
			continue;
		listeners_close(listeners);
		return false;
	}
	return true;
}

/* False: there is no place for a local socket of this user. */
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
	bool opened = true;

	memset(listeners, 0, sizeof(*listeners));
	listeners->rest.fd = -1;
	for (unsigned i = 0; i < sizeof(inet) / sizeof(inet[0]) && opened; i++)
		opened = open_inet(listeners, &inet[i], true);
	if (opened && default_socket(&local))
		opened = open_local(listeners, &local);
	else if (opened)
		log_verbose("no local socket: XDG_RUNTIME_DIR is not set (-l local:PATH names one)");
	if (!opened)
		listeners_close(listeners);
	return opened;
}

/* --- Accepting ----------------------------------------------------------------------------- */

static void watch_all(struct listeners *listeners, uint32_t events) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct epoll_event event = {.events = events, .data.ptr = &listener->watch};

		if (listener->streams != NULL)
			(void)epoll_ctl(listeners->epoll, EPOLL_CTL_MOD, listener->watch.fd,
					&event);
	}
}

/*
 * The machine has nothing left to make a connection of. Whoever waits goes on waiting, and would
 * wake the turn at once again: so nobody is looked at for a while.
 */
static void rest(struct listeners *listeners) {
	const struct itimerspec when = {.it_value.tv_nsec = ACCEPT_BACKOFF_MS * 1000000};

	if (timerfd_settime(listeners->rest.fd, 0, &when, NULL) == 0)
		watch_all(listeners, 0);
}

static void rest_is_over(struct watch *watch, uint32_t events) {
	struct listeners *listeners =
	    (struct listeners *)(void *)((char *)watch - offsetof(struct listeners, rest));
	uint64_t times;

	(void)events;
	if (read(watch->fd, &times, sizeof(times)) == sizeof(times))
		watch_all(listeners, EPOLLIN);
}

static void warn_once(struct listener *listener) {
	if (!listener->has_warned)
		log_warn("cannot accept: %s (said once)", strerror(errno));
	listener->has_warned = true;
}

/*
 * No descriptor is left, though the limits were set so that some are: accept with the spare one and
 * close at once, so that the newcomer hears of it and the turn does not spin. False: not even that.
 */
static bool turn_away(struct listener *listener) {
	int fd;

	if (listener->spare >= 0)
		(void)close(listener->spare);
	fd = accept4(listener->watch.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		(void)close(fd);
	listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

/* Answers whether there may be more to accept now. */
static bool accept_failed(struct listener *listener) {
	switch (errno) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
		warn_once(listener);
		if (turn_away(listener))
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
		warn_once(listener);
		break;
	}
	rest(listener->all);
	return false;
}

static void listener_ready(struct watch *watch, uint32_t events) {
	struct listener *listener = (struct listener *)(void *)watch;
	bool is_tcp = listener->address.kind == ADDRESS_TCP;
	bool has_more = true;

	(void)events;
	for (int count = 0; has_more && count < ACCEPTS_A_TURN; count++) {
		int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			streams_add(listener->streams, fd, is_tcp ? "tcp" : "local");
		else
			has_more = accept_failed(listener);
	}
}

static bool watch_rest(struct listeners *listeners) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners->rest};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	listeners->rest = (struct watch){.fd = fd, .ready = rest_is_over};
	return fd >= 0 && epoll_ctl(listeners->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool listeners_serve(struct listeners *listeners, int epoll, struct streams *streams) {
	listeners->epoll = epoll;
	if (!watch_rest(listeners)) {
		log_error("cannot make a timer: %s", strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->watch};

		if (listener->address.kind == ADDRESS_UDP)
			continue;
		listener->watch.ready = listener_ready;
		listener->all = listeners;
		listener->streams = streams;
		listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (listener->spare < 0 ||
		    epoll_ctl(epoll, EPOLL_CTL_ADD, listener->watch.fd, &event) != 0) {
			log_error("cannot watch a listening socket: %s", strerror(errno));
			return false;
		}
	}
	return true;
}

void listeners_shutdown(struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++)
		if (listeners->list[i].address.kind != ADDRESS_UDP)
			(void)shutdown(listeners->list[i].watch.fd, SHUT_RDWR);
}

void listeners_close(struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->list[i];

		if (listener->address.kind == ADDRESS_LOCAL && !remove_local(listener))
			log_verbose("%s stays: it is another server's now", listener->address.path);
		if (listener->watch.fd >= 0)
			(void)close(listener->watch.fd);
		if (listener->spare >= 0)
			(void)close(listener->spare);
	}
	if (listeners->rest.fd >= 0)
		(void)close(listeners->rest.fd);
	listeners->rest.fd = -1;
	listeners->count = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "record_marking.h"

enum {
	CLIENT,
	SERVER,
	ENDS,
	READ_SIZE = 65536,
	/* What may wait for a peer that does not read before its other side is not read either. */
	OUT_PAUSE = 1024 * 1024,
};

/* Bytes that the kernel did not take yet. */
struct out {
	uint8_t *data;
	size_t size, sent, capacity;
};

/* One end of a pair. */
struct end {
	struct watch watch;
	struct pair *pair;
	int fd;
	bool is_connecting;
	bool has_ended;	  /* it says no more */
	bool was_told;	  /* that the other one says no more, or it does not listen any more */
	bool is_cut_next; /* once `out` is sent the pair ends */
	bool with_reset;
	bool is_unwatched;
	uint32_t events; /* that are waited for */
	struct record record;
	struct out out;
};

struct pair {
	struct link link; /* first: a link of a stream is a pair */
	struct end ends[ENDS];
};

static struct pair *pair_of(struct link *link) {
	return (struct pair *)link;
}

static void close_pair(struct link *link, bool with_reset) {
	struct pair *pair = pair_of(link);

	for (int i = 0; i < ENDS; i++) {
		struct end *end = &pair->ends[i];
		const struct linger at_once = {.l_onoff = 1};

		if (with_reset)
			(void)setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		(void)close(end->fd);
		record_reset(&end->record);
		free(end->out.data);
		end->out = (struct out){0};
	}
	link_closed(link);
}

static void look(struct end *end) {
	struct network *network = end->pair->link.route->network;
	const struct end *other = &end->pair->ends[end == &end->pair->ends[CLIENT]];
	bool is_slow = other->out.size - other->out.sent > OUT_PAUSE;
	uint32_t events = 0;

	if (!end->has_ended && !network->is_full && !is_slow)
		events |= EPOLLIN;
	if (end->is_connecting || end->out.size > end->out.sent)
		events |= EPOLLOUT;
	if (end->is_unwatched)
		return;
	/* An end that hung up both ways would be told again and again. */
	if (events == 0 && end->has_ended && end->was_told) {
		end->is_unwatched = true;
		(void)epoll_ctl(network->epoll, EPOLL_CTL_DEL, end->fd, NULL);
	} else if (events != end->events) {
		network_change(network, end->fd, &end->watch, events);
	}
	end->events = events;
}

static void look_at_pair(struct link *link) {
	for (int i = 0; i < ENDS; i++)
		look(&pair_of(link)->ends[i]);
}

/* --- Out ---------------------------------------------------------------------------------------
 */

static bool append(struct out *out, const void *data, size_t size) {
	if (out->size + size > out->capacity) {
		size_t capacity = out->size + size;
		uint8_t *grown;

		if (out->sent > 0) {
			memmove(out->data, out->data + out->sent, out->size - out->sent);
			out->size -= out->sent;
			out->sent = 0;
			capacity = out->size + size;
		}
		grown = realloc(out->data, capacity);
		if (grown == NULL)
			return false;
		out->data = grown;
		out->capacity = capacity;
	}
	if (size > 0)
		memcpy(out->data + out->size, data, size);
	out->size += size;
	return true;
}

/* It does not listen any more: what it is still owed goes nowhere. */
static void give_up(struct end *end) {
	end->was_told = true;
	end->out.size = end->out.sent = 0;
}

/* Closes the pair if all was said and told both ways; true: it is gone. */
static bool settle(struct pair *pair) {
	bool is_over = true;

	for (int i = 0; i < ENDS; i++)
		is_over &= pair->ends[i].was_told && pair->ends[i].out.size == 0;
	if (is_over)
		close_pair(&pair->link, false);
	else
		look_at_pair(&pair->link);
	return is_over;
}

/* Sends what waits; true: the pair is gone. */
static bool flush(struct end *end) {
	struct out *out = &end->out;

	while (!end->is_connecting && out->sent < out->size) {
		ssize_t sent = send(end->fd, out->data + out->sent, out->size - out->sent,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent > 0) {
			out->sent += (size_t)sent;
		} else if (errno == EAGAIN || errno == EINTR) {
			break;
		} else {
			give_up(end);
		}
	}
	if (out->sent < out->size)
		return settle(end->pair);
	out->size = out->sent = 0;
	if (end->is_cut_next) {
		close_pair(&end->pair->link, end->with_reset);
		return true;
	}
	if (end->was_told && !end->is_connecting)
		(void)shutdown(end->fd, SHUT_WR);
	return settle(end->pair);
}

static bool put_fragment(struct out *out, const uint8_t *data, size_t size, bool is_last) {
	uint8_t mark[RECORD_MARK_SIZE];

	record_mark(mark, size);
	if (!is_last)
		mark[0] &= 0x7f;
	return append(out, mark, sizeof mark) && append(out, data, size);
}

static bool put_record(struct out *out, const struct parcel *parcel) {
	size_t most = parcel->fragment > 0 ? parcel->fragment : parcel->size;
	size_t done = 0;

	for (;;) {
		size_t size = parcel->size - done < most ? parcel->size - done : most;
		bool is_last = done + size == parcel->size;

		if (!put_fragment(out, parcel->data + done, size, is_last))
			return false;
		done += size;
		if (is_last)
			return true;
	}
}

static void deliver(struct link *link, const struct parcel *parcel) {
	struct end *end = &pair_of(link)->ends[parcel->direction == REQUESTS ? SERVER : CLIENT];
	size_t before = end->out.size - end->out.sent;

	if (end->was_told || end->is_cut_next)
		return;
	if (parcel->is_end) {
		end->was_told = true;
	} else if (!put_record(&end->out, parcel)) {
		close_pair(link, true);
		return;
	}
	if (parcel->is_cut && end->out.size - end->out.sent - before > parcel->cut_at)
		end->out.size = end->out.sent + before + parcel->cut_at;
	end->is_cut_next = parcel->is_cut;
	/* Both kinds of end are met. */
	end->with_reset = parcel->cut_at % 2 == 0;
	(void)flush(end);
}

/* --- In ----------------------------------------------------------------------------------------
 */

static enum direction says(const struct end *end) {
	return end == &end->pair->ends[CLIENT] ? REQUESTS : REPLIES;
}

/* False: what comes are no records. */
static bool take(struct end *end, const uint8_t *bytes, size_t size) {
	for (;;) {
		struct kv_bytes whole;

		switch (record_feed(&end->record, &bytes, &size, MESSAGE_MAX, &whole)) {
		case RECORD_MORE:
			return true;
		case RECORD_COMPLETE:
			link_carry(&end->pair->link, says(end), whole);
			record_reset(&end->record);
			break;
		case RECORD_INVALID:
		case RECORD_NOMEM:
		case RECORD_HEAD_ONLY:
			return false;
		}
	}
}

static void receive(struct end *end) {
	uint8_t bytes[READ_SIZE];
	ssize_t got = recv(end->fd, bytes, sizeof bytes, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		if (take(end, bytes, (size_t)got))
			look_at_pair(&end->pair->link);
		else
			close_pair(&end->pair->link, true);
		return;
	}
	end->has_ended = true;
	if (got < 0)
		give_up(end);
	/* May close the pair, if there is no memory. */
	link_carry_end(&end->pair->link, says(end));
	if (!end->pair->link.is_closed)
		(void)settle(end->pair);
}

static void on_ready(struct watch *watch, uint32_t events) {
	struct end *end = (struct end *)watch;
	struct link *link = &end->pair->link;

	if (link->is_closed)
		return;
	if (end->is_connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
		int error = 0;
		socklen_t size = sizeof error;

		if (getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
			close_pair(link, true);
			return;
		}
		end->is_connecting = false;
		if (flush(end))
			return;
	} else if ((events & EPOLLOUT) != 0 && flush(end)) {
		return;
	}
	if ((events & EPOLLIN) != 0 ||
	    ((events & (EPOLLHUP | EPOLLERR)) != 0 && !end->has_ended && !end->is_connecting)) {
		receive(end);
	} else if ((events & (EPOLLHUP | EPOLLERR)) != 0 && end->has_ended) {
		/* Both ways are over, and it would be told again and again. */
		give_up(end);
		(void)settle(end->pair);
	}
}

/* --- New ones ----------------------------------------------------------------------------------
 */

static const struct link_kind streams = {
    .deliver = deliver, .close = close_pair, .look = look_at_pair};

static bool call_server(const struct route *route, int server, bool *is_connecting) {
	*is_connecting = connect(server, (const struct sockaddr *)&route->server_address,
				 route->server_address_size) != 0;
	return !*is_connecting || errno == EINPROGRESS;
}

/* Both descriptors are the pair's from now on. */
static void add_pair(struct route *route, int client, int server) {
	struct pair *pair = calloc(1, sizeof *pair);
	bool is_connecting = false;
	const int fds[ENDS] = {client, server};
	const int on = 1;

	if (pair == NULL || !call_server(route, server, &is_connecting) ||
	    !link_open(&pair->link, route, &streams)) {
		(void)close(client);
		(void)close(server);
		free(pair);
		return;
	}
	for (int i = 0; i < ENDS; i++) {
		pair->ends[i] = (struct end){.watch = {on_ready}, .pair = pair, .fd = fds[i]};
		/* For tcp; a local socket refuses it. */
		(void)setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
	pair->ends[SERVER].is_connecting = is_connecting;
	for (int i = 0; i < ENDS; i++) {
		struct end *end = &pair->ends[i];

		end->events = EPOLLIN;
		if (!network_watch(route->network, end->fd, &end->watch, end->events)) {
			close_pair(&pair->link, true);
			return;
		}
	}
	look_at_pair(&pair->link);
}

/* -1: no client waits, or (errno) it has to. */
static int accept_client(const struct route *route, int *server) {
	int client;

	/* Made first: a client that was accepted could not wait for one. */
	*server =
	    socket(route->server_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*server < 0)
		return -1;
	client = accept4(route->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client < 0) {
		int error = errno;

		(void)close(*server);
		errno = error;
	}
	return client;
}

void streams_accept(struct route *route) {
	int client, server;

	while ((client = accept_client(route, &server)) >= 0)
		add_pair(route, client, server);
	network_accept_failed(route->network, errno, route->fd, &route->watch);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Many connections at once: idle ones cost nothing, and one too many does not harm the others. */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "latency_probe.h"
#include "suite.h"
#include "test.h"

enum {
	IDLE = 4000,
	OPEN = 5000,
	BUSY = 50,
	ROUNDS = 5,
	ROUND_MS = 400,
	APART = 500, /* descriptors that are no connections, here and in the server */
};

/* A client that does little itself, so that it is the server that is measured: the same call again
   and again, and replies that are counted by their bytes. */
struct busy {
	int fd;
	size_t missing; /* bytes of the answer under way */
};

/* GET of a key with a value, as bytes, and the size of its reply. */
struct exchange {
	struct message call;
	size_t answer_size;
};

static void send_call(struct busy *busy, const struct exchange *exchange) {
	ssize_t sent = send(busy->fd, exchange->call.data, exchange->call.size, MSG_NOSIGNAL);

	ck_assert_int_eq(sent, (ssize_t)exchange->call.size);
	busy->missing = exchange->answer_size;
}

static struct exchange make_exchange(struct peer *peer) {
	kv1_get_args args = {.key = {1, (char *)"k"}};
	struct call_header header = call_header(peer_xid(peer), KVPROC_GET);
	struct message call = message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args);

	peer_send(peer, message_copy(call.data, call.size));
	struct answer answer = peer_await(peer, header.xid);
	struct exchange exchange = {message_record(call, 0), 4 + answer.record.size};
	answer_free(&answer);
	return exchange;
}

/* Each of the busy clients always has one call pending, for ROUND_MS. Returns calls a second.
 */
static double measure(struct busy *clients, int epoll, const struct exchange *exchange) {
	uint64_t start = suite_now_us();
	uint64_t end = start + (uint64_t)ROUND_MS * 1000;
	uint64_t replies = 0;

	for (int i = 0; i < BUSY; i++) {
		send_call(&clients[i], exchange);
	}
	int under_way = BUSY;
	uint64_t now = start;
	while (under_way > 0) {
		struct epoll_event events[BUSY];
		int count = epoll_wait(epoll, events, BUSY, 60000);
		ck_assert_int_gt(count, 0);
		now = suite_now_us();
		for (int i = 0; i < count; i++) {
			struct busy *busy = events[i].data.ptr;
			char answer[512];
			ssize_t got = recv(busy->fd, answer, sizeof answer, MSG_DONTWAIT);
			ck_assert(got > 0 && (size_t)got <= busy->missing);
			busy->missing -= (size_t)got;
			if (busy->missing > 0) {
				continue;
			}
			replies++;
			if (now < end) {
				send_call(busy, exchange);
			} else {
				under_way--;
			}
		}
	}
	return (double)replies * 1000000 / (double)(now - start);
}

/* Peers that are connected, after one call each. */
static struct peer *open_idle(const struct server *server, int count) {
	struct peer *peers = calloc((size_t)count, sizeof *peers);

	ck_assert_ptr_nonnull(peers);
	for (int i = 0; i < count; i++) {
		peer_open(&peers[i], server, VIA_TCP);
	}
	for (int i = 0; i < count; i++) {
		peer_ping(&peers[i]);
	}
	return peers;
}

static void close_idle(struct peer *peers, int count) {
	for (int i = 0; i < count; i++) {
		/* A reset leaves no port in TIME_WAIT. */
		peer_reset(&peers[i]);
	}
	free(peers);
}

static bool has_files(const char *what, unsigned connections) {
	unsigned limit = suite_raise_files(connections + APART);

	if (limit < connections + APART) {
		suite_skip("%s: the limit of open files is %u (ulimit -Hn)", what, limit);
		return false;
	}
	return true;
}

/* All of them are of one peer. */
static void open_for_all(void) {
	fixture_open(&fx, "--max-connections-each", "0", NULL);
}

CASE(connections, .setup = open_for_all, .teardown = fixture_end);

TEST(busy_connections_are_as_fast_beside_4000_idle_ones) {
	struct busy busy[BUSY];
	double alone = 0;
	double beside = 0;

	if (!has_files("4000 idle connections", IDLE + BUSY)) {
		return;
	}
	struct change change = put(&fx.session, 0, 1, "k", "value");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	ck_assert_int_ge(epoll, 0);
	for (int i = 0; i < BUSY; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &busy[i]};
		busy[i].fd = peer_connect(&fx.server, VIA_TCP);
		ck_assert_int_ge(busy[i].fd, 0);
		ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, busy[i].fd, &event), 0);
	}
	struct exchange exchange = make_exchange(&fx.peer);
	(void)measure(busy, epoll, &exchange);
	/* In turn, so that whatever else the machine does meets both. */
	for (int round = 0; round < ROUNDS; round++) {
		alone += measure(busy, epoll, &exchange) / ROUNDS;
		struct peer *idle = open_idle(&fx.server, IDLE);
		beside += measure(busy, epoll, &exchange) / ROUNDS;
		close_idle(idle, IDLE);
	}
	suite_figure("50 busy connections: %.0f calls/s alone, %.0f beside %d idle ones (%.2f)",
		     alone, beside, IDLE, beside / alone);
	if (!suite_is_instrumented()) {
		ck_assert_double_ge(beside / alone, 0.5);
	}
	for (int i = 0; i < BUSY; i++) {
		ck_assert_int_eq(close(busy[i].fd), 0);
	}
	message_free(&exchange.call);
	ck_assert_int_eq(close(epoll), 0);
}

TEST(five_thousand_connections_are_served_at_once) {
	if (!has_files("5000 connections", OPEN)) {
		return;
	}
	uint64_t before = server_memory(&fx.server);
	struct peer *peers = open_idle(&fx.server, OPEN);
	ck_assert_uint_eq(counter(&fx.peer, "connections"), OPEN + 1);
	suite_figure("%d open connections: %.0f bytes of the server's memory each", OPEN,
		     ((double)server_memory(&fx.server) - (double)before) / OPEN);
	/* All of them still, and in another order. */
	for (int i = OPEN - 1; i >= 0; i--) {
		check_no_key(&peers[i], "no such key");
	}
	close_idle(peers, OPEN);
}

CASE(connections_with_options, .teardown = fixture_end);

/* So that it is not idle, and is not closed for others. */
static void begin_record(struct peer *peer) {
	static const uint8_t mark[4] = {0x80, 0, 1, 0};

	ck_assert(peer_send_bytes(peer, mark, sizeof mark));
}

TEST(a_connection_above_the_limit_is_refused_at_once_and_the_others_go_on) {
	enum { LIMIT = 20, NEWCOMERS = 50, HELD = LIMIT - 3 };
	struct latency_probe probe;
	struct peer peers[HELD];
	struct peer administrator;
	uint64_t slowest_us = 0;

	fixture_open(&fx, "--max-connections", "20", NULL);
	latency_probe_start(&probe, &fx.server);
	peer_open(&administrator, &fx.server, VIA_LOCAL);
	for (int i = 0; i < HELD; i++) {
		peer_open(&peers[i], &fx.server, VIA_TCP);
		peer_ping(&peers[i]);
		begin_record(&peers[i]);
	}
	begin_record(&fx.peer);
	for (int i = 0; i < NEWCOMERS; i++) {
		struct peer newest;
		uint64_t start = suite_now_us();
		peer_open(&newest, &fx.server, VIA_TCP);
		ck_assert(peer_is_closed_within(&newest, 30000));
		uint64_t took = suite_now_us() - start;
		slowest_us = took > slowest_us ? took : slowest_us;
		peer_close(&newest);
	}
	suite_figure("a connection too many is closed after at most %.2f ms",
		     (double)slowest_us / 1000);
	/* Datagrams need no connection. */
	struct peer udp;
	peer_open(&udp, &fx.server, VIA_UDP);
	peer_ping(&udp);
	peer_close(&udp);
	ck_assert_uint_eq(counter(&administrator, "connections_refused"), NEWCOMERS);
	ck_assert_uint_eq(counter(&administrator, "connections_dropped"), 0);

	/* Where one left, another one may come. */
	peer_close(&peers[0]);
	uint64_t deadline = suite_now_ms() + 30000;
	while (counter(&administrator, "connections") == LIMIT) {
		ck_assert_uint_lt(suite_now_ms(), deadline);
	}
	peer_open(&peers[0], &fx.server, VIA_TCP);
	peer_ping(&peers[0]);
	for (int i = 0; i < HELD; i++) {
		peer_close(&peers[i]);
	}
	peer_close(&administrator);
	latency_probe_stop(&probe, "connections above the limit");
}

TEST(an_administrator_gets_in_at_the_local_socket_though_all_connections_are_taken) {
	enum { LIMIT = 10 };
	struct peer peers[LIMIT - 1];
	struct peer administrator;

	fixture_open(&fx, "--max-connections", "10", NULL);
	for (int i = 0; i < LIMIT - 1; i++) {
		peer_open(&peers[i], &fx.server, VIA_TCP);
		peer_ping(&peers[i]);
		begin_record(&peers[i]);
	}
	begin_record(&fx.peer);
	peer_open(&administrator, &fx.server, VIA_LOCAL);
	ck_assert_uint_eq(counter(&administrator, "connections"), LIMIT + 1);
	ck_assert_uint_eq(counter(&administrator, "connections_dropped"), 0);
	for (int i = 0; i < LIMIT - 1; i++) {
		peer_close(&peers[i]);
	}
	peer_close(&administrator);
}

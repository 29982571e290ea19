/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The largest value over a slow link: between a client and kvd a relay passes so many bytes in so
 * many ms on, one way and the other, that a value takes several attempts' time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <kv/kv.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

enum {
	PIECE = 64 * 1024, /* bytes ... */
	PIECE_MS = 10,	   /* ... in so many ms, which is 6.5 MB/s */
	VALUE = 16 << 20,  /* 2.6 s */
	ATTEMPT_MS = 800,
	LIMIT_MS = 100000,
	CONNECTIONS_MAX = 16,
};

/* One way of a connection. */
struct way {
	int from;
	int to;
	pthread_t thread;
};

static struct way ways[2 * CONNECTIONS_MAX];
static unsigned way_count;
static int listener;
static pthread_t acceptor;
static atomic_bool is_over;
static atomic_ullong passed;

static bool pass_on(const struct way *way, const char *bytes, size_t size) {
	while (size > 0) {
		ssize_t went = send(way->to, bytes, size, MSG_NOSIGNAL);

		if (went <= 0)
			return false;
		bytes += went;
		size -= (size_t)went;
		passed += (unsigned long long)went;
	}
	return true;
}

static void *relay_way(void *context) {
	const struct timespec pause = {.tv_nsec = PIECE_MS * 1000000L};
	const struct way *way = context;
	char bytes[PIECE];
	ssize_t came;

	while ((came = recv(way->from, bytes, sizeof(bytes), 0)) > 0 &&
	       pass_on(way, bytes, (size_t)came))
		if (came > PIECE / 2)
			(void)nanosleep(&pause, NULL);
	(void)shutdown(way->to, SHUT_WR);
	return NULL;
}

static void start_way(int from, int to) {
	struct way *way = &ways[way_count++];

	*way = (struct way){.from = from, .to = to};
	ck_assert_int_eq(pthread_create(&way->thread, NULL, relay_way, way), 0);
}

static void *accept_all(void *context) {
	(void)context;
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
		int near = accept(listener, NULL, NULL);
		int far;

		if (is_over || near < 0)
			break;
		far = peer_connect(&fx.server, VIA_TCP);
		start_way(near, far);
		start_way(far, near);
	}
	return NULL;
}

/* Returns its port. The buffers are small, so that what is passed on is what has arrived. */
static unsigned start_relay(void) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int room = PIECE;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_ge(listener, 0);
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(listen(listener, CONNECTIONS_MAX), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(pthread_create(&acceptor, NULL, accept_all, NULL), 0);
	return ntohs(address.sin_port);
}

static void stop_relay(void) {
	is_over = true;
	ck_assert_int_eq(shutdown(listener, SHUT_RDWR), 0);
	ck_assert_int_eq(pthread_join(acceptor, NULL), 0);
	for (unsigned i = 0; i < way_count; i++) {
		(void)shutdown(ways[i].from, SHUT_RDWR);
		(void)shutdown(ways[i].to, SHUT_RDWR);
	}
	for (unsigned i = 0; i < way_count; i++)
		ck_assert_int_eq(pthread_join(ways[i].thread, NULL), 0);
	for (unsigned i = 0; i < way_count; i++)
		ck_assert_int_eq(close(ways[i].from), 0);
	ck_assert_int_eq(close(listener), 0);
}

CASE(slow_link, .setup = fixture_plain, .teardown = fixture_end);

TEST(the_largest_value_arrives_over_a_link_that_takes_many_attempts_time) {
	struct kv_options options = {.attempt_ms = ATTEMPT_MS, .timeout_ms = LIMIT_MS};
	struct kv_client *client;
	struct kv_value value;
	uint64_t version = 0;
	char *bytes_of_it = malloc(VALUE);
	char address[64];

	ck_assert_ptr_nonnull(bytes_of_it);
	for (size_t i = 0; i < VALUE; i++)
		bytes_of_it[i] = (char)(i / 251 + i);
	(void)snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", start_relay());
	options.server = address;
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);

	ck_assert_int_eq(
	    kv_put(client, bytes("k"), (struct kv_bytes){bytes_of_it, VALUE}, KV_ANY, &version),
	    KV_OK);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(kv_get(client, bytes("k"), &value), KV_OK);
	ck_assert_uint_eq(value.size, VALUE);
	ck_assert_uint_eq(value.version, 1);
	ck_assert(memcmp(value.data, bytes_of_it, VALUE) == 0);
	suite_figure("a value of 16 MiB there and back: %llu MiB passed on",
		     (unsigned long long)passed >> 20);

	kv_value_free(&value);
	kv_close(client);
	free(bytes_of_it);
	stop_relay();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: epoll_ctl */
/* Connections to a store that is nearly full, and what they cost: with a clock of the test's own.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "core/service.h"
#include "net/encode_call.h"
#include "net/event_handler.h"
#include "net/peer.h"
#include "net/stream.h"
#include "rpc/dispatch.h"
#include "rpc/xdr_inplace.h"
#include "test.h"

enum {
	MIB = 1 << 20,
	VALUE = MIB, /* far more than a socket takes */
	MEMORY = 8 * MIB,
	SLOW_PEERS = 7, /* and the store has no room for one more */
	EVENTS = 16,
	CONNECTIONS = 16, /* two groups of those that are run together */
	RESULTS_AT = 6,	  /* the word of an answer, after its mark: RFC 5531, 9 */
};

static int epoll;
static struct service *service;
static struct dispatch *dispatch;
static struct streams *streams;
static uint64_t version; /* of the key */
static unsigned changes; /* of what epoll watches for */
static char *value;

int __real_epoll_ctl(int, int, int, struct epoll_event *);
int __wrap_epoll_ctl(int, int, int, struct epoll_event *);
int __wrap_epoll_ctl(int at, int what, int fd, struct epoll_event *event) {
	changes++;
	return __real_epoll_ctl(at, what, fd, event);
}

static void at(uint64_t now_ms) {
	dispatch_set_time(dispatch, now_ms);
	streams_set_time(streams, now_ms);
}

static void set_up(void) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = VALUE, .memory_max = MEMORY, .sessions_max = 4, .lease_ms = 1000};
	static const struct stream_limits most = {.connections_max = CONNECTIONS,
						  .held_max = 64 * MIB};
	static const struct journal_sink nowhere = {0};
	static const struct dispatch_hooks others = {0};

	epoll = epoll_create1(EPOLL_CLOEXEC);
	ck_assert_int_ge(epoll, 0);
	service = service_new(&identity, &limits, &nowhere);
	dispatch = dispatch_new(service, KV_PROGRAM, &others);
	streams = streams_new(epoll, &most, dispatch, service);
	value = calloc(1, VALUE);
	ck_assert(service != NULL && dispatch != NULL && streams != NULL && value != NULL);
	version = 0;
	at(1000);
}

static void tear_down(void) {
	streams_free(streams);
	dispatch_free(dispatch);
	service_free(service);
	free(value);
	(void)close(epoll);
}

static int connect_peer(void) {
	const struct peer_name name = {.kind = ADDRESS_LOCAL};
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	streams_add(streams, ends[1], &name);
	return ends[0];
}

/* One turn without waiting; returns how many sockets were ready. */
static int turn(void) {
	struct epoll_event events[EVENTS];
	int count = epoll_wait(epoll, events, EVENTS, 0);

	for (int i = 0; i < count; i++) {
		struct event_handler *watch = events[i].data.ptr;

		watch->ready(watch, events[i].events);
	}
	streams_run_received(streams);
	streams_flush(streams);
	(void)streams_expire(streams);
	return count;
}

static void turn_until_quiet(void) {
	while (turn() > 0)
		;
}

static void ask(int peer, uint32_t procedure, xdrproc_t encode, void *arguments) {
	size_t size;
	char *record = encode_call(procedure, encode, arguments, &size);

	for (size_t sent = 0; sent < size;) {
		ssize_t now = send(peer, record + sent, size - sent, MSG_NOSIGNAL);

		if (now > 0)
			sent += (size_t)now;
		turn_until_quiet();
	}
	free(record);
}

/* Takes `size` bytes of what is sent to the peer. */
static void take(int peer, void *bytes, size_t size) {
	char *to = bytes;

	while (size > 0) {
		ssize_t got = recv(peer, to, size, 0);

		ck_assert_int_ne(got, 0);
		if (got > 0) {
			to += got;
			size -= (size_t)got;
		} else {
			ck_assert_int_gt(turn(), 0);
		}
	}
}

/* The size of the next reply, and the status that is the first of its results. */
static kv1_status take_status(int peer, size_t *size) {
	uint32_t words[1 + RESULTS_AT + 1];

	take(peer, words, sizeof(words));
	*size = (ntohl(words[0]) & 0x7fffffff) + MARK - sizeof(words);
	return (kv1_status)ntohl(words[1 + RESULTS_AT]);
}

/* Overwrites the key; the store keeps the old value while a peer has not taken it. */
static kv1_status put(int peer, uint32_t value_size) {
	struct kv1_put_args args = {
	    .expected = version, .key = {1, (char *)(uintptr_t) "k"}, .value = {value_size, value}};
	uint32_t rest[2];
	kv1_status status;
	size_t size;

	ask(peer, KVPROC_PUT, (xdrproc_t)(void (*)(void))xdr_kv1_put_args, &args);
	status = take_status(peer, &size);
	ck_assert_uint_eq(size, sizeof(rest));
	take(peer, rest, sizeof(rest));
	if (status == KV1_OK)
		version++;
	return status;
}

static void ask_for_value(int peer) {
	struct kv1_get_args args = {.key = {1, (char *)(uintptr_t) "k"}};

	ask(peer, KVPROC_GET, (xdrproc_t)(void (*)(void))xdr_kv1_get_args, &args);
}

static uint64_t stat_of(const char *name) {
	struct stats stats = {0};

	streams_add_stats(streams, &stats);
	return stats_value(&stats, name);
}

/* Each asks for another value and takes none: the store is full of what no key holds any more. */
static void fill(int writer, int slow[SLOW_PEERS]) {
	for (size_t i = 0; i < SLOW_PEERS; i++) {
		ck_assert_int_eq(put(writer, VALUE), KV1_OK);
		slow[i] = connect_peer();
		ask_for_value(slow[i]);
	}
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
}

static void close_all(int writer, const int slow[SLOW_PEERS]) {
	(void)close(writer);
	for (size_t i = 0; i < SLOW_PEERS; i++)
		(void)close(slow[i]);
}

CASE(transport_stream, .setup = set_up, .teardown = tear_down);

TEST(peers_that_do_not_take_values_do_not_keep_a_full_store_full) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];

	fill(writer, slow);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS);
	/* Refused once, for it was full. */
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_int_eq(put(writer, VALUE), KV1_OK);
	close_all(writer, slow);
}

TEST(nor_does_a_nearly_full_one_wait_for_a_refused_call) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];

	fill(writer, slow);
	ck_assert_int_eq(put(writer, VALUE / 4 * 3), KV1_OK);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS);
	(void)turn();
	ck_assert_uint_gt(stat_of("connections_dropped"), 0);
	close_all(writer, slow);
}

TEST(only_as_many_are_dropped_as_must_be_the_longest_stalled_first) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];
	char byte;

	fill(writer, slow);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS);
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	while (recv(slow[0], &byte, sizeof(byte), 0) > 0)
		;
	ck_assert_int_eq(recv(slow[0], &byte, sizeof(byte), 0), 0);
	close_all(writer, slow);
}

TEST(a_connection_that_stalled_for_less_than_a_second_stays) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];

	fill(writer, slow);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS - 1);
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_uint_eq(stat_of("connections_dropped"), 0);
	close_all(writer, slow);
}

TEST(while_there_is_memory_connections_have_30_seconds) {
	int writer = connect_peer();
	int slow = connect_peer();

	ck_assert_int_eq(put(writer, VALUE), KV1_OK);
	ask_for_value(slow);
	at(1000 + STREAM_STALL_TIMEOUT_MS - 1);
	(void)turn();
	ck_assert_uint_eq(stat_of("connections_dropped"), 0);
	at(1000 + STREAM_STALL_TIMEOUT_MS);
	(void)turn();
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	(void)close(slow);
	(void)close(writer);
}

TEST(calls_of_many_connections_in_one_turn_get_a_reply_each) {
	int peers[CONNECTIONS];
	size_t size;

	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		char key = (char)('a' + i);
		struct kv1_put_args args = {.key = {1, &key}, .value = {i, value}};
		char *call = encode_call(KVPROC_PUT, (xdrproc_t)(void (*)(void))xdr_kv1_put_args,
					 &args, &size);

		peers[i] = connect_peer();
		ck_assert_int_eq(send(peers[i], call, size, 0), (ssize_t)size);
		free(call);
	}
	ck_assert_int_eq(turn(), CONNECTIONS);
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		char key = (char)('a' + i);
		struct kv1_get_args args = {.key = {1, &key}};
		uint32_t rest[2];

		ck_assert_int_eq(take_status(peers[i], &size), KV1_OK);
		take(peers[i], rest, size);
		char *call = encode_call(KVPROC_GET, (xdrproc_t)(void (*)(void))xdr_kv1_get_args,
					 &args, &size);
		ck_assert_int_eq(send(peers[i], call, size, 0), (ssize_t)size);
		free(call);
	}
	ck_assert_int_eq(turn(), CONNECTIONS);
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		uint32_t words[3 + CONNECTIONS / 4];

		ck_assert_int_eq(take_status(peers[i], &size), KV1_OK);
		take(peers[i], words, size);
		/* Behind the version. */
		ck_assert_uint_eq(ntohl(words[2]), i);
		(void)close(peers[i]);
	}
}

/* It does not take its replies, and is dropped for what another one sent in the same turn, just
 * before.
 */
TEST(a_connection_that_is_dropped_before_its_call_is_run_has_run_none) {
	static const struct stream_limits few = {.connections_max = CONNECTIONS,
						 .held_max = 56 * 1024};
	const uint32_t mark = htonl(0x80000000u | 8 * MIB);
	struct kv1_put_args put_args = {.key = {1, (char *)(uintptr_t) "z"}};
	struct kv1_get_args get_args = {.key = {1, (char *)(uintptr_t) "z"}};
	size_t size;

	streams_free(streams);
	streams = streams_new(epoll, &few, dispatch, service);
	ck_assert_ptr_nonnull(streams);
	int old = connect_peer();
	int young = connect_peer();
	int third = connect_peer();
	ck_assert_int_eq(put(old, 32 * 1024), KV1_OK);
	do {
		ask_for_value(old);
	} while (stat_of("send_queue_bytes") == 0);
	at(2000);
	memcpy(value, &mark, MARK);
	ck_assert_int_eq(send(young, value, 60000, 0), 60000);
	char *call =
	    encode_call(KVPROC_PUT, (xdrproc_t)(void (*)(void))xdr_kv1_put_args, &put_args, &size);
	ck_assert_int_eq(send(old, call, size, 0), (ssize_t)size);
	free(call);
	ck_assert_int_eq(turn(), 2);
	ck_assert_uint_gt(stat_of("connections_dropped"), 0);
	ck_assert_int_eq(send(old, value, 1, MSG_NOSIGNAL), -1);
	ask(third, KVPROC_GET, (xdrproc_t)(void (*)(void))xdr_kv1_get_args, &get_args);
	ck_assert_int_eq(take_status(third, &size), KV1_NOKEY);
	(void)close(old);
	(void)close(young);
	(void)close(third);
}

TEST(a_reply_that_is_sent_in_its_turn_changes_nothing_in_epoll) {
	int peer = connect_peer();
	struct kv1_get_args args = {.key = {1, (char *)(uintptr_t) "k"}};
	uint32_t rest[3];
	size_t size;

	changes = 0;
	for (unsigned i = 0; i < 100; i++) {
		ask(peer, KVPROC_GET, (xdrproc_t)(void (*)(void))xdr_kv1_get_args, &args);
		ck_assert_int_eq(take_status(peer, &size), KV1_NOKEY);
		ck_assert_uint_eq(size, sizeof(rest));
		take(peer, rest, size);
	}
	ck_assert_uint_eq(changes, 0);
	(void)close(peer);
}

TEST(a_reply_that_does_not_fit_is_sent_as_the_peer_takes_it) {
	int peer = connect_peer();
	char *got = malloc(2 * VALUE);
	size_t size;

	ck_assert_ptr_nonnull(got);
	ck_assert_int_eq(put(peer, VALUE), KV1_OK);
	changes = 0;
	ask_for_value(peer);
	ck_assert_uint_eq(changes, 1); /* to be told when there is room */
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(take_status(peer, &size), KV1_OK);
	ck_assert_uint_ge(size, VALUE);
	ck_assert_uint_lt(size, 2 * VALUE);
	take(peer, got, size);
	turn_until_quiet();
	ck_assert_uint_eq(changes, 3); /* calls are taken again; all is sent */
	free(got);
	(void)close(peer);
}

TEST(a_large_value_comes_back_as_it_was_put_and_is_counted_once) {
	int peer = connect_peer();
	char *got = malloc(VALUE + 8);
	size_t before = service_memory(service)->used;
	size_t size;

	ck_assert_ptr_nonnull(got);
	for (unsigned round = 0; round < 5; round++) {
		for (size_t i = 0; i < VALUE; i++)
			value[i] = (char)(i * 7 + i / 256 + round);
		ck_assert_int_eq(put(peer, VALUE - round), KV1_OK);
		ck_assert_uint_lt(service_memory(service)->used, before + VALUE + 1024);
		ck_assert_uint_eq(stat_of("receive_buffer_bytes"), 0);
		ask_for_value(peer);
		ck_assert_int_eq(take_status(peer, &size), KV1_OK);
		take(peer, got, 12); /* version, size */
		ck_assert_uint_eq(size - 12, (VALUE - round + 3) / 4 * 4);
		take(peer, got, size - 12);
		ck_assert_mem_eq(got, value, VALUE - round);
		turn_until_quiet();
	}
	free(got);
	(void)close(peer);
}

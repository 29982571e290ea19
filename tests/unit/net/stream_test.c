/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: epoll_ctl */
/* Connections to a store that is nearly full, and what they cost: with a clock of the test's own.
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "rpc/dispatch.h"
#include "core/service.h"
#include "net/stream.h"
#include "net/event_handler.h"
#include "rpc/xdr_inplace.h"

enum {
	MIB = 1 << 20,
	VALUE = MIB, /* far more than a socket takes */
	MEMORY = 8 * MIB,
	SLOW_PEERS = 7, /* and the store has no room for one more */
	EVENTS = 16,
	CONNECTIONS = 16, /* two groups of those that are run together */
	CALL_MAX = VALUE + 4096,
	MARK = 4,	/* bytes before each record: RFC 5531, 11 */
	RESULTS_AT = 6, /* the word of an answer, after its mark: RFC 5531, 9 */
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

static void no_others(void *context, struct counters *counters) {
	(void)context;
	(void)counters;
}

static void at(uint64_t now_ms) {
	dispatch_set_time(dispatch, now_ms);
	streams_set_time(streams, now_ms);
}

static void set_up(void) {
	static const struct identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = VALUE, .memory_max = MEMORY, .sessions_max = 4, .lease_ms = 1000};
	static const struct stream_limits most = {.connections_max = CONNECTIONS,
						  .held_max = 64 * MIB};
	static const struct recorder nowhere = {0};
	static const struct dispatch_others others = {.count = no_others};

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
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	streams_add(streams, ends[1], "local");
	return ends[0];
}

/* One turn without waiting; answers how many sockets were ready. */
static int turn(void) {
	struct epoll_event events[EVENTS];
	int count = epoll_wait(epoll, events, EVENTS, 0);

	for (int i = 0; i < count; i++) {
		struct watch *watch = events[i].data.ptr;

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

/* A call with its mark, to be freed. */
static char *encode_call(uint32_t procedure, xdrproc_t encode, void *arguments, size_t *size) {
	struct rpc_msg message = {.rm_xid = 1, .rm_direction = CALL};
	char *record = malloc(MARK + CALL_MAX);
	uint32_t mark;
	XDR xdrs;

	ck_assert_ptr_nonnull(record);
	message.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	message.rm_call.cb_prog = KV_PROGRAM;
	message.rm_call.cb_vers = KV_V1;
	message.rm_call.cb_proc = procedure;
	xdr_mem_init(&xdrs, XDR_ENCODE, record + MARK, CALL_MAX);
	ck_assert(xdr_callmsg(&xdrs, &message) && encode(&xdrs, arguments));
	*size = MARK + XDR_GETPOS(&xdrs);
	mark = htonl(0x80000000u | (uint32_t)(*size - MARK));
	memcpy(record, &mark, MARK);
	return record;
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

/* The size of the next answer, and the status that is the first of its results. */
static kv1_status take_status(int peer, size_t *size) {
	uint32_t words[1 + RESULTS_AT + 1];

	take(peer, words, sizeof(words));
	*size = (ntohl(words[0]) & 0x7fffffff) + MARK - sizeof(words);
	return (kv1_status)ntohl(words[1 + RESULTS_AT]);
}

/* Overwrites the key; the store keeps the old value for whoever has it still to take. */
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

static uint64_t connections_cut(void) {
	struct stream_counters counters;

	streams_get_stats(streams, &counters);
	return counters.connections_cut;
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

START_TEST(peers_that_do_not_take_values_do_not_keep_a_full_store_full) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];

	fill(writer, slow);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS);
	/* Refused once, for it was full. */
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_int_eq(put(writer, VALUE), KV1_OK);
	close_all(writer, slow);
}
END_TEST

START_TEST(nor_a_nearly_full_one_until_somebody_is_refused) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];

	fill(writer, slow);
	ck_assert_int_eq(put(writer, VALUE / 4 * 3), KV1_OK);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS);
	(void)turn();
	ck_assert_uint_gt(connections_cut(), 0);
	close_all(writer, slow);
}
END_TEST

START_TEST(only_as_many_go_as_there_must_and_the_longest_still_first) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];
	char byte;

	fill(writer, slow);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS);
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_uint_eq(connections_cut(), 1);
	while (recv(slow[0], &byte, sizeof(byte), 0) > 0)
		;
	ck_assert_int_eq(recv(slow[0], &byte, sizeof(byte), 0), 0);
	close_all(writer, slow);
}
END_TEST

START_TEST(who_stood_still_for_less_than_a_second_is_left_alone) {
	int writer = connect_peer();
	int slow[SLOW_PEERS];

	fill(writer, slow);
	at(1000 + STREAM_PRESSURE_TIMEOUT_MS - 1);
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_int_eq(put(writer, VALUE), KV1_FULL);
	ck_assert_uint_eq(connections_cut(), 0);
	close_all(writer, slow);
}
END_TEST

START_TEST(nobody_is_hurried_while_there_is_memory) {
	int writer = connect_peer();
	int slow = connect_peer();

	ck_assert_int_eq(put(writer, VALUE), KV1_OK);
	ask_for_value(slow);
	at(1000 + STREAM_STALL_TIMEOUT_MS - 1);
	(void)turn();
	ck_assert_uint_eq(connections_cut(), 0);
	at(1000 + STREAM_STALL_TIMEOUT_MS);
	(void)turn();
	ck_assert_uint_eq(connections_cut(), 1);
	(void)close(slow);
	(void)close(writer);
}
END_TEST

START_TEST(those_who_come_in_one_turn_are_all_answered_each_its_own) {
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
END_TEST

/* It does not take its answers, and is cut for what came of another in the same turn, just before.
 */
START_TEST(one_that_is_cut_while_its_call_waits_to_be_run_has_run_none) {
	static const struct stream_limits few = {.connections_max = CONNECTIONS,
						 .held_max = 56 * 1024};
	const uint32_t mark = htonl(0x80000000u | 8 * MIB);
	struct kv1_put_args put_args = {.key = {1, (char *)(uintptr_t) "z"}};
	struct kv1_get_args get_args = {.key = {1, (char *)(uintptr_t) "z"}};
	struct stream_counters counters;
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
		streams_get_stats(streams, &counters);
	} while (counters.unsent == 0);
	at(2000);
	memcpy(value, &mark, MARK);
	ck_assert_int_eq(send(young, value, 60000, 0), 60000);
	char *call =
	    encode_call(KVPROC_PUT, (xdrproc_t)(void (*)(void))xdr_kv1_put_args, &put_args, &size);
	ck_assert_int_eq(send(old, call, size, 0), (ssize_t)size);
	free(call);
	ck_assert_int_eq(turn(), 2);
	ck_assert_uint_gt(connections_cut(), 0);
	ck_assert_int_eq(send(old, value, 1, MSG_NOSIGNAL), -1);
	ask(third, KVPROC_GET, (xdrproc_t)(void (*)(void))xdr_kv1_get_args, &get_args);
	ck_assert_int_eq(take_status(third, &size), KV1_NOKEY);
	(void)close(old);
	(void)close(young);
	(void)close(third);
}
END_TEST

START_TEST(an_answer_that_leaves_with_its_turn_changes_nothing_in_epoll) {
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
END_TEST

START_TEST(an_answer_that_does_not_fit_leaves_as_the_peer_takes_it) {
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
END_TEST

START_TEST(a_large_value_comes_back_as_it_was_put_and_is_counted_once) {
	int peer = connect_peer();
	char *got = malloc(VALUE + 8);
	struct stream_counters counters;
	size_t before = service_memory(service)->used;
	size_t size;

	ck_assert_ptr_nonnull(got);
	for (unsigned round = 0; round < 5; round++) {
		for (size_t i = 0; i < VALUE; i++)
			value[i] = (char)(i * 7 + i / 256 + round);
		ck_assert_int_eq(put(peer, VALUE - round), KV1_OK);
		ck_assert_uint_lt(service_memory(service)->used, before + VALUE + 1024);
		streams_get_stats(streams, &counters);
		ck_assert_uint_eq(counters.held, 0);
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
END_TEST

int main(void) {
	const TTest *const tests[] = {
	    peers_that_do_not_take_values_do_not_keep_a_full_store_full,
	    nor_a_nearly_full_one_until_somebody_is_refused,
	    only_as_many_go_as_there_must_and_the_longest_still_first,
	    who_stood_still_for_less_than_a_second_is_left_alone,
	    nobody_is_hurried_while_there_is_memory,
	    those_who_come_in_one_turn_are_all_answered_each_its_own,
	    one_that_is_cut_while_its_call_waits_to_be_run_has_run_none,
	    an_answer_that_leaves_with_its_turn_changes_nothing_in_epoll,
	    a_large_value_comes_back_as_it_was_put_and_is_counted_once,
	    an_answer_that_does_not_fit_leaves_as_the_peer_takes_it,
	};
	Suite *suite = suite_create("transport_stream");
	TCase *tcase = tcase_create("transport_stream");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Links against a scripted peer at the other end of a socket. */

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "link.h"
#include "reason.h"

enum {
	SOON_MS = 150,	 /* a deadline that is meant to pass */
	LONG_MS = 60000, /* one that is not */
	LARGE = 8 << 20, /* bytes: far more than the buffers of a socket */
	THREADS = 8,
	CALLS_EACH = 200,
};

static struct link *link_under_test;
static int peer;

static void open_stream(void) {
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	link_under_test = link_new(ends[0], true, "test", 7);
	ck_assert_ptr_nonnull(link_under_test);
	peer = ends[1];
}

static void open_datagram(void) {
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(peer, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(peer, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&address, size), 0);
	link_under_test = link_new(fd, false, "test", 7);
	ck_assert_ptr_nonnull(link_under_test);
}

static void hang_up(void) {
	if (peer >= 0)
		(void)close(peer);
	peer = -1;
}

static void close_all(void) {
	hang_up();
	link_drop(link_under_test);
	link_under_test = NULL;
}

/* --- The caller's side ----------------------------------------------------------------------- */

/* A call with this xid and `size` bytes in all. Made and awaited by a thread of its own. */
struct call {
	uint32_t xid;
	size_t size;
	uint64_t deadline_ms;
	enum attempt outcome;
	struct message came;
	char reason[512];
	pthread_t thread;
};

static void *run_call(void *argument) {
	struct call *call = argument;
	uint8_t *bytes = calloc(1, call->size);
	uint32_t xid = htonl(call->xid);

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, &xid, sizeof(xid));
	reason_clear();
	call->outcome =
	    link_exchange(link_under_test, (struct kv_bytes){.data = bytes, .size = call->size},
			  call->deadline_ms, &call->came);
	(void)snprintf(call->reason, sizeof(call->reason), "%s", reason_text());
	free(bytes);
	return NULL;
}

static struct call new_call(uint32_t xid, size_t size, unsigned timeout_ms) {
	return (struct call){.xid = xid, .size = size, .deadline_ms = clock_ms() + timeout_ms};
}

static void start(struct call *call) {
	ck_assert_int_eq(pthread_create(&call->thread, NULL, run_call, call), 0);
}

static void finish(struct call *call) {
	ck_assert_int_eq(pthread_join(call->thread, NULL), 0);
}

static void check_answered(struct call *call, const char *text) {
	ck_assert_int_eq(call->outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call->came.size, 4 + strlen(text));
	ck_assert_mem_eq(call->came.data + 4, text, strlen(text));
	free(call->came.data);
}

/* --- The peer's side ------------------------------------------------------------------------- */

static void write_all(const void *data, size_t size) {
	const uint8_t *next = data;

	while (size > 0) {
		ssize_t went = send(peer, next, size, MSG_NOSIGNAL);

		ck_assert_int_gt(went, 0);
		next += went;
		size -= (size_t)went;
	}
}

static void read_all(void *data, size_t size) {
	uint8_t *next = data;

	while (size > 0) {
		ssize_t came = recv(peer, next, size, 0);

		ck_assert_int_gt(came, 0);
		next += came;
		size -= (size_t)came;
	}
}

/* Reads one call and tells its xid. */
static uint32_t read_call(void) {
	uint8_t head[8];
	uint32_t mark;
	uint32_t xid;
	uint8_t *rest;

	read_all(head, sizeof(head));
	memcpy(&mark, head, 4);
	memcpy(&xid, head + 4, 4);
	mark = ntohl(mark);
	ck_assert_uint_ne(mark & 0x80000000, 0);
	mark &= 0x7fffffff;
	rest = malloc(mark);
	read_all(rest, mark - 4);
	free(rest);
	return ntohl(xid);
}

static void write_fragment(const void *data, size_t size, bool is_last) {
	uint32_t mark = htonl((uint32_t)size | (is_last ? 0x80000000 : 0));

	write_all(&mark, sizeof(mark));
	write_all(data, size);
}

static void write_answer(uint32_t xid, const char *text) {
	uint8_t bytes[64];
	uint32_t word = htonl(xid);

	memcpy(bytes, &word, 4);
	memcpy(bytes + 4, text, strlen(text));
	write_fragment(bytes, 4 + strlen(text), true);
}

/* --- Streams --------------------------------------------------------------------------------- */

START_TEST(an_answer_reaches_its_caller) {
	struct call call = new_call(1, 40, LONG_MS);
	uint64_t before_ms = clock_ms();

	start(&call);
	ck_assert_uint_eq(read_call(), 1);
	write_answer(1, "yes");
	finish(&call);
	check_answered(&call, "yes");
	ck_assert_str_eq(call.reason, "");
	ck_assert(link_is_usable(link_under_test));
	ck_assert(link_heard_since(link_under_test, before_ms));
	ck_assert(!link_heard_since(link_under_test, clock_ms() + 1));
}
END_TEST

START_TEST(answers_in_another_order_reach_their_callers) {
	struct call calls[THREADS];
	uint32_t seen[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		calls[i] = new_call(i, 40, LONG_MS);
		start(&calls[i]);
	}
	for (int i = 0; i < THREADS; i++)
		seen[i] = read_call();
	for (int i = THREADS - 1; i >= 0; i--) {
		char text[8];

		(void)snprintf(text, sizeof(text), "to %u", (unsigned)seen[i]);
		write_answer(seen[i], text);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		char text[8];

		(void)snprintf(text, sizeof(text), "to %u", (unsigned)i);
		finish(&calls[i]);
		check_answered(&calls[i], text);
	}
}
END_TEST

START_TEST(an_answer_for_nobody_is_dropped) {
	struct call call = new_call(1, 40, LONG_MS);

	start(&call);
	(void)read_call();
	write_answer(2, "late");
	write_answer(1, "yes");
	write_answer(1, "again");
	finish(&call);
	check_answered(&call, "yes");
	call = new_call(3, 40, LONG_MS);
	start(&call);
	(void)read_call();
	write_answer(3, "three");
	finish(&call);
	check_answered(&call, "three");
}
END_TEST

START_TEST(an_answer_in_fragments_is_put_together) {
	struct call call = new_call(0x01020304, 40, LONG_MS);
	const uint8_t answer[] = {1, 2, 3, 4, 'w', 'h', 'o', 'l', 'e'};

	start(&call);
	(void)read_call();
	for (size_t i = 0; i < sizeof(answer); i++) {
		write_fragment(NULL, 0, false);
		write_fragment(&answer[i], 1, false);
	}
	write_fragment(NULL, 0, true);
	finish(&call);
	check_answered(&call, "whole");
}
END_TEST

START_TEST(several_answers_in_one_segment_are_told_apart) {
	struct call calls[2] = {new_call(1, 40, LONG_MS), new_call(2, 40, LONG_MS)};
	const uint8_t both[] = {0x80, 0, 0, 5, 0, 0, 0, 2, 'b', 0x80, 0, 0, 5, 0, 0, 0, 1, 'a'};

	start(&calls[0]);
	start(&calls[1]);
	(void)read_call();
	(void)read_call();
	write_all(both, sizeof(both));
	finish(&calls[0]);
	finish(&calls[1]);
	check_answered(&calls[0], "a");
	check_answered(&calls[1], "b");
}
END_TEST

/* Waits for the call to end without an answer, and for the link to be useless. */
static void check_broken(struct call *call, const char *why) {
	finish(call);
	ck_assert_int_eq(call->outcome, ATTEMPT_UNANSWERED);
	ck_assert_ptr_nonnull(strstr(call->reason, why));
	ck_assert_ptr_null(call->came.data);
	ck_assert(!link_is_usable(link_under_test));
}

START_TEST(a_hang_up_in_the_middle_of_an_answer_wakes_everybody) {
	struct call calls[2] = {new_call(1, 40, LONG_MS), new_call(2, 40, LONG_MS)};
	const uint8_t half[] = {0x80, 0, 0, 100, 0, 0, 0, 1, 'h'};

	start(&calls[0]);
	start(&calls[1]);
	(void)read_call();
	(void)read_call();
	write_all(half, sizeof(half));
	hang_up();
	check_broken(&calls[0], "closed the connection");
	check_broken(&calls[1], "closed the connection");
}
END_TEST

START_TEST(a_record_above_the_limit_breaks_the_link) {
	struct call call = new_call(1, 40, LONG_MS);
	const uint32_t mark = htonl(0x80000000 | (LINK_RECORD_MAX + 1));

	start(&call);
	(void)read_call();
	write_all(&mark, sizeof(mark));
	check_broken(&call, "rubbish");
}
END_TEST

START_TEST(a_record_without_an_xid_breaks_the_link) {
	struct call call = new_call(1, 40, LONG_MS);

	start(&call);
	(void)read_call();
	write_fragment("abc", 3, true);
	check_broken(&call, "too short");
}
END_TEST

START_TEST(a_silent_peer_costs_the_deadline_and_the_link_stays) {
	struct call call = new_call(1, 40, SOON_MS);

	start(&call);
	(void)read_call();
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_ge(clock_ms(), call.deadline_ms);
	ck_assert_ptr_nonnull(strstr(call.reason, "test: no answer in "));
	ck_assert(link_is_usable(link_under_test));
}
END_TEST

/* An answer that claims to be large and comes byte by byte, for as long as anybody takes it. */
static void *trickle(void *unused) {
	const uint32_t mark = htonl(0x80000000 | LINK_RECORD_MAX);
	ssize_t went = send(peer, &mark, sizeof(mark), MSG_NOSIGNAL);

	(void)unused;
	while (went > 0)
		went = send(peer, "", 1, MSG_NOSIGNAL);
	return NULL;
}

START_TEST(a_trickle_does_not_extend_the_deadline) {
	struct call call = new_call(1, 40, SOON_MS);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, trickle, NULL), 0);
	start(&call);
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_ge(clock_ms(), call.deadline_ms);
	link_drop(link_under_test);
	link_under_test = NULL;
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(a_record_cut_by_the_deadline_is_unsent_and_the_last_of_its_link) {
	struct call call = new_call(1, LARGE, SOON_MS);
	struct call next;

	start(&call);
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert(!link_is_usable(link_under_test));
	next = new_call(2, 40, LONG_MS);
	start(&next);
	finish(&next);
	ck_assert_int_eq(next.outcome, ATTEMPT_UNSENT);
}
END_TEST

START_TEST(who_waits_is_answered_after_another_was_cut) {
	struct call waiting = new_call(1, 40, LONG_MS);
	struct call cut;

	start(&waiting);
	ck_assert_uint_eq(read_call(), 1);
	cut = new_call(2, LARGE, SOON_MS);
	start(&cut);
	finish(&cut);
	ck_assert_int_eq(cut.outcome, ATTEMPT_UNSENT);
	write_answer(1, "still");
	finish(&waiting);
	check_answered(&waiting, "still");
}
END_TEST

START_TEST(a_sender_that_gets_no_turn_is_unsent_and_the_link_stays) {
	struct call first = new_call(1, LARGE, LONG_MS);
	struct call second;
	uint8_t one;

	start(&first);
	/* Once a byte is there, the first one has its turn and cannot end it. */
	read_all(&one, 1);
	second = new_call(2, 40, SOON_MS);
	start(&second);
	finish(&second);
	ck_assert_int_eq(second.outcome, ATTEMPT_UNSENT);
	ck_assert_ptr_nonnull(strstr(second.reason, "nothing could be sent"));
	ck_assert(link_is_usable(link_under_test));
	hang_up();
	finish(&first);
	ck_assert_int_eq(first.outcome, ATTEMPT_UNSENT);
}
END_TEST

START_TEST(a_hang_up_while_idle_is_noticed_before_anything_is_sent) {
	struct call call = new_call(1, 40, LONG_MS);

	hang_up();
	start(&call);
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert(!link_is_usable(link_under_test));
}
END_TEST

START_TEST(a_deadline_that_has_passed_sends_nothing) {
	struct call call = new_call(1, 40, 0);
	uint8_t byte;

	start(&call);
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert_int_eq(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert(link_is_usable(link_under_test));
}
END_TEST

START_TEST(a_reader_that_gives_up_hands_its_role_on) {
	struct call first = new_call(1, 40, SOON_MS);
	struct call second = new_call(2, 40, LONG_MS);
	struct call third = new_call(3, 40, LONG_MS);

	start(&first);
	ck_assert_uint_eq(read_call(), 1);
	start(&second);
	start(&third);
	(void)read_call();
	(void)read_call();
	finish(&first);
	ck_assert_int_eq(first.outcome, ATTEMPT_UNANSWERED);
	write_answer(2, "second");
	finish(&second);
	check_answered(&second, "second");
	write_answer(3, "third");
	finish(&third);
	check_answered(&third, "third");
}
END_TEST

/* The peer is busy with a late answer and reads nothing until somebody takes it. */
START_TEST(a_sender_reads_while_the_peer_does_not) {
	struct call late = new_call(1, 40, SOON_MS);
	struct call call;
	uint8_t *answer = calloc(1, LARGE);

	start(&late);
	(void)read_call();
	finish(&late);
	call = new_call(2, LARGE, LONG_MS);
	start(&call);
	answer[3] = 1;
	write_fragment(answer, LARGE, true);
	ck_assert_uint_eq(read_call(), 2);
	write_answer(2, "yes");
	finish(&call);
	check_answered(&call, "yes");
	free(answer);
}
END_TEST

START_TEST(a_large_answer_comes_whole) {
	struct call call = new_call(9, LARGE, LONG_MS);
	uint8_t *answer = malloc(LARGE);

	for (size_t i = 0; i < LARGE; i++)
		answer[i] = (uint8_t)(i * 31 >> 3);
	memcpy(answer, (uint8_t[]){0, 0, 0, 9}, 4);
	start(&call);
	(void)read_call();
	write_fragment(answer, 100, false);
	write_fragment(answer + 100, LARGE - 100, true);
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call.came.size, LARGE);
	ck_assert(memcmp(call.came.data, answer, LARGE) == 0);
	free(call.came.data);
	free(answer);
}
END_TEST

static void echo(uint32_t xid) {
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", (unsigned)xid);
	write_answer(xid, text);
}

/* Answers every call with its xid; of two that are there at the same time the second one first. */
static void *echo_all(void *unused) {
	struct pollfd more = {.fd = peer, .events = POLLIN};

	(void)unused;
	for (int i = 0; i < THREADS * CALLS_EACH; i++) {
		uint32_t first = read_call();

		if (poll(&more, 1, 0) == 1) {
			echo(read_call());
			i++;
		}
		echo(first);
	}
	return NULL;
}

static void *call_often(void *argument) {
	uint32_t caller = *(uint32_t *)argument;

	for (uint32_t i = 0; i < CALLS_EACH; i++) {
		struct call call = new_call(caller << 16 | i, 40 + i, LONG_MS);
		char text[16];

		(void)run_call(&call);
		(void)snprintf(text, sizeof(text), "%u", (unsigned)call.xid);
		check_answered(&call, text);
	}
	return NULL;
}

START_TEST(many_threads_share_a_link) {
	pthread_t server;
	pthread_t threads[THREADS];
	uint32_t callers[THREADS];

	ck_assert_int_eq(pthread_create(&server, NULL, echo_all, NULL), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		callers[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_int_eq(pthread_join(server, NULL), 0);
}
END_TEST

START_TEST(a_child_that_drops_its_link_leaves_the_parents_alone) {
	struct call call = new_call(1, 40, LONG_MS);
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		link_drop(link_under_test);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	start(&call);
	(void)read_call();
	write_answer(1, "here");
	finish(&call);
	check_answered(&call, "here");
}
END_TEST

/* --- Datagrams ------------------------------------------------------------------------------- */

START_TEST(a_datagram_reaches_its_caller_and_strays_are_dropped) {
	struct call call = new_call(5, 40, LONG_MS);
	uint8_t bytes[100];

	start(&call);
	ck_assert_int_eq(recv(peer, bytes, sizeof(bytes), 0), 40);
	ck_assert_int_eq(send(peer, "", 0, 0), 0);
	ck_assert_int_eq(send(peer, "abc", 3, 0), 3);
	ck_assert_int_eq(send(peer, "\0\0\0\6six", 7, 0), 7);
	ck_assert_int_eq(send(peer, "\0\0\0\5five", 8, 0), 8);
	finish(&call);
	check_answered(&call, "five");
	ck_assert(!link_is_stream(link_under_test));
}
END_TEST

START_TEST(a_datagram_of_the_largest_size_goes_both_ways) {
	struct call call = new_call(5, LINK_DATAGRAM_MAX, LONG_MS);
	uint8_t *bytes = malloc(LINK_DATAGRAM_MAX);

	start(&call);
	ck_assert_int_eq(recv(peer, bytes, LINK_DATAGRAM_MAX, 0), LINK_DATAGRAM_MAX);
	ck_assert_int_eq(send(peer, bytes, LINK_DATAGRAM_MAX, 0), LINK_DATAGRAM_MAX);
	finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call.came.size, LINK_DATAGRAM_MAX);
	free(call.came.data);
	free(bytes);
}
END_TEST

START_TEST(a_closed_port_is_unanswered_at_once_and_breaks_the_link) {
	struct call call = new_call(1, 40, LONG_MS);

	hang_up();
	start(&call);
	check_broken(&call, "Connection refused");
}
END_TEST

int main(void) {
	Suite *suite = suite_create("client_link");
	TCase *stream = tcase_create("stream");
	TCase *datagram = tcase_create("datagram");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(stream, open_stream, close_all);
	tcase_set_timeout(stream, 60);
	tcase_add_test(stream, an_answer_reaches_its_caller);
	tcase_add_test(stream, answers_in_another_order_reach_their_callers);
	tcase_add_test(stream, an_answer_for_nobody_is_dropped);
	tcase_add_test(stream, an_answer_in_fragments_is_put_together);
	tcase_add_test(stream, several_answers_in_one_segment_are_told_apart);
	tcase_add_test(stream, a_hang_up_in_the_middle_of_an_answer_wakes_everybody);
	tcase_add_test(stream, a_record_above_the_limit_breaks_the_link);
	tcase_add_test(stream, a_record_without_an_xid_breaks_the_link);
	tcase_add_test(stream, a_silent_peer_costs_the_deadline_and_the_link_stays);
	tcase_add_test(stream, a_trickle_does_not_extend_the_deadline);
	tcase_add_test(stream, a_record_cut_by_the_deadline_is_unsent_and_the_last_of_its_link);
	tcase_add_test(stream, who_waits_is_answered_after_another_was_cut);
	tcase_add_test(stream, a_sender_that_gets_no_turn_is_unsent_and_the_link_stays);
	tcase_add_test(stream, a_hang_up_while_idle_is_noticed_before_anything_is_sent);
	tcase_add_test(stream, a_deadline_that_has_passed_sends_nothing);
	tcase_add_test(stream, a_reader_that_gives_up_hands_its_role_on);
	tcase_add_test(stream, a_sender_reads_while_the_peer_does_not);
	tcase_add_test(stream, a_large_answer_comes_whole);
	tcase_add_test(stream, many_threads_share_a_link);
	tcase_add_test(stream, a_child_that_drops_its_link_leaves_the_parents_alone);
	suite_add_tcase(suite, stream);

	tcase_add_checked_fixture(datagram, open_datagram, close_all);
	tcase_set_timeout(datagram, 60);
	tcase_add_test(datagram, a_datagram_reaches_its_caller_and_strays_are_dropped);
	tcase_add_test(datagram, a_datagram_of_the_largest_size_goes_both_ways);
	tcase_add_test(datagram, a_closed_port_is_unanswered_at_once_and_breaks_the_link);
	suite_add_tcase(suite, datagram);

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Links against a scripted peer at the other end of a socket. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "conn_peer.h"
#include "test.h"

enum {
	THREADS = 8,
	CALLS_EACH = 200,
	LONGER_MS = 450, /* so long that the link waits for an answer in recv() */
	IDLE_MS = 20,	 /* more than a link counts as just heard */
	SIGNALS = 20,
};

/* --- Streams ------------------------------------------------------------------------------- */

CASE(stream, .setup = open_stream, .teardown = close_all);

TEST(an_answer_reaches_its_caller) {
	struct call call = call_new(1, 40, LONG_MS);
	uint64_t before_ms = clock_ms();

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	write_answer(1, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
	ck_assert_str_eq(call.reason, "");
	ck_assert(conn_is_usable(conn_under_test));
	ck_assert(conn_received_since(conn_under_test, before_ms));
	ck_assert(!conn_received_since(conn_under_test, clock_ms() + 1));
}

TEST(answers_in_another_order_reach_their_callers) {
	struct call calls[THREADS];
	uint32_t seen[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		calls[i] = call_new(i, 40, LONG_MS);
		call_start(&calls[i]);
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
		call_finish(&calls[i]);
		call_check_answered(&calls[i], text);
	}
}

TEST(a_reply_without_a_call_is_dropped) {
	struct call call = call_new(1, 40, LONG_MS);

	call_start(&call);
	(void)read_call();
	write_answer(2, "late");
	write_answer(1, "yes");
	write_answer(1, "again");
	call_finish(&call);
	call_check_answered(&call, "yes");
	call = call_new(3, 40, LONG_MS);
	call_start(&call);
	(void)read_call();
	write_answer(3, "three");
	call_finish(&call);
	call_check_answered(&call, "three");
}

TEST(an_answer_in_fragments_is_put_together) {
	struct call call = call_new(0x01020304, 40, LONG_MS);
	const uint8_t answer[] = {1, 2, 3, 4, 'w', 'h', 'o', 'l', 'e'};

	call_start(&call);
	(void)read_call();
	for (size_t i = 0; i < sizeof(answer); i++) {
		write_fragment(NULL, 0, false);
		write_fragment(&answer[i], 1, false);
	}
	write_fragment(NULL, 0, true);
	call_finish(&call);
	call_check_answered(&call, "whole");
}

TEST(several_answers_in_one_segment_are_told_apart) {
	struct call calls[2] = {call_new(1, 40, LONG_MS), call_new(2, 40, LONG_MS)};
	const uint8_t both[] = {0x80, 0, 0, 5, 0, 0, 0, 2, 'b', 0x80, 0, 0, 5, 0, 0, 0, 1, 'a'};

	call_start(&calls[0]);
	call_start(&calls[1]);
	(void)read_call();
	(void)read_call();
	write_all(both, sizeof(both));
	call_finish(&calls[0]);
	call_finish(&calls[1]);
	call_check_answered(&calls[0], "a");
	call_check_answered(&calls[1], "b");
}

/* Waits for the call to end without an answer, and for the link to be useless. */
static void check_broken(struct call *call, const char *why) {
	call_finish(call);
	ck_assert_int_eq(call->outcome, ATTEMPT_UNANSWERED);
	ck_assert_ptr_nonnull(strstr(call->reason, why));
	ck_assert_ptr_null(call->came.data);
	ck_assert(!conn_is_usable(conn_under_test));
}

TEST(a_hang_up_in_the_middle_of_a_reply_wakes_all_threads) {
	struct call calls[2] = {call_new(1, 40, LONG_MS), call_new(2, 40, LONG_MS)};
	const uint8_t half[] = {0x80, 0, 0, 100, 0, 0, 0, 1, 'h'};

	call_start(&calls[0]);
	call_start(&calls[1]);
	(void)read_call();
	(void)read_call();
	write_all(half, sizeof(half));
	hang_up();
	check_broken(&calls[0], "closed the connection");
	check_broken(&calls[1], "closed the connection");
}

TEST(a_record_above_the_limit_breaks_the_link) {
	struct call call = call_new(1, 40, LONG_MS);
	const uint32_t mark = htonl(0x80000000 | (CONN_RECORD_MAX + 1));

	call_start(&call);
	(void)read_call();
	write_all(&mark, sizeof(mark));
	check_broken(&call, "no RPC record");
}

TEST(a_record_without_an_xid_breaks_the_link) {
	struct call call = call_new(1, 40, LONG_MS);

	call_start(&call);
	(void)read_call();
	write_fragment("abc", 3, true);
	check_broken(&call, "too short");
}

TEST(a_silent_peer_costs_the_deadline_and_the_link_stays) {
	struct call call = call_new(1, 40, SOON_MS);

	call_start(&call);
	(void)read_call();
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_ge(clock_ms(), call.time.deadline_ms);
	ck_assert_ptr_nonnull(strstr(call.reason, "test: no reply in "));
	ck_assert(conn_is_usable(conn_under_test));
}

/* With recv() alone, which has no deadline, this would never end. */
TEST(a_wait_in_recv_ends_at_the_deadline) {
	struct call call = call_new(1, 40, LONGER_MS);

	call_start(&call);
	(void)read_call();
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_ge(clock_ms(), call.time.deadline_ms);
	ck_assert(conn_is_usable(conn_under_test));
}

static void do_nothing(int number) {
	(void)number;
}

TEST(a_signal_does_not_end_a_wait) {
	const struct sigaction interrupt = {.sa_handler = do_nothing};
	struct call call = call_new(1, 40, LONG_MS);

	ck_assert_int_eq(sigaction(SIGUSR1, &interrupt, NULL), 0);
	call_start(&call);
	(void)read_call();
	for (int i = 0; i < SIGNALS; i++) {
		ck_assert_int_eq(pthread_kill(call.thread, SIGUSR1), 0);
		ck_assert_int_eq(usleep(1000), 0);
	}
	write_answer(1, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
}

/* An answer that claims to be large and comes byte by byte, for as long as any thread receives it.
 */
static void *trickle(void *unused) {
	const uint32_t mark = htonl(0x80000000 | CONN_RECORD_MAX);
	ssize_t went = send(peer, &mark, sizeof(mark), MSG_NOSIGNAL);

	(void)unused;
	while (went > 0)
		went = send(peer, "", 1, MSG_NOSIGNAL);
	return NULL;
}

TEST(a_trickle_does_not_extend_the_deadline) {
	struct call call = call_new(1, 40, SOON_MS);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, trickle, NULL), 0);
	call_start(&call);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_uint_ge(clock_ms(), call.time.deadline_ms);
	conn_unref(conn_under_test);
	conn_under_test = NULL;
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

TEST(a_record_cut_by_the_deadline_is_unsent_and_the_last_of_its_link) {
	struct call call = call_new(1, LARGE, SOON_MS);
	struct call next;

	call_start(&call);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert(!conn_is_usable(conn_under_test));
	next = call_new(2, 40, LONG_MS);
	call_start(&next);
	call_finish(&next);
	ck_assert_int_eq(next.outcome, ATTEMPT_UNSENT);
}

TEST(who_waits_is_answered_after_another_was_cut) {
	struct call waiting = call_new(1, 40, LONG_MS);
	struct call cut;

	call_start(&waiting);
	ck_assert_uint_eq(read_call(), 1);
	cut = call_new(2, LARGE, SOON_MS);
	call_start(&cut);
	call_finish(&cut);
	ck_assert_int_eq(cut.outcome, ATTEMPT_UNSENT);
	write_answer(1, "still");
	call_finish(&waiting);
	call_check_answered(&waiting, "still");
}

TEST(a_sender_that_gets_no_turn_is_unsent_and_the_link_stays) {
	struct call first = call_new(1, LARGE, LONG_MS);
	struct call second;
	uint8_t one;

	call_start(&first);
	/* Once a byte is there, the first one has its turn and cannot end it. */
	read_all(&one, 1);
	second = call_new(2, 40, SOON_MS);
	call_start(&second);
	call_finish(&second);
	ck_assert_int_eq(second.outcome, ATTEMPT_UNSENT);
	ck_assert_ptr_nonnull(strstr(second.reason, "nothing could be sent"));
	ck_assert(conn_is_usable(conn_under_test));
	hang_up();
	call_finish(&first);
	ck_assert_int_eq(first.outcome, ATTEMPT_UNSENT);
}

CASE(tcp, .setup = open_tcp, .teardown = close_all);

TEST(a_hang_up_while_idle_is_noticed_before_anything_is_sent) {
	struct call call = call_new(1, 40, LONG_MS);
	struct pollfd news = {.fd = link_fd, .events = POLLIN};

	hang_up();
	ck_assert_int_eq(poll(&news, 1, LONG_MS), 1);
	call_start(&call);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert(!conn_is_usable(conn_under_test));
}

TEST(a_hang_up_after_an_answer_is_noticed_once_the_link_was_idle) {
	struct call answered = call_new(1, 40, LONG_MS);
	struct pollfd news = {.fd = link_fd, .events = POLLIN};
	struct call call;

	call_start(&answered);
	(void)read_call();
	write_answer(1, "yes");
	call_finish(&answered);
	call_check_answered(&answered, "yes");
	hang_up();
	ck_assert_int_eq(poll(&news, 1, LONG_MS), 1);
	ck_assert_int_eq(usleep(IDLE_MS * 1000), 0);
	call = call_new(2, 40, LONG_MS);
	call_start(&call);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
}

CASE(stream);

TEST(a_deadline_that_has_passed_sends_nothing) {
	struct call call = call_new(1, 40, 0);
	uint8_t byte;

	call_start(&call);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert_int_eq(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert(conn_is_usable(conn_under_test));
}

TEST(a_reader_that_gives_up_hands_its_role_on) {
	struct call first = call_new(1, 40, SOON_MS);
	struct call second = call_new(2, 40, LONG_MS);
	struct call third = call_new(3, 40, LONG_MS);

	call_start(&first);
	ck_assert_uint_eq(read_call(), 1);
	call_start(&second);
	call_start(&third);
	(void)read_call();
	(void)read_call();
	call_finish(&first);
	ck_assert_int_eq(first.outcome, ATTEMPT_UNANSWERED);
	write_answer(2, "second");
	call_finish(&second);
	call_check_answered(&second, "second");
	write_answer(3, "third");
	call_finish(&third);
	call_check_answered(&third, "third");
}

/* The peer is busy with a late answer and reads nothing until it is received. */
TEST(a_sender_reads_while_the_peer_does_not) {
	struct call late = call_new(1, 40, SOON_MS);
	struct call call;
	uint8_t *answer = calloc(1, LARGE);

	call_start(&late);
	(void)read_call();
	call_finish(&late);
	call = call_new(2, LARGE, LONG_MS);
	call_start(&call);
	answer[3] = 1;
	write_fragment(answer, LARGE, true);
	ck_assert_uint_eq(read_call(), 2);
	write_answer(2, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
	free(answer);
}

TEST(a_large_answer_comes_whole) {
	struct call call = call_new(9, LARGE, LONG_MS);
	uint8_t *answer = malloc(LARGE);

	for (size_t i = 0; i < LARGE; i++)
		answer[i] = (uint8_t)(i * 31 >> 3);
	memcpy(answer, (uint8_t[]){0, 0, 0, 9}, 4);
	call_start(&call);
	(void)read_call();
	write_fragment(answer, 100, false);
	write_fragment(answer + 100, LARGE - 100, true);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call.came.size, LARGE);
	ck_assert(memcmp(call.came.data, answer, LARGE) == 0);
	free(call.came.data);
	free(answer);
}

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
		struct call call = call_new(caller << 16 | i, 40 + i, LONG_MS);
		char text[16];

		(void)call_run(&call);
		(void)snprintf(text, sizeof(text), "%u", (unsigned)call.xid);
		call_check_answered(&call, text);
	}
	return NULL;
}

TEST(many_threads_share_a_link) {
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

TEST(a_child_that_drops_its_link_leaves_the_parents_alone) {
	struct call call = call_new(1, 40, LONG_MS);
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		conn_unref(conn_under_test);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	call_start(&call);
	(void)read_call();
	write_answer(1, "here");
	call_finish(&call);
	call_check_answered(&call, "here");
}

/* As in a daemon that closes all descriptors that it inherits, and then opens its own. */
TEST(only_its_own_socket_is_closed_whatever_has_the_number_by_then) {
	int before = dup(0);
	int fds[2];
	int other[2];
	struct conn *conn;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	conn = conn_new(fds[0], true, "own", 1);
	ck_assert_ptr_nonnull(conn);
	ck_assert_int_eq(dup2(other[0], fds[0]), fds[0]);
	conn_unref(conn);
	ck_assert_int_ne(fcntl(fds[0], F_GETFD), -1);

	conn = conn_new(other[0], true, "own", 1);
	ck_assert_ptr_nonnull(conn);
	ck_assert_int_eq(dup2(before, other[0]), other[0]);
	conn_unref(conn);
	ck_assert_int_ne(fcntl(other[0], F_GETFD), -1);

	conn = conn_new(fds[1], true, "own", 1);
	ck_assert_ptr_nonnull(conn);
	conn_unref(conn);
	ck_assert_int_eq(fcntl(fds[1], F_GETFD), -1);
	(void)close(other[0]);
	(void)close(other[1]);
	(void)close(fds[0]);
	(void)close(before);
}

/* --- Datagrams ----------------------------------------------------------------------------- */

CASE(datagram, .setup = open_datagram, .teardown = close_all);

TEST(a_datagram_reaches_its_caller_and_strays_are_dropped) {
	struct call call = call_new(5, 40, LONG_MS);
	uint8_t bytes[100];

	call_start(&call);
	ck_assert_int_eq(recv(peer, bytes, sizeof(bytes), 0), 40);
	ck_assert_int_eq(send(peer, "", 0, 0), 0);
	ck_assert_int_eq(send(peer, "abc", 3, 0), 3);
	ck_assert_int_eq(send(peer, "\0\0\0\6six", 7, 0), 7);
	ck_assert_int_eq(send(peer, "\0\0\0\5five", 8, 0), 8);
	call_finish(&call);
	call_check_answered(&call, "five");
	ck_assert(!conn_is_stream(conn_under_test));
}

TEST(a_datagram_of_the_largest_size_goes_both_ways) {
	struct call call = call_new(5, CONN_DATAGRAM_MAX, LONG_MS);
	uint8_t *bytes = malloc(CONN_DATAGRAM_MAX);

	call_start(&call);
	ck_assert_int_eq(recv(peer, bytes, CONN_DATAGRAM_MAX, 0), CONN_DATAGRAM_MAX);
	ck_assert_int_eq(send(peer, bytes, CONN_DATAGRAM_MAX, 0), CONN_DATAGRAM_MAX);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call.came.size, CONN_DATAGRAM_MAX);
	free(call.came.data);
	free(bytes);
}

TEST(a_closed_port_is_unanswered_at_once_and_breaks_the_link) {
	struct call call = call_new(1, 40, LONG_MS);

	hang_up();
	call_start(&call);
	check_broken(&call, "Connection refused");
}

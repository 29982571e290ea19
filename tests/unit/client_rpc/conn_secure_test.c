/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection through TLS: many calls at once, what is cut, and what a server's alert means. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "conn_peer.h"
#include "rpc/secure.h"
#include "test.h"
#include "test_pki.h"
#include "test_server.h"

enum { SIZE = 40, THREADS = 8, CALLS = 100, HUGE_SIZE = 16 << 20 };

extern const struct tls_plugin kv_tls_plugin;

CASE(calls, .setup = open_secure, .teardown = close_all);

TEST(a_call_is_answered) {
	struct call call = call_new(1, SIZE, LONG_MS);

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	write_answer(1, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
	ck_assert(conn_is_usable(conn_under_test));
}

static void *call_often(void *number) {
	const uint32_t first = (uint32_t)(uintptr_t)number * CALLS;

	for (uint32_t i = 0; i < CALLS; i++) {
		struct call call = call_new(first + i, SIZE + i * 300, LONG_MS);

		(void)call_run(&call);
		call_check_answered(&call, "yes");
	}
	return NULL;
}

TEST(threads_share_it) {
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, (void *)i), 0);
	for (unsigned i = 0; i < THREADS * CALLS; i++)
		write_answer(read_call(), "yes");
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

TEST(what_is_large_goes_both_ways) {
	struct call call = call_new(1, HUGE_SIZE, LONG_MS);
	uint8_t *answer = calloc(1, HUGE_SIZE);
	const uint32_t xid = htonl(1);

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	memcpy(answer, &xid, sizeof(xid));
	answer[HUGE_SIZE - 1] = 7;
	write_fragment(answer, HUGE_SIZE, true);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call.came.size, HUGE_SIZE);
	ck_assert_mem_eq(call.came.data, answer, HUGE_SIZE);
	free(call.came.data);
	free(answer);
}

/* What came in one piece is not waited for again, though the socket has nothing more. */
TEST(replies_that_came_together_reach_their_calls) {
	struct call calls[3];

	for (uint32_t i = 0; i < 3; i++) {
		calls[i] = call_new(i + 1, SIZE, LONG_MS);
		call_start(&calls[i]);
		ck_assert_uint_eq(read_call(), i + 1);
	}
	gnutls_record_cork(peer_server.gnutls);
	for (uint32_t i = 0; i < 3; i++)
		write_answer(i + 1, "yes");
	ck_assert_int_gt(gnutls_record_uncork(peer_server.gnutls, GNUTLS_RECORD_WAIT), 0);
	for (uint32_t i = 0; i < 3; i++) {
		call_finish(&calls[i]);
		call_check_answered(&calls[i], "yes");
	}
}

/* A server may change its keys at any time, and ask for those of the client. */
TEST(keys_may_change_under_way) {
	for (uint32_t i = 1; i < 5; i++) {
		struct call call = call_new(i, SIZE, LONG_MS);

		call_start(&call);
		ck_assert_uint_eq(read_call(), i);
		ck_assert_int_eq(gnutls_session_key_update(peer_server.gnutls, GNUTLS_KU_PEER), 0);
		write_answer(i, "yes");
		call_finish(&call);
		call_check_answered(&call, "yes");
	}
}

TEST(a_child_that_drops_it_leaves_it_to_the_parent) {
	pid_t child = fork();
	int status = 1;

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		conn_unref(conn_under_test);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	for (uint32_t i = 1; i < 3; i++) {
		struct call call = call_new(i, SIZE, LONG_MS);

		call_start(&call);
		ck_assert_uint_eq(read_call(), i);
		write_answer(i, "yes");
		call_finish(&call);
		call_check_answered(&call, "yes");
	}
}

/* --- What is cut ---------------------------------------------------------------------------------
 */

/* Fills the socket, so that the next record is sent in part or not at all. */
static struct call stuff(void) {
	const int size = 4096;
	struct call call = call_new(1, LARGE, SOON_MS);

	ck_assert_int_eq(setsockopt(link_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	(void)call_run(&call);
	return call;
}

TEST(a_call_that_is_cut_never_runs_and_nothing_follows_it) {
	struct call call = stuff();
	struct call next = call_new(2, SIZE, LONG_MS);
	uint8_t bytes[65536];
	size_t came = 0;
	ssize_t one;

	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert(!conn_is_usable(conn_under_test));
	(void)call_run(&next);
	ck_assert_int_eq(next.outcome, ATTEMPT_UNSENT);
	(void)shutdown(link_fd, SHUT_WR);
	while ((one = gnutls_record_recv(peer_server.gnutls, bytes, sizeof(bytes))) > 0)
		came += (size_t)one;
	ck_assert_int_lt(one, 0);
	ck_assert_uint_lt(came, LARGE);
}

/* None of its bytes were counted as sent, but they are encrypted: they must not leave later. */
TEST(a_small_call_that_is_staged_cuts_the_connection) {
	const int size = 4096;
	uint8_t filler[4096] = {0};
	struct call call;

	ck_assert_int_eq(setsockopt(link_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	while (send(link_fd, filler, sizeof(filler), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	call = call_new(1, SIZE, SOON_MS);
	(void)call_run(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
	ck_assert(!conn_is_usable(conn_under_test));
}

TEST(a_call_without_a_reply_ends_at_its_deadline) {
	struct call call = call_new(1, SIZE, SOON_MS);
	const uint8_t half[] = {23, 3, 3, 1, 0, 1, 2, 3};

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	/* A record that does not end. */
	ck_assert_int_eq(send(peer, half, sizeof(half), 0), sizeof(half));
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert(conn_is_usable(conn_under_test));
}

TEST(a_changed_record_breaks_the_connection) {
	struct call call = call_new(1, SIZE, LONG_MS);
	const uint8_t record[] = {23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8,
				  9,  0, 1, 2, 3,  4, 5, 6, 7, 8, 9, 0};

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	ck_assert_int_eq(send(peer, record, sizeof(record), 0), sizeof(record));
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_ptr_nonnull(strstr(call.reason, "test: TLS failed"));
	ck_assert(!conn_is_usable(conn_under_test));
}

/* --- Alerts --------------------------------------------------------------------------------------
 */

static void send_alert(void) {
	ck_assert_int_eq(
	    gnutls_alert_send(peer_server.gnutls, GNUTLS_AL_FATAL, GNUTLS_A_CERTIFICATE_REQUIRED),
	    0);
}

static void check_rejected(const struct call *call) {
	ck_assert_int_eq(call->outcome, ATTEMPT_REJECTED);
	ck_assert_int_eq(conn_refusal(conn_under_test), KV_DENIED);
	ck_assert_ptr_nonnull(strstr(call->reason, "wants a certificate"));
	ck_assert(!conn_is_usable(conn_under_test));
}

TEST(an_alert_before_the_first_reply_is_a_rejection) {
	struct call call = call_new(1, SIZE, LONG_MS);

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	send_alert();
	call_finish(&call);
	check_rejected(&call);
}

TEST(an_alert_before_the_first_call_is_one_too) {
	struct call call = call_new(1, SIZE, LONG_MS);

	send_alert();
	hang_up();
	(void)call_run(&call);
	check_rejected(&call);
}

TEST(later_an_alert_is_a_lost_connection) {
	struct call call = call_new(1, SIZE, LONG_MS);
	struct call next = call_new(2, SIZE, LONG_MS);

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	write_answer(1, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
	call_start(&next);
	ck_assert_uint_eq(read_call(), 2);
	send_alert();
	call_finish(&next);
	ck_assert_int_eq(next.outcome, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(conn_refusal(conn_under_test), KV_OK);
}

TEST(a_hang_up_is_a_lost_connection) {
	struct call call = call_new(1, SIZE, LONG_MS);

	call_start(&call);
	ck_assert_uint_eq(read_call(), 1);
	hang_up();
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(conn_refusal(conn_under_test), KV_OK);
}

/* --- No connection at all
 * ------------------------------------------------------------------------- */

CASE(refused);

TEST(calls_on_a_refused_connection_are_rejected) {
	struct call call = call_new(1, SIZE, LONG_MS);

	conn_under_test = conn_new_refused(KV_INVALID, "no such file", "test", 7);
	ck_assert(!conn_is_usable(conn_under_test));
	(void)call_run(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_REJECTED);
	ck_assert_int_eq(conn_refusal(conn_under_test), KV_INVALID);
	ck_assert_str_eq(call.reason, "test: no such file");
	conn_unref(conn_under_test);
}

/* The server's part of a handshake, of which only the first bytes come. */
static enum tls_result shake_with(const uint8_t *bytes, size_t size, unsigned ms) {
	const struct tls_config config = {.ca = pki_path("ca.pem"), .name = "localhost"};
	char error[TLS_ERROR_MAX];
	struct secure *secure;
	enum tls_result result;
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	ck_assert_int_eq(secure_new(&kv_tls_plugin, &config, &secure, error), TLS_OK);
	ck_assert_int_eq(send(ends[1], bytes, size, 0), size);
	result = secure_handshake(secure, ends[0], clock_ms() + ms, error);
	ck_assert_msg(result != TLS_AGAIN || strstr(error, "does not end") != NULL, "%s", error);
	secure_free(secure);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return result;
}

TEST(a_handshake_that_stalls_ends_at_the_deadline) {
	/* The beginning of a ServerHello. */
	const uint8_t bytes[] = {22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3, 1, 2, 3, 4};
	uint64_t began_ms;

	pki_make();
	began_ms = clock_ms();
	for (size_t i = 1; i < sizeof(bytes); i++)
		ck_assert_int_eq(shake_with(bytes, i, 5), TLS_AGAIN);
	ck_assert_uint_ge(clock_ms() - began_ms, 5 * (sizeof(bytes) - 1));
	ck_assert_int_eq(shake_with((const uint8_t *)"HTTP/1.1 400 no\r\n\r\n", 19, LONG_MS),
			 TLS_FAILED);
	pki_remove();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: recv sendmsg poll */
/* What a call on a link costs: counted, not timed. */

#include <arpa/inet.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "conn_peer.h"
#include "test.h"

enum { CALLS = 200, CALL_SIZE = 40 };

/* --- System calls of the link under test; the linker sends them here ------------------------ */

static _Atomic unsigned system_calls;

ssize_t __real_recv(int fd, void *place, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *place, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_poll(struct pollfd *wanted, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *wanted, nfds_t count, int timeout_ms);

ssize_t __wrap_recv(int fd, void *place, size_t size, int flags) {
	system_calls += fd == link_fd;
	return __real_recv(fd, place, size, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
	system_calls += fd == link_fd;
	return __real_sendmsg(fd, message, flags);
}

int __wrap_poll(struct pollfd *wanted, nfds_t count, int timeout_ms) {
	system_calls += wanted->fd == link_fd;
	return __real_poll(wanted, count, timeout_ms);
}

/* --- One call after another ---------------------------------------------------------------- */

/* As kvd does, each answer in one piece. */
static void *answer_calls(void *unused) {
	(void)unused;
	for (int i = 0; i < CALLS; i++) {
		const uint32_t answer[] = {htonl(0x80000000 | sizeof(uint32_t)),
					   htonl(read_call())};

		write_all(answer, sizeof(answer));
	}
	return NULL;
}

CASE(cost, .setup = open_tcp, .teardown = close_all);

/* Between two calls this thread may be kept waiting so long that a look for a hang-up is due. */
TEST(one_call_after_another_takes_a_sendmsg_and_a_recv) {
	unsigned least = UINT_MAX;
	pthread_t server;

	ck_assert_int_eq(pthread_create(&server, NULL, answer_calls, NULL), 0);
	for (uint32_t i = 0; i < CALLS; i++) {
		struct call call = call_new(i, CALL_SIZE, LONG_MS);

		system_calls = 0;
		(void)call_run(&call);
		if (system_calls < least)
			least = system_calls;
		call_check_answered(&call, "");
	}
	ck_assert_int_eq(pthread_join(server, NULL), 0);
	ck_assert_uint_eq(least, 2);
}

/* --- Memory -------------------------------------------------------------------------------- */

static struct rpc_reply place_for_answer(void *place, size_t room) {
	return (struct rpc_reply){.place = place, .room = room};
}

/* A call in a thread of its own, into the place that is lent. */
static void *exchange(void *message) {
	static const uint8_t call[CALL_SIZE]; /* its xid is 0 */

	const struct call_time time = {.deadline_ms = clock_ms() + LONG_MS};

	ck_assert_int_eq(
	    conn_call(conn_under_test, (struct kv_bytes){call, sizeof(call)}, &time, message),
	    ATTEMPT_ANSWERED);
	return NULL;
}

static void exchange_for(struct rpc_reply *message, const char *text) {
	pthread_t caller;

	ck_assert_int_eq(pthread_create(&caller, NULL, exchange, message), 0);
	ck_assert_uint_eq(read_call(), 0);
	write_answer(0, text);
	ck_assert_int_eq(pthread_join(caller, NULL), 0);
	ck_assert_uint_eq(message->size, 4 + strlen(text));
	ck_assert_mem_eq(message->data + 4, text, strlen(text));
}

TEST(an_answer_comes_to_the_place_that_is_lent_if_it_fits) {
	uint32_t place[2];
	struct rpc_reply fits = place_for_answer(place, sizeof(place));
	struct rpc_reply does_not = place_for_answer(place, sizeof(place));

	exchange_for(&fits, "fits");
	ck_assert_ptr_eq(fits.data, place);
	exchange_for(&does_not, "larger");
	ck_assert_ptr_ne(does_not.data, place);
	free(does_not.data);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: clock_ms sendmsg */
/*
 * Large calls and replies over a slow network: as long as bytes move, an attempt goes on. The clock
 * is the test's own: it goes on by less than a span each time that something has moved.
 */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "clock.h"
#include "conn_peer.h"
#include "record_marking.h"
#include "test.h"

enum {
	SPAN_MS = 1000, /* of an attempt */
	STEP_MS = 900,
	STEPS = 10,
	PIECE = 100000, /* bytes */
	ROOM = 212992,	/* that a socket may have for what it sends, as any user */
	LOOK_US = 1000,
	XID = 1,
};

static atomic_uint_fast64_t now_ms;
static atomic_size_t bytes_sent;
static atomic_bool has_ended;

uint64_t __wrap_clock_ms(void);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

uint64_t __wrap_clock_ms(void) {
	return now_ms;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
	ssize_t went = __real_sendmsg(fd, message, flags);

	if (went > 0)
		bytes_sent += (size_t)went;
	return went;
}

static void start(void) {
	now_ms = 1;
	bytes_sent = 0;
	has_ended = false;
	open_stream();
}

static void *run(void *call) {
	(void)call_run(call);
	has_ended = true;
	return NULL;
}

/* A call whose attempt may take `limit_ms` as long as bytes move. */
static void begin(struct call *call, size_t size, uint64_t limit_ms) {
	*call = call_new(XID, size, SPAN_MS);
	call->time.limit_ms = limit_ms;
	ck_assert_int_eq(pthread_create(&call->thread, NULL, run, call), 0);
}

/* Time goes on, and nothing moves, until the call has ended. */
static void await_end(struct call *call) {
	while (!has_ended) {
		now_ms += SPAN_MS + 1;
		(void)usleep(LOOK_US);
	}
	call_finish(call);
}

/* Until the connection has received all that the peer wrote. */
static void await_taken(void) {
	int left = 1;

	while (ioctl(peer, SIOCOUTQ, &left) == 0 && left > 0)
		(void)usleep(LOOK_US);
}

static void read_piece(size_t size) {
	uint8_t *bytes = malloc(size);

	ck_assert_ptr_nonnull(bytes);
	read_all(bytes, size);
	free(bytes);
}

static uint8_t *reply_of(size_t size) {
	uint8_t *bytes = calloc(1, RECORD_MARK_SIZE + size);
	uint32_t words[2] = {htonl(0x80000000U | (uint32_t)size), htonl(XID)};

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, words, sizeof(words));
	return bytes;
}

/* Reads until the connection has sent more, or all of `size` bytes. */
static void read_until_sent_more(size_t *at, size_t size) {
	size_t before = bytes_sent;

	while (bytes_sent == before && *at + PIECE < size) {
		read_piece(PIECE);
		*at += PIECE;
	}
}

CASE(progress, .setup = start, .teardown = close_all);

TEST(a_reply_that_is_coming_in_is_waited_for) {
	size_t size = (size_t)STEPS * PIECE;
	uint8_t *reply = reply_of(size);
	struct call call;

	begin(&call, 40, UINT64_MAX);
	ck_assert_uint_eq(read_call(), XID);
	for (unsigned i = 0; i < STEPS; i++) {
		write_all(reply + (size_t)i * PIECE, PIECE);
		await_taken();
		now_ms += STEP_MS;
	}
	ck_assert(!has_ended);
	write_all(reply + size, RECORD_MARK_SIZE);
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_ANSWERED);
	ck_assert_uint_eq(call.came.size, size);
	free(call.came.data);
	free(reply);
}

TEST(a_reply_that_stops_in_the_middle_is_not_waited_for) {
	uint8_t *reply = reply_of(2 * (size_t)PIECE);
	struct call call;

	begin(&call, 40, UINT64_MAX);
	ck_assert_uint_eq(read_call(), XID);
	write_all(reply, PIECE);
	await_end(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	free(reply);
}

TEST(a_reply_to_another_call_is_no_progress) {
	uint8_t *reply = reply_of(LARGE);
	uint32_t other = htonl(XID + 1);
	struct call call;

	memcpy(reply + RECORD_MARK_SIZE, &other, sizeof(other));
	begin(&call, 40, UINT64_MAX);
	ck_assert_uint_eq(read_call(), XID);
	for (size_t at = 0; !has_ended; at += PIECE) {
		ck_assert_uint_lt(at + PIECE, LARGE);
		write_all(reply + at, PIECE);
		await_taken();
		now_ms += STEP_MS;
		/* It looks at the clock after some time in recv(). */
		if (now_ms > call.time.deadline_ms)
			await_end(&call);
	}
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
	free(reply);
}

TEST(a_call_that_is_being_sent_is_not_cut) {
	size_t at = 0;
	struct call call;

	begin(&call, LARGE, UINT64_MAX);
	for (unsigned i = 0; i < STEPS; i++) {
		read_until_sent_more(&at, LARGE);
		now_ms += STEP_MS;
	}
	ck_assert(!has_ended);
	read_piece(LARGE + RECORD_MARK_SIZE - at);
	write_answer(XID, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
}

TEST(a_call_that_leaves_the_socket_has_time) {
	const int room = ROOM;
	size_t size = ROOM / 4 * 3; /* the kernel takes all of it at once */
	struct call call;

	ck_assert_int_eq(setsockopt(link_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	begin(&call, size, UINT64_MAX);
	while (bytes_sent < size + RECORD_MARK_SIZE)
		(void)usleep(LOOK_US);
	for (unsigned i = 0; i < STEPS - 1; i++) {
		read_piece(size / STEPS);
		now_ms += STEP_MS;
	}
	ck_assert(!has_ended);
	await_end(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNANSWERED);
}

TEST(the_limit_ends_it_though_bytes_move) {
	size_t at = 0;
	struct call call;

	begin(&call, LARGE, 3 * STEP_MS);
	for (unsigned i = 0; i < 3; i++) {
		read_until_sent_more(&at, LARGE);
		now_ms += STEP_MS;
	}
	call_finish(&call);
	ck_assert_int_eq(call.outcome, ATTEMPT_UNSENT);
}

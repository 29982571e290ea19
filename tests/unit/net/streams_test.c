/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: poll */
/* wrap: recv */
/* Many connections: which are accepted, which are dropped for others, and how they end. */
#include "net/streams_fixture.h"

static size_t max_asked; /* bytes, of recv() */

static int fd_to_close = -1; /* when poll() is called without descriptors */
static unsigned rounds;	     /* of these calls */

int __wrap_poll(struct pollfd *, nfds_t, int);
int __real_poll(struct pollfd *, nfds_t, int);
int __wrap_poll(struct pollfd *fds, nfds_t count, int wait_ms) {
	if (count == 0) {
		rounds++;
		if (fd_to_close >= 0)
			(void)close(fd_to_close);
		fd_to_close = -1;
	}
	return __real_poll(fds, count, wait_ms);
}

ssize_t __real_recv(int, void *, size_t, int);
ssize_t __wrap_recv(int, void *, size_t, int);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags) {
	if (size > max_asked)
		max_asked = size;
	return __real_recv(fd, bytes, size, flags);
}

CASE(streams, .setup = set_up, .teardown = tear_down);

/* --- Too many -------------------------------------------------------------------------------- */

TEST(a_new_connection_takes_the_place_of_an_idle_one_of_the_peer_that_has_most) {
	int many[MAX - 2], few[2], new;

	fill(few, 2, host(1));
	fill(many, MAX - 2, host(2));
	at(START_MS + STREAM_IDLE_MS);
	new = connect_as(host(3));
	ck_assert(is_open(new) && is_open(few[0]) && is_open(few[1]));
	ck_assert(!is_open(many[0]));
	ck_assert_uint_eq(stat_of("connections"), MAX);
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	close_all(many, MAX - 2);
	close_all(few, 2);
	(void)close(new);
}

TEST(an_active_connection_is_not_closed_for_one_more_of_the_same_peer) {
	int many[MAX], new;

	fill(many, MAX, host(1));
	at(START_MS + STREAM_IDLE_MS - 1);
	new = connect_as(host(1));
	ck_assert(!is_open(new));
	ck_assert_uint_eq(stat_of("connections_refused"), 1);
	ck_assert_uint_eq(stat_of("connections_dropped"), 0);
	(void)close(new);
	at(START_MS + STREAM_IDLE_MS);
	new = connect_as(host(1));
	ck_assert(is_open(new));
	(void)close(new);
	close_all(many, MAX);
}

TEST(but_for_one_of_a_peer_that_has_fewer) {
	int many[MAX], new;

	fill(many, MAX, host(1));
	new = connect_as(host(2));
	ck_assert(is_open(new));
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	(void)close(new);
	close_all(many, MAX);
}

TEST(a_connection_with_a_call_is_never_closed_for_others) {
	int many[MAX], new;

	fill(many, MAX, host(1));
	for (unsigned i = 0; i < MAX; i++)
		send_put(many[i]);
	at(START_MS + STREAM_IDLE_MS);
	new = connect_as(host(2));
	ck_assert(!is_open(new));
	ck_assert_uint_eq(stat_of("connections_dropped"), 0);
	(void)close(new);
	dispatch_release_durable(dispatch, recorded);
	turn();
	at(START_MS + 2 * STREAM_IDLE_MS);
	new = connect_as(host(2));
	ck_assert(is_open(new));
	(void)close(new);
	close_all(many, MAX);
}

TEST(root_and_the_user_of_the_server_get_in_above_the_limit) {
	int many[MAX], administrators[STREAM_RESERVE], other;

	fill(many, MAX, user(geteuid() + 1));
	for (unsigned i = 0; i < MAX; i++)
		send_put(many[i]);
	other = connect_as(user(geteuid() + 2));
	ck_assert(!is_open(other));
	(void)close(other);
	for (unsigned i = 0; i < STREAM_RESERVE; i++) {
		administrators[i] = connect_as(user(i % 2 == 0 ? 0 : geteuid()));
		ck_assert(is_open(administrators[i]));
		send_put(administrators[i]);
	}
	other = connect_as(user(0));
	ck_assert(!is_open(other));
	(void)close(other);
	ck_assert_uint_eq(stat_of("connections"), MAX + STREAM_RESERVE);
	close_all(administrators, STREAM_RESERVE);
	close_all(many, MAX);
}

TEST(that_there_are_too_many_is_logged_once_and_that_it_is_over) {
	int many[MAX];

	fill(many, MAX, host(1));
	ck_assert_uint_eq(logged("connections are open"), 0);
	for (unsigned i = 0; i < 3; i++)
		(void)close(connect_as(host(1)));
	ck_assert_uint_eq(logged("6 connections are open"), 1);
	ck_assert_uint_eq(logged("no longer full"), 0);
	close_all(many, MAX);
	turn();
	ck_assert_uint_eq(logged("no longer full"), 1);
}

/* --- Too much -------------------------------------------------------------------------------- */

TEST(when_connections_hold_too_much_the_peer_that_holds_most_pays) {
	int slow = connect_as(host(1));
	int greedy[2];

	send_part(slow, 1 << 20, 300000);
	at(START_MS + STREAM_PRESSURE_TIMEOUT_MS);
	fill(greedy, 2, host(2));
	for (unsigned i = 0; i < 2; i++)
		send_part(greedy[i], 2 << 20, 1900000);
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	ck_assert_uint_le(stat_of("receive_buffer_bytes"), HELD_MAX);
	ck_assert(is_open(slow));
	ck_assert_uint_eq(logged("from 10.0.0.2:51234: unfinished records"), 1);
	(void)close(slow);
	close_all(greedy, 2);
}

TEST(of_its_connections_the_one_that_does_not_move_goes_first) {
	int stalled = connect_as(host(1));
	int moving[2];

	send_part(stalled, 1 << 20, 300000);
	at(START_MS + STREAM_PRESSURE_TIMEOUT_MS);
	fill(moving, 2, host(1));
	send_part(moving[0], 2 << 20, 1900000);
	send_part(moving[1], 2 << 20, 1900000);
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	ck_assert(!is_open(stalled));
	(void)close(stalled);
	close_all(moving, 2);
}

TEST(and_if_all_move_the_one_that_holds_most) {
	int small = connect_as(host(1));
	int large[2];

	send_part(small, 1 << 20, 300000);
	fill(large, 2, host(1));
	send_part(large[0], 2 << 20, 1900000);
	send_part(large[1], 2 << 20, 1900000);
	ck_assert_uint_eq(stat_of("connections_dropped"), 1);
	ck_assert(is_open(small));
	(void)close(small);
	close_all(large, 2);
}

TEST(with_v_each_connection_has_a_line_and_with_vv_each_call) {
	int fd;

	log_open("streams_test", 1);
	fd = connect_as(host(1));
	send_put(fd);
	ck_assert_uint_eq(logged("tcp connection from 10.0.0.1:51234, 1 are open"), 1);
	ck_assert_uint_eq(logged("PUT"), 0);
	dispatch_release_durable(dispatch, recorded);
	log_open("streams_test", 2);
	send_put(fd);
	ck_assert_uint_eq(logged("tcp call from 10.0.0.1:51234: PUT, KV_VERSION"), 1);
	(void)receive_all(fd);
	(void)close(fd);
	turn();
	ck_assert_uint_eq(logged("closed tcp connection from 10.0.0.1:51234: the client"), 1);
	fd = connect_as(user(1000));
	send_part(fd, 8, 8);
	ck_assert_uint_eq(logged("dropped local connection from uid 1000 pid 4711: it sent"), 1);
	ck_assert_uint_eq(logged("closed local connection"), 0);
	(void)close(fd);
}

TEST(lines_about_dropped_connections_have_a_rate_limit) {
	for (unsigned i = 0; i < 20; i++) {
		int fd = connect_as(host(1));

		send_part(fd, 8, 8); /* not an RPC call */
		ck_assert(!is_open(fd));
		(void)close(fd);
	}
	ck_assert_uint_eq(logged("dropped tcp connection from 10.0.0.1:51234: it sent"), 1);
	/* Another peer has lines of its own. */
	int other = connect_as(host(2));
	send_part(other, 8, 8);
	(void)close(other);
	ck_assert_uint_eq(logged("dropped tcp connection from 10.0.0.2:51234: it sent"), 1);
	at(START_MS + LOG_LIMIT_PERIOD_MS);
	int fd = connect_as(host(1));
	send_part(fd, 8, 8);
	(void)close(fd);
	ck_assert_uint_eq(logged("(and 19 more like it)"), 1);
}

/* --- What a turn takes in --------------------------------------------------------------------- */

TEST(of_a_large_record_a_turn_receives_a_part) {
	int fd = connect_as(host(1));

	send_part(fd, 1 << 20, 900000);
	ck_assert_uint_eq(max_asked, RECV_DIRECT_MAX);
	(void)close(fd);
}

TEST(a_turn_took_all_unless_a_connection_is_new_or_a_buffer_was_filled) {
	static char bytes[RECV_BUFFER_SIZE];
	const uint32_t mark = htonl(0x80000000u | (1 << 20));
	int fd = connect_as(host(1));

	ck_assert(!streams_took_all(streams));
	turn();
	ck_assert(streams_took_all(streams));
	memcpy(bytes, &mark, MARK);
	ck_assert_int_eq(send(fd, bytes, 1000, 0), 1000);
	turn();
	ck_assert(streams_took_all(streams));
	ck_assert_int_eq(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	turn();
	ck_assert(!streams_took_all(streams));
	turn();
	ck_assert(streams_took_all(streams));
	streams_pause(streams, true);
	ck_assert(!streams_took_all(streams));
	streams_pause(streams, false);
	ck_assert(streams_took_all(streams));
	(void)close(fd);
}

/* No more bytes lead back to it: nothing is behind it, and its own are in its memory. */
TEST(a_large_record_that_is_complete_as_a_pause_begins_is_run_after_it) {
	const size_t waiting_max = (MEMORY_MAX / WAITING_SHARE - 1) / sizeof(struct call) + 1;
	int fds[5];
	size_t size, small_size;
	char *call = encode_put(200 << 10, &size), *small = encode_put(1, &small_size);

	fill(fds, 5, host(1));
	/* A connection may have STREAM_PENDING_MAX of them. */
	for (size_t i = 1; i < waiting_max; i++)
		send_put(fds[i % 4]);
	send_all(fds[4], call, size / 2);
	for (unsigned i = 0; i < 4; i++)
		turn();
	ck_assert(!dispatch_is_backlogged(dispatch));
	send_all(fds[0], small, small_size);
	send_all(fds[4], call + size / 2, size - size / 2);
	turn();
	ck_assert(dispatch_is_backlogged(dispatch) && streams_are_paused(streams));
	dispatch_release_durable(dispatch, recorded);
	streams_pause(streams, false);
	turn();
	ck_assert_uint_gt(receive_all(fds[4]), 0);
	close_all(fds, 5);
	free(small);
	free(call);
}

/* --- Ends ------------------------------------------------------------------------------------ */

TEST(a_client_that_shuts_down_its_sending_side_gets_the_replies_that_it_waits_for) {
	int fd = connect_as(host(1));

	send_put(fd);
	send_put(fd);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	turn();
	turn();
	ck_assert(is_open(fd));
	ck_assert_uint_eq(receive_all(fd), 0);
	dispatch_release_durable(dispatch, recorded);
	turn();
	ck_assert_uint_ge(receive_all(fd), 2 * 32);
	ck_assert(!is_open(fd));
	turn();
	ck_assert_uint_eq(stat_of("connections"), 0);
	(void)close(fd);
}

TEST(also_those_that_the_kernel_does_not_take_at_once) {
	enum { CALLS = 20000 };
	int fd = connect_as(host(1));
	size_t size, replies = 0;
	char *call = encode_put(1, &size);

	for (unsigned i = 0; i < CALLS; i++) {
		while (send(fd, call, size, MSG_NOSIGNAL) < 0) {
			turn();
			dispatch_release_durable(dispatch, recorded);
		}
		if (i % 100 == 0)
			replies += receive_all(fd);
	}
	free(call);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	for (unsigned i = 0; i < CALLS && is_open(fd); i++) {
		turn();
		dispatch_release_durable(dispatch, recorded);
		replies += receive_all(fd);
	}
	ck_assert_uint_eq(replies % CALLS, 0);
	ck_assert_uint_gt(replies, 0);
	(void)close(fd);
}

TEST(a_client_that_is_gone_gets_none_and_its_calls_do_no_harm) {
	int fd = connect_as(host(1));
	int other = connect_as(host(2));

	send_put(fd);
	send_put(other);
	(void)close(fd);
	turn();
	turn();
	ck_assert_uint_eq(stat_of("connections"), 1);
	dispatch_release_durable(dispatch, recorded);
	turn();
	ck_assert_uint_gt(receive_all(other), 0);
	(void)close(other);
}

TEST(connections_that_are_freed_with_calls_get_no_reply) {
	int fd = connect_as(host(1));

	send_put(fd);
	(void)close(fd);
	turn();
	turn();
	ck_assert_uint_eq(stat_of("connections"), 0);
	/* tear_down() frees it; a leak or a use after that is the sanitizers' to find. */
}

TEST(at_the_end_a_client_that_is_gone_does_not_hold_up_the_others) {
	int gone, there;

	send_buffer = 1; /* the kernel makes it its minimum, which takes a few replies */
	gone = connect_as(host(1));
	send_buffer = 0;
	there = connect_as(host(2));
	for (unsigned i = 0; i < 500; i++)
		send_put(gone);
	send_put(there);
	dispatch_release_durable(dispatch, recorded);
	fd_to_close = gone; /* after the first round */
	streams_drain(streams, 3000);
	ck_assert_int_eq(fd_to_close, -1);
	ck_assert_uint_eq(rounds, 1);
	ck_assert_uint_gt(receive_all(there), 0);
	(void)close(there);
}

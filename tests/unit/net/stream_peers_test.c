/* SPDX-License-Identifier: BSD-3-Clause */
/* What one peer may have of the connections. */
#include "acl/acl.h"
#include "net/streams_fixture.h"

CASE(stream_peers, .setup = set_up, .teardown = tear_down);

/* --- One peer --------------------------------------------------------------------------------- */

static void restart_with(unsigned all, unsigned each) {
	const struct stream_limits most = {
	    .connections_max = all, .connections_each = each, .held_max = HELD_MAX};

	streams_free(streams);
	streams = streams_new(epoll, &most, dispatch, service);
	ck_assert_ptr_nonnull(streams);
	at(START_MS);
}

TEST(a_peer_has_no_more_connections_than_it_may_and_others_have_theirs) {
	int many[4], others[2], new;

	restart_with(MAX, 4);
	fill(many, 4, host(1));
	new = connect_as(host(1));
	ck_assert(!is_open(new));
	ck_assert_uint_eq(stat_of("connections_refused"), 1);
	(void)close(new);
	fill(others, 2, host(2));
	ck_assert_uint_eq(logged("any at 10.0.0.1:51234 has 4 connections"), 1);
	/* Its own idle one goes, though another peer has one that is idle for longer. */
	at(START_MS + STREAM_IDLE_MS);
	new = connect_as(host(1));
	ck_assert(is_open(new) && !is_open(many[0]) && is_open(others[0]));
	ck_assert_uint_eq(stat_of("connections"), MAX);
	ck_assert_uint_eq(stat_of("connections_each"), 4);
	ck_assert_uint_eq(stat_of("connections_max"), MAX);
	(void)close(new);
	close_all(many, 4);
	close_all(others, 2);
}

TEST(root_and_the_user_of_the_server_get_in_above_their_own_limit) {
	int administrators[2 + STREAM_RESERVE], other;

	restart_with(1000, 2);
	fill(administrators, 2 + STREAM_RESERVE, user(geteuid()));
	for (unsigned i = 0; i < 2 + STREAM_RESERVE; i++)
		send_put(administrators[i]);
	other = connect_as(user(geteuid()));
	ck_assert(!is_open(other));
	(void)close(other);
	close_all(administrators, 2 + STREAM_RESERVE);
}

TEST(of_a_peer_with_many_one_percent_goes_at_once_those_that_are_idle_for_longest) {
	enum { MANY = 300, GO = 3 };
	static int many[MANY];
	unsigned closed = 0;
	int new;

	restart_with(MANY, 0);
	for (unsigned i = 0; i < MANY; i++) {
		/* Those in the middle are the oldest. */
		at(START_MS + (i + MANY / 2) % MANY);
		many[i] = connect_as(host(1));
	}
	at(START_MS + MANY + STREAM_IDLE_MS);
	new = connect_as(host(2));
	ck_assert(is_open(new));
	for (unsigned i = 0; i < MANY; i++)
		if (!is_open(many[i])) {
			ck_assert(i >= MANY / 2 && i < MANY / 2 + GO);
			closed++;
		}
	ck_assert_uint_eq(closed, GO);
	(void)close(new);
	close_all(many, MANY);
}

TEST(rules_say_how_many_connections_a_peer_has) {
	static const struct who_names names;
	static const char text[] = "* any(rw)\nlimit host:10.0.0.1 connections=1\n"
				   "limit host:10.0.0.2 connections=0\n";
	char error[ACL_ERROR_MAX];
	struct acl *acl =
	    acl_parse("rules", (struct kv_bytes){text, sizeof(text) - 1}, &names, error);
	int one, none[3], usual[2], new;

	ck_assert_msg(acl != NULL, "%s", error);
	restart_with(MAX, 2);
	streams_set_acl(streams, acl);
	fill(&one, 1, host(1));
	fill(none, 3, host(2));
	fill(usual, 2, host(3));
	for (unsigned i = 1; i <= 3; i += 2) {
		new = connect_as(host(i));
		ck_assert(!is_open(new));
		(void)close(new);
	}
	streams_set_acl(streams, NULL);
	acl_free(acl);
	(void)close(one);
	close_all(none, 3);
	close_all(usual, 2);
}

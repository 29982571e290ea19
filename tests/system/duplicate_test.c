/* SPDX-License-Identifier: BSD-3-Clause */
/* The slot table: what becomes of copies of a write, over real connections. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { LARGE = 70000 }; /* does not fit a datagram */

/* The change must be answered like `first`, and must not run. */
static void check_copy(struct peer *peer, const struct change *change,
		       const struct outcome *first) {
	outcome_check_same(first, change_run(peer, change));
}

CASE(copies, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_greater_number_is_a_new_call_and_numbers_may_be_skipped) {
	static const uint64_t numbers[] = {1, 2, 7, 1000000, UINT64_MAX};

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		struct change change = put(&fx.session, 0, numbers[i], "k", "v");
		struct outcome done = change_run(&fx.peer, &change);
		ck_assert_int_eq(done.status, KV1_OK);
		ck_assert_uint_eq(done.current, i + 1);
		outcome_free(&done);
	}
}

TEST(a_copy_on_the_same_connection_gets_the_same_answer_and_runs_nothing) {
	struct change change = append(&fx.session, 3, 1, "k", "a");
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_eq(first.current, 1);
	ck_assert_uint_eq(first.old_version, 0);
	for (int copies = 0; copies < 3; copies++) {
		check_copy(&fx.peer, &change, &first);
	}
	check_key(&fx.peer, "k", "a", 1);
	ck_assert_uint_eq(counter(&fx.peer, "calls_replayed"), 3);
	outcome_free(&first);
}

TEST(a_copy_under_the_same_xid_gets_the_same_answer) {
	struct change change = append(&fx.session, 0, 1, "k", "a");
	uint32_t xid = peer_xid(&fx.peer);
	peer_send(&fx.peer, change_message(xid, &change));
	struct outcome first = change_await(&fx.peer, &change, xid);
	peer_send(&fx.peer, change_message(xid, &change));
	outcome_check_same(&first, change_await(&fx.peer, &change, xid));
	check_key(&fx.peer, "k", "a", 1);
	outcome_free(&first);
}

TEST(a_copy_over_another_transport_gets_the_same_answer) {
	for (int via = 0; via < VIA_COUNT; via++) {
		if ((via == VIA_TCP6 || via == VIA_UDP6) && !server_has_ipv6()) {
			continue;
		}
		struct change change = append(&fx.session, 0, 1 + (uint64_t)via, "k", "a");
		struct outcome first = change_run(&fx.peer, &change);
		ck_assert_int_eq(first.status, KV1_OK);
		struct peer other;
		peer_open(&other, &fx.server, (enum via)via);
		check_copy(&other, &change, &first);
		/* And the other way: first there, then here. */
		change = append(&fx.session, 1, 1 + (uint64_t)via, "k2", "b");
		outcome_free(&first);
		first = change_run(&other, &change);
		check_copy(&fx.peer, &change, &first);
		outcome_free(&first);
		peer_close(&other);
	}
}

TEST(a_copy_after_the_connection_died_with_the_answer_unread_runs_nothing) {
	struct peer other;

	struct change change = append(&fx.session, 0, 1, "k", "a");
	peer_open(&other, &fx.server, VIA_TCP);
	(void)change_send(&other, &change);
	peer_close(&other);

	struct outcome answered = change_run(&fx.peer, &change);
	ck_assert_int_eq(answered.status, KV1_OK);
	ck_assert_uint_eq(answered.current, 1);
	check_key(&fx.peer, "k", "a", 1);
	outcome_free(&answered);
}

/* The server is stopped while the call arrives and the connection dies: it can only read the
   call, run it, and find no connection for the reply. */
static void lose_answer(struct fixture *fixture, enum via via, uint64_t seq) {
	struct peer other;
	struct change change = append(&fixture->session, 0, seq, "k", "a");

	peer_open(&other, &fixture->server, via);
	peer_ping(&other);
	process_signal(&fixture->server.process, SIGSTOP);
	(void)change_send(&other, &change);
	if (via == VIA_LOCAL) {
		peer_close(&other);
	} else {
		peer_reset(&other);
	}
	process_signal(&fixture->server.process, SIGCONT);

	struct outcome answered = change_run(&fixture->peer, &change);
	ck_assert_int_eq(answered.status, KV1_OK);
	ck_assert_uint_eq(answered.current, seq);
	outcome_free(&answered);
}

TEST(a_copy_after_an_answer_that_could_not_be_sent_runs_nothing) {
	lose_answer(&fx, VIA_LOCAL, 1);
	lose_answer(&fx, VIA_TCP, 2);
	check_key(&fx.peer, "k", "aa", 2);
	/* Over local it ran before its connection was found dead, so the copy was a replay. */
	ck_assert_uint_ge(counter(&fx.peer, "calls_replayed"), 1);
}

TEST(a_copy_right_behind_the_first_in_one_segment_runs_nothing) {
	enum { COPIES = 10 };
	uint32_t xid[COPIES];

	struct change change = append(&fx.session, 0, 1, "k", "a");
	struct message segment = message_copy("", 0);
	for (int i = 0; i < COPIES; i++) {
		xid[i] = peer_xid(&fx.peer);
		message_join(&segment, message_record(change_message(xid[i], &change), 0));
	}
	ck_assert(peer_send_bytes(&fx.peer, segment.data, segment.size));
	message_free(&segment);

	struct outcome first = change_await(&fx.peer, &change, xid[0]);
	ck_assert_int_eq(first.status, KV1_OK);
	for (int i = 1; i < COPIES; i++) {
		outcome_check_same(&first, change_await(&fx.peer, &change, xid[i]));
	}
	check_key(&fx.peer, "k", "a", 1);
	outcome_free(&first);
}

TEST(a_copy_while_the_first_still_arrives_is_the_one_that_runs) {
	struct peer other;
	enum { FIRST_XID = 1 };

	struct change change = append(&fx.session, 0, 1, "k", "a");
	struct message record = message_record(change_message(FIRST_XID, &change), 0);
	size_t half = record.size / 2;
	peer_open(&other, &fx.server, VIA_TCP);
	ck_assert(peer_send_bytes(&other, record.data, half));
	struct outcome copy = change_run(&fx.peer, &change);
	ck_assert_int_eq(copy.status, KV1_OK);
	ck_assert(peer_send_bytes(&other, record.data + half, record.size - half));
	outcome_check_same(&copy, change_await(&other, &change, FIRST_XID));
	check_key(&fx.peer, "k", "a", 1);
	message_free(&record);
	outcome_free(&copy);
	peer_close(&other);
}

TEST(copies_on_many_connections_at_the_same_time_run_once) {
	enum { PEERS = 12 };
	static const enum via vias[] = {VIA_TCP, VIA_LOCAL, VIA_UDP};
	struct peer peers[PEERS];
	uint32_t xid[PEERS];

	struct change change = append(&fx.session, 0, 1, "k", "a");
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &fx.server, vias[i % 3]);
		peer_ping(&peers[i]);
	}
	/* All of them wait when the server goes on. */
	process_signal(&fx.server.process, SIGSTOP);
	for (int i = 0; i < PEERS; i++) {
		xid[i] = change_send(&peers[i], &change);
	}
	process_signal(&fx.server.process, SIGCONT);
	struct outcome first = change_await(&peers[0], &change, xid[0]);
	ck_assert_int_eq(first.status, KV1_OK);
	for (int i = 1; i < PEERS; i++) {
		outcome_check_same(&first, change_await(&peers[i], &change, xid[i]));
	}
	check_key(&fx.peer, "k", "a", 1);
	ck_assert_uint_eq(counter(&fx.peer, "writes_applied"), 1);
	ck_assert_uint_eq(counter(&fx.peer, "calls_replayed"), PEERS - 1);
	outcome_free(&first);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
}

TEST(the_same_number_with_other_arguments_is_a_false_retry_and_runs_nothing) {
	struct change change = append(&fx.session, 0, 5, "key", "value");
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);

	struct change other[] = {change, change, change, change, change, change};
	other[0].key = "kez";
	other[1].value = "valuf";
	other[2].expected = 0;
	other[3].want_old = false;
	other[4].is_append = false;
	/* The same bytes, cut elsewhere. */
	other[5].key = "keyv";
	other[5].value = "alue";
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		ck_assert_int_eq(change_status(&fx.peer, &other[i]), KV1_FALSE_RETRY);
	}
	check_copy(&fx.peer, &change, &first);
	check_key(&fx.peer, "key", "value", 1);
	check_no_key(&fx.peer, "kez");
	check_no_key(&fx.peer, "keyv");
	outcome_free(&first);
}

TEST(a_lower_number_is_stale_and_never_runs) {
	struct change old = append(&fx.session, 0, 4, "k", "a");
	struct change later = append(&fx.session, 0, 9, "k", "b");
	struct change never_sent = append(&fx.session, 0, 8, "k", "c");
	ck_assert_int_eq(change_status(&fx.peer, &old), KV1_OK);
	ck_assert_int_eq(change_status(&fx.peer, &later), KV1_OK);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(change_status(&fx.peer, &old), KV1_STALE);
		ck_assert_int_eq(change_status(&fx.peer, &never_sent), KV1_STALE);
	}
	check_key(&fx.peer, "k", "ab", 2);
}

TEST(slots_do_not_know_of_each_other) {
	uint32_t last = fx.session.slots - 1;
	struct change here = append(&fx.session, 0, 3, "k", "a");
	struct change there = append(&fx.session, last, 1, "k", "b");
	struct outcome first = change_run(&fx.peer, &here);
	ck_assert_int_eq(change_status(&fx.peer, &there), KV1_OK);
	there.writer.seq = 2;
	ck_assert_int_eq(change_status(&fx.peer, &there), KV1_OK);
	check_copy(&fx.peer, &here, &first);
	check_key(&fx.peer, "k", "abb", 3);
	outcome_free(&first);
}

CASE(answers, .setup = fixture_plain, .teardown = fixture_end);

TEST(an_old_value_is_replayed_whatever_other_clients_wrote_since) {
	struct session other = session_open(&fx.peer);
	struct change change = put(&fx.session, 1, 1, "k", "first");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	change = append(&fx.session, 0, 1, "k", "-second");
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_eq(first.old_version, 1);
	ck_assert_uint_eq(first.value.size, 5);
	ck_assert_mem_eq(first.value.data, "first", 5);

	struct change theirs = append(&other, 0, 1, "k", "-third");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	check_copy(&fx.peer, &change, &first);
	theirs = put(&other, 0, 2, "k", "something else altogether");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	check_copy(&fx.peer, &change, &first);
	theirs = put(&other, 0, 3, "k", "");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	theirs = append(&other, 0, 4, "k", "xyz");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	check_copy(&fx.peer, &change, &first);
	check_key(&fx.peer, "k", "xyz", 6);
	outcome_free(&first);
}

TEST(an_old_value_that_was_not_asked_for_is_not_sent) {
	struct change change = put(&fx.session, 0, 1, "k", "first");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	change = append(&fx.session, 0, 2, "k", "-second");
	change.want_old = false;
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_eq(first.current, 2);
	ck_assert_uint_eq(first.value.size, 0);
	check_copy(&fx.peer, &change, &first);
	outcome_free(&first);
}

TEST(a_version_refusal_stays_one_when_the_write_would_now_be_accepted) {
	struct session other = session_open(&fx.peer);
	struct change theirs = put(&other, 0, 1, "k", "one");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);

	struct change change = put(&fx.session, 0, 1, "k", "mine");
	change.expected = 2;
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_VERSION);
	ck_assert_uint_eq(first.current, 1);
	theirs = put(&other, 0, 2, "k", "two");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	check_copy(&fx.peer, &change, &first);
	check_key(&fx.peer, "k", "two", 2);
	outcome_free(&first);
}

TEST(a_missing_key_refusal_stays_one_when_the_key_was_made_since) {
	struct session other = session_open(&fx.peer);
	struct change change = append(&fx.session, 0, 1, "k", "mine");
	change.expected = 1;
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_NOKEY);
	struct change theirs = put(&other, 0, 1, "k", "one");
	ck_assert_int_eq(change_status(&fx.peer, &theirs), KV1_OK);
	check_copy(&fx.peer, &change, &first);
	check_key(&fx.peer, "k", "one", 1);
	outcome_free(&first);
}

TEST(an_old_value_too_large_for_udp_is_refused_before_anything_changes) {
	struct peer udp;

	peer_open(&udp, &fx.server, VIA_UDP);
	char *large = calloc(1, LARGE + 1);
	ck_assert_ptr_nonnull(large);
	memset(large, 'x', LARGE);
	struct change change = put_bytes(&fx.session, 1, 1, "k", large, LARGE);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);

	change = append(&fx.session, 0, 1, "k", "more");
	struct outcome first = change_run(&udp, &change);
	ck_assert_int_eq(first.status, KV1_TOOBIG);
	check_key(&fx.peer, "k", large, 1);
	/* The refusal took the slot: a copy over a transport that could carry it is refused too. */
	check_copy(&fx.peer, &change, &first);
	check_key(&fx.peer, "k", large, 1);
	change.writer.seq = 2;
	change.want_old = false;
	ck_assert_int_eq(change_status(&udp, &change), KV1_OK);

	free(large);
	outcome_free(&first);
	peer_close(&udp);
}

TEST(a_copy_over_udp_of_an_answer_too_large_for_it_is_told_to_ask_elsewhere) {
	struct peer udp;

	peer_open(&udp, &fx.server, VIA_UDP);
	char *large = calloc(1, LARGE);
	ck_assert_ptr_nonnull(large);
	struct change change = put_bytes(&fx.session, 1, 1, "k", large, LARGE);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	change = append(&fx.session, 0, 1, "k", "more");
	struct outcome first = change_run(&fx.peer, &change);
	ck_assert_int_eq(first.status, KV1_OK);
	ck_assert_uint_eq(first.value.size, LARGE);
	ck_assert_int_eq(change_status(&udp, &change), KV1_MAYBE);
	check_copy(&fx.peer, &change, &first);

	free(large);
	outcome_free(&first);
	peer_close(&udp);
}

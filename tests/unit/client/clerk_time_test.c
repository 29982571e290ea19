/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a call waits, and for what: pauses, attempts, deadlines, links that fell silent. */
#include "fake_transport.h"
#include "test.h"

static struct kv_client *client;

static enum kv_status get(void) {
	struct kv_value value;
	enum kv_status status = kv_get(client, (struct kv_bytes){"k", 1}, &value);

	kv_value_free(&value);
	return status;
}

static uint64_t span(const struct sent *sent) {
	return sent->until_ms - sent->began_ms;
}

/* --- Pauses -------------------------------------------------------------------------------- */

static void fail_often(void) {
	fake.servers[0].reach = REACH_REFUSED;
	client = fake_open(20000);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	fake_close(client);
}

CASE(clerk_time, .setup = fake_reset);

TEST(pauses_double_from_backoff_ms_to_backoff_max_ms) {
	/* Leaves the remainder 0 for each span: the least that jitter makes of a pause. */
	const uint64_t spans[] = {6, 11, 21, 41, 81, 161, 321, 501};
	uint64_t product = 1;

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
		product *= spans[i];
	fake.chance = product;
	fail_often();
	for (size_t i = 0; i < 7; i++)
		ck_assert_uint_eq(fake.pauses[i], 5u << i);
	ck_assert_uint_eq(fake.pauses[7], 500);
	ck_assert_uint_eq(fake.pauses[20], 500);
}

TEST(jitter_is_spread_over_the_upper_half_of_a_pause) {
	uint64_t least = UINT64_MAX, most = 0;

	fail_often();
	for (size_t i = 0; i + 1 < fake.pause_count; i++) {
		uint64_t full = i < 7 ? 10u << i : 1000;

		ck_assert_uint_ge(fake.pauses[i], full / 2);
		ck_assert_uint_le(fake.pauses[i], full);
		if (full == 1000 && fake.pauses[i] < least)
			least = fake.pauses[i];
		if (full == 1000 && fake.pauses[i] > most)
			most = fake.pauses[i];
	}
	ck_assert_uint_gt(fake.pause_count, 20);
	ck_assert_uint_lt(least, 650);
	ck_assert_uint_gt(most, 850);
}

TEST(pauses_are_as_the_options_say) {
	const struct kv_options options = {
	    .timeout_ms = 10000, .backoff_ms = 300, .backoff_max_ms = 700};

	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_uint_ge(fake.pauses[0], 150);
	ck_assert_uint_le(fake.pauses[0], 300);
	for (size_t i = 2; i + 1 < fake.pause_count; i++) {
		ck_assert_uint_ge(fake.pauses[i], 350);
		ck_assert_uint_le(fake.pauses[i], 700);
	}
	fake_close(client);
}

TEST(a_link_that_broke_is_followed_by_a_pause) {
	client = fake_open(0);
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake.pause_count, 1);
	fake_close(client);
}

TEST(an_attempt_that_waited_its_time_is_repeated_at_once) {
	client = fake_open(0);
	fake_next(REQUEST_GET, (struct step){.outcome = ATTEMPT_UNANSWERED, .is_heard = true});
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake.pause_count, 0);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 1)->began_ms, fake_log(REQUEST_GET, 0)->until_ms);
	fake_close(client);
}

/* --- Attempts ------------------------------------------------------------------------------ */

TEST(an_attempt_takes_attempt_ms_and_twice_as_long_after_each_silence_up_to_32_times) {
	const struct kv_options options = {.attempt_ms = 200};

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	for (unsigned i = 0; i < 8; i++)
		fake_next(REQUEST_GET,
			  (struct step){.outcome = ATTEMPT_UNANSWERED, .is_heard = true});
	ck_assert_int_eq(get(), KV_OK);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_uint_eq(span(fake_log(REQUEST_GET, i)), 200u << (i < 5 ? i : 5));
	/* The next call begins anew. */
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(span(fake_log(REQUEST_GET, 9)), 200);
	fake_close(client);
}

TEST(hello_gets_more_time_after_each_silence_too) {
	client = fake_open(0);
	fake_fails(REQUEST_HELLO, ATTEMPT_UNANSWERED);
	fake_fails(REQUEST_HELLO, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(span(fake_log(REQUEST_HELLO, 0)), 1000);
	ck_assert_uint_eq(span(fake_log(REQUEST_HELLO, 1)), 2000);
	ck_assert_uint_eq(span(fake_log(REQUEST_HELLO, 2)), 4000);
	fake_close(client);
}

TEST(connecting_takes_at_most_attempt_ms) {
	const struct kv_options options = {.timeout_ms = 250, .attempt_ms = 200};

	fake.servers[0].reach = REACH_SILENT;
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_uint_eq(fake.servers[0].looked_again, 1);
	ck_assert_uint_eq(fake.now_ms, 1250);
	fake_close(client);
}

/* --- Deadlines ----------------------------------------------------------------------------- */

TEST(no_attempt_connect_or_pause_goes_past_the_deadline) {
	client = fake_open(777);
	fake_next(REQUEST_HELLO, (struct step){.outcome = ATTEMPT_UNSENT, .takes_ms = 200});
	fake_next(
	    REQUEST_GET,
	    (struct step){.outcome = ATTEMPT_UNANSWERED, .takes_ms = 300, .breaks_link = true});
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	for (size_t i = 0; i < fake.log_count; i++)
		ck_assert_uint_le(fake.log[i].until_ms, 1777);
	ck_assert_uint_eq(fake.now_ms, 1777);
	fake_close(client);
}

TEST(without_a_time_limit_a_call_waits_until_the_server_comes_back) {
	client = fake_open(0);
	for (unsigned i = 0; i < 40; i++)
		fake_breaks(REQUEST_PUT);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 41);
	fake_close(client);
}

TEST(a_get_a_ping_and_stats_that_get_no_answer_time_out) {
	struct kv_stats stats;

	client = fake_open(100);
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	fake_fails(REQUEST_PING, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(kv_ping(client), KV_TIMEOUT);
	fake_fails(REQUEST_STATS, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(kv_stats(client, &stats), KV_TIMEOUT);
	ck_assert_ptr_null(stats.counters);
	fake_close(client);
}

TEST(a_call_that_is_late_after_pausing_sends_nothing_more) {
	client = fake_open(5);
	fake_breaks(REQUEST_PUT);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
	fake_close(client);
}

/* --- Silence ------------------------------------------------------------------------------- */

TEST(a_stream_that_was_silent_during_an_attempt_is_dropped) {
	client = fake_open(0);
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 1)->link, 2);
	fake_close(client);
}

TEST(a_stream_that_carried_other_answers_is_kept) {
	client = fake_open(0);
	fake_next(REQUEST_GET, (struct step){.outcome = ATTEMPT_UNANSWERED, .is_heard = true});
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 1)->link, 1);
	fake_close(client);
}

TEST(a_deadline_below_attempt_ms_costs_no_link_that_was_not_silent_for_that_long) {
	client = fake_open(100);
	ck_assert_int_eq(get(), KV_OK);
	for (unsigned i = 0; i < 9; i++) {
		fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
		ck_assert_int_eq(get(), KV_TIMEOUT);
	}
	ck_assert_uint_eq(fake_log(REQUEST_GET, 9)->link, 1);

	/* An answer begins the count anew; ten more are attempt_ms. */
	ck_assert_int_eq(get(), KV_OK);
	for (unsigned i = 0; i < 10; i++) {
		fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
		ck_assert_int_eq(get(), KV_TIMEOUT);
	}
	ck_assert_uint_eq(fake_log(REQUEST_GET, 20)->link, 1);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 21)->link, 2);
	fake_close(client);
}

TEST(a_lost_datagram_is_sent_again_on_the_same_socket) {
	fake.servers[0].is_datagram = true;
	client = fake_open(0);
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 2)->link, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_GET, 0)->xid, fake_sent(REQUEST_GET, 2)->xid);
	fake_close(client);
}

TEST(a_datagram_server_that_is_silent_three_times_is_looked_for) {
	fake.servers[0].is_datagram = true;
	client = fake_open(0);
	for (unsigned i = 0; i < 3; i++)
		fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 3)->link, 2);
	fake_close(client);
}

TEST(a_datagram_server_that_was_silent_until_the_deadline_is_looked_for_by_the_next_call) {
	fake.servers[0].is_datagram = true;
	client = fake_open(1000);
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 1)->link, 2);
	fake_close(client);
}

/* --- Late answers -------------------------------------------------------------------------- */

TEST(copies_under_one_epoch_share_an_xid_so_that_a_late_answer_to_the_first_counts) {
	client = fake_open(0);
	fake_next(REQUEST_PUT, (struct step){.outcome = ATTEMPT_UNANSWERED, .is_heard = true});
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->xid, fake_sent(REQUEST_PUT, 1)->xid);
	fake_close(client);
}

TEST(two_calls_never_share_an_xid) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_int_eq(get(), KV_OK);
	for (size_t i = 0; i < fake.log_count; i++)
		for (size_t j = 0; j < i; j++)
			ck_assert_uint_ne(fake.log[i].request.xid, fake.log[j].request.xid);
	fake_close(client);
}

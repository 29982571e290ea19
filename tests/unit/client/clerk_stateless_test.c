/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes without a session: no server remembers them, so a refusal proves less. */
#include "fake_transport.h"
#include "test.h"

static struct kv_client *client;

static const enum kv_status conditional[] = {KV_VERSION, KV_NOKEY, KV_FULL};
static const enum kv_status alike[] = {KV_TOOBIG, KV_DENIED, KV_INVALID, KV_UNAVAILABLE};

enum { CONDITIONAL = sizeof(conditional) / sizeof(conditional[0]) };
enum { ALIKE = sizeof(alike) / sizeof(alike[0]) };

CASE(clerk_stateless, .setup = fake_reset);

TEST(no_session_is_opened_or_ended) {
	client = fake_open_stateless(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 0);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->client_id, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->epoch, 7);
}

TEST(an_append_and_a_put_at_any_version_are_invalid_and_nothing_is_sent) {
	client = fake_open_stateless(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_INVALID);
	ck_assert_int_eq(
	    kv_append(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"v", 1}, 1, NULL, NULL),
	    KV_INVALID);
	ck_assert_uint_eq(fake.connects, 0);
	fake_close(client);
}

TEST(ok_stands_whenever_it_comes) {
	client = fake_open_stateless(0);
	fake_breaks(REQUEST_PUT);
	fake_breaks(REQUEST_PUT);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(a_refusal_of_the_only_copy_over_a_stream_stands) {
	uint64_t version = 0;

	client = fake_open_stateless(0);
	for (size_t i = 0; i < CONDITIONAL; i++) {
		fake_answers(REQUEST_PUT, conditional[i], 9);
		ck_assert_int_eq(fake_put(client, 1), conditional[i]);
	}
	fake_answers(REQUEST_PUT, KV_VERSION, 9);
	ck_assert_int_eq(
	    kv_put(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"v", 1}, 1, &version),
	    KV_VERSION);
	ck_assert_uint_eq(version, 9);
	fake_close(client);
}

TEST(any_refusal_of_a_resend_is_maybe) {
	client = fake_open_stateless(0);
	for (size_t i = 0; i < CONDITIONAL + ALIKE; i++) {
		fake_breaks(REQUEST_PUT);
		fake_answers(REQUEST_PUT, i < CONDITIONAL ? conditional[i] : alike[i - CONDITIONAL],
			     9);
		ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	}
	fake_close(client);
}

TEST(a_copy_that_was_cut_short_or_met_another_epoch_was_no_send) {
	client = fake_open_stateless(0);
	ck_assert_int_eq(kv_ping(client), KV_OK);
	fake_restart(0);
	fake_fails(REQUEST_PUT, ATTEMPT_UNSENT);
	fake_answers(REQUEST_PUT, KV_EPOCH, 0);
	fake_answers(REQUEST_PUT, KV_VERSION, 9);
	ck_assert_int_eq(fake_put(client, 1), KV_VERSION);
	fake_close(client);
}

/*
 * The network repeats the datagram. Copy A runs, version 1 becomes 2, and its answer is lost; copy
 * B is refused, with the current version 2 above the expected 1. It did happen.
 */
TEST(over_udp_a_version_refusal_may_be_of_a_second_copy_of_what_ran_so_it_is_maybe) {
	uint64_t version = 9;

	fake.servers[0].is_datagram = true;
	client = fake_open_stateless(0);
	fake_answers(REQUEST_PUT, KV_VERSION, 2);
	ck_assert_int_eq(
	    kv_put(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"v", 1}, 1, &version),
	    KV_MAYBE);
	ck_assert_uint_eq(version, 0);
	fake_close(client);
}

/* Copy A meets version 0, or no room; then the key comes to be at 1, and the late copy B runs. */
TEST(over_udp_a_refusal_below_the_expected_version_is_maybe_because_a_late_copy_may_run) {
	fake.servers[0].is_datagram = true;
	client = fake_open_stateless(0);
	for (size_t i = 0; i < CONDITIONAL; i++) {
		fake_answers(REQUEST_PUT, conditional[i], 0);
		ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	}
	fake_close(client);
}

/*
 * The network repeats the datagram. Copy A runs and its answer is lost; the server starts again;
 * copy B is answered KV_EPOCH. So the copies under the new epoch are resends.
 */
TEST(over_udp_an_answer_epoch_may_be_to_a_repeated_copy_so_a_later_refusal_is_maybe) {
	fake.servers[0].is_datagram = true;
	client = fake_open_stateless(0);
	ck_assert_int_eq(kv_ping(client), KV_OK);
	fake_restart(0);
	fake_answers(REQUEST_PUT, KV_EPOCH, 0);
	fake_answers(REQUEST_PUT, KV_TOOBIG, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
}

TEST(over_udp_what_every_copy_is_refused_for_stands_on_the_first_send) {
	fake.servers[0].is_datagram = true;
	client = fake_open_stateless(0);
	for (size_t i = 0; i < ALIKE; i++) {
		fake_answers(REQUEST_PUT, alike[i], 0);
		ck_assert_int_eq(fake_put(client, 1), alike[i]);
	}
	fake_close(client);
}

TEST(over_udp_ok_stands) {
	fake.servers[0].is_datagram = true;
	client = fake_open_stateless(0);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(an_answer_about_a_session_makes_no_sense_and_is_maybe) {
	const enum kv_status odd[] = {KV_BADSESSION, KV_STALE, KV_FALSE_RETRY, KV_MAYBE};

	client = fake_open_stateless(0);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		fake_answers(REQUEST_PUT, odd[i], 0);
		ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	}
	fake_close(client);
}

TEST(the_deadline_after_a_send_is_maybe_and_before_it_a_timeout) {
	client = fake_open_stateless(1000);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(fake_put(client, 1), KV_TIMEOUT);
	fake_close(client);
}

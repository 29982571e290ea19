/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes in a session: what an answer, or none, means after how many attempts. */
#include "fake_transport.h"
#include "test.h"

static struct kv_client *client;

/* --- Answers ------------------------------------------------------------------------------- */

CASE(clerk_write, .setup = fake_reset);

TEST(a_write_opens_a_session_and_carries_its_epoch_id_slot_and_seq) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 5), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_HELLO), 1);
	ck_assert_uint_eq(fake_sent(REQUEST_OPEN, 0)->epoch, 7);
	ck_assert_uint_gt(fake_sent(REQUEST_OPEN, 0)->slots, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->epoch, 7);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->client_id, 101);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->slot, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->seq, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->expected, 5);
	fake_close(client);
}

TEST(each_write_on_a_slot_has_the_next_seq) {
	client = fake_open(0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, i)->slot, 0);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, i)->seq, i + 1);
	}
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	fake_close(client);
}

TEST(a_refusal_is_returned_and_settles_the_slot) {
	const enum kv_status refusals[] = {KV_NOKEY,  KV_VERSION, KV_TOOBIG,	 KV_FULL,
					   KV_DENIED, KV_INVALID, KV_UNAVAILABLE};
	const size_t count = sizeof(refusals) / sizeof(refusals[0]);

	client = fake_open(0);
	for (size_t i = 0; i < count; i++) {
		fake_answers(REQUEST_PUT, refusals[i], 9);
		ck_assert_int_eq(fake_put(client, 1), refusals[i]);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, i)->slot, 0);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, i)->seq, i + 1);
	}
	ck_assert_uint_eq(fake_count(REQUEST_PUT), count);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	fake_close(client);
}

TEST(a_lost_reply_is_asked_for_again_with_the_same_call_and_its_replay_counts) {
	client = fake_open(0);
	fake_breaks(REQUEST_PUT);
	ck_assert_int_eq(fake_put(client, 5), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->xid, fake_sent(REQUEST_PUT, 1)->xid);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 101);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->slot, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->seq, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->expected, 5);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 1)->link, 2);
	fake_close(client);
}

TEST(a_refusal_of_a_resend_in_a_session_stands_because_the_server_remembers) {
	uint64_t version = 0;

	client = fake_open(0);
	fake_breaks(REQUEST_PUT);
	fake_answers(REQUEST_PUT, KV_VERSION, 9);
	ck_assert_int_eq(
	    kv_put(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"v", 1}, 1, &version),
	    KV_VERSION);
	ck_assert_uint_eq(version, 9);
	fake_close(client);
}

TEST(the_servers_own_maybe_is_maybe_and_settles_the_slot) {
	client = fake_open(0);
	fake_answers(REQUEST_APPEND, KV_MAYBE, 0);
	ck_assert_int_eq(kv_append(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"v", 1},
				   KV_ANY, NULL, NULL),
			 KV_MAYBE);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->client_id, 101);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->slot, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->seq, 2);
	fake_close(client);
}

TEST(an_answer_that_makes_no_sense_leaves_a_write_at_maybe) {
	const enum kv_status nonsense[] = {KV_TIMEOUT, KV_PROTOCOL, KV_NOMEM,
					   KV_BUSY,    KV_NOTHELD,  (enum kv_status)99};

	client = fake_open(0);
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		fake_answers(REQUEST_PUT, nonsense[i], 0);
		ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	}
	fake_close(client);
}

/* --- The session ends ---------------------------------------------------------------------- */

TEST(badsession_after_the_only_attempt_over_a_stream_is_sent_again_under_a_new_session) {
	client = fake_open(0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->client_id, 101);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 102);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->seq, 1);
	ck_assert_uint_ne(fake_sent(REQUEST_PUT, 0)->xid, fake_sent(REQUEST_PUT, 1)->xid);
	ck_assert_mem_ne(fake_sent(REQUEST_OPEN, 0)->nonce, fake_sent(REQUEST_OPEN, 1)->nonce,
			 NONCE_SIZE);
	fake_close(client);
}

TEST(badsession_after_two_attempts_is_maybe_and_the_next_write_opens_another_session) {
	client = fake_open(0);
	fake_breaks(REQUEST_PUT);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 2);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 2);
	fake_close(client);
}

TEST(badsession_over_udp_is_maybe_because_the_network_may_have_repeated_the_call) {
	fake.servers[0].is_datagram = true;
	client = fake_open(0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
	fake_close(client);
}

TEST(an_attempt_that_was_not_sent_does_not_count_before_badsession) {
	client = fake_open(0);
	fake_fails(REQUEST_PUT, ATTEMPT_UNSENT);
	fake_fails(REQUEST_PUT, ATTEMPT_WRONG_SERVER);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(after_badsession_the_count_of_attempts_starts_anew) {
	client = fake_open(0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 3);
	/* A server that forgets each session at once is not asked in a tight loop. */
	ck_assert_uint_eq(fake.pause_count, 1);
	fake_close(client);
}

TEST(no_room_for_another_session_after_badsession_is_full_and_nothing_happened) {
	client = fake_open(0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	fake_answers(REQUEST_OPEN, KV_FULL, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_FULL);
	fake_close(client);
}

static void check_that_it_drops_the_session(enum kv_status status) {
	client = fake_open(0);
	fake_answers(REQUEST_PUT, status, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 102);
	fake_close(client);
}

TEST(stale_is_maybe_and_the_session_is_dropped) {
	check_that_it_drops_the_session(KV_STALE);
}

TEST(false_retry_is_maybe_and_the_session_is_dropped) {
	check_that_it_drops_the_session(KV_FALSE_RETRY);
}

/* --- Attempts that fail otherwise ---------------------------------------------------------- */

TEST(a_rejected_call_has_its_status_if_nothing_was_sent_before) {
	client = fake_open(0);
	fake_next(REQUEST_PUT,
		  (struct step){.outcome = ATTEMPT_REJECTED, .response.status = KV_DENIED});
	ck_assert_int_eq(fake_put(client, 1), KV_DENIED);
	fake_close(client);
}

TEST(a_rejected_resend_is_maybe) {
	client = fake_open(0);
	fake_breaks(REQUEST_PUT);
	fake_next(REQUEST_PUT,
		  (struct step){.outcome = ATTEMPT_REJECTED, .response.status = KV_DENIED});
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
}

TEST(a_garbled_answer_leaves_a_write_at_maybe_and_costs_the_link) {
	client = fake_open(0);
	fake_fails(REQUEST_PUT, ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake.connects, 2);
	fake_close(client);
}

TEST(without_memory_to_send_nothing_happened_but_without_memory_for_the_answer_maybe) {
	client = fake_open(0);
	fake_fails(REQUEST_PUT, ATTEMPT_NOMEM);
	ck_assert_int_eq(fake_put(client, 1), KV_NOMEM);
	fake_next(REQUEST_PUT,
		  (struct step){.outcome = ATTEMPT_NOMEM, .response.status = KV_NOMEM});
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
}

TEST(program_unavailable_means_look_again_and_the_call_goes_on) {
	client = fake_open(0);
	fake_fails(REQUEST_PUT, ATTEMPT_WRONG_SERVER);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake.servers[0].looked_again, 1);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 1)->link, 2);
	fake_close(client);
}

static void go_away(void) {
	fake.servers[0].reach = REACH_REFUSED;
	fake_breaks(REQUEST_HELLO);
}

/* What is heard of a write whose one answer was this, after which the server is gone. */
static enum kv_status put_and_be_refused(struct step refusal, bool is_datagram) {
	enum kv_status status;

	fake_reset();
	fake.servers[0].is_datagram = is_datagram;
	client = fake_open(300);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	refusal.during = go_away;
	fake_next(REQUEST_PUT, refusal);
	status = fake_put(client, 1);
	fake_close(client);
	return status;
}

/*
 * The network repeats the datagram. Copy A runs and its answer is lost; the server starts again, or
 * another program gets its port; copy B is refused.
 */
TEST(a_copy_refused_over_udp_may_be_a_repeated_one_so_the_write_is_maybe) {
	const struct step epoch = {.response.status = KV_EPOCH};
	const struct step elsewhere = {.outcome = ATTEMPT_WRONG_SERVER};
	const struct step rejected = {.outcome = ATTEMPT_REJECTED,
				      .response.status = KV_UNAVAILABLE};
	const struct step too_big = {.outcome = ATTEMPT_REJECTED, .response.status = KV_TOOBIG};

	ck_assert_int_eq(put_and_be_refused(epoch, true), KV_MAYBE);
	ck_assert_int_eq(put_and_be_refused(epoch, false), KV_TIMEOUT);
	ck_assert_int_eq(put_and_be_refused(elsewhere, true), KV_MAYBE);
	ck_assert_int_eq(put_and_be_refused(elsewhere, false), KV_TIMEOUT);
	ck_assert_int_eq(put_and_be_refused(rejected, true), KV_MAYBE);
	ck_assert_int_eq(put_and_be_refused(rejected, false), KV_UNAVAILABLE);
	/* This one never left. */
	ck_assert_int_eq(put_and_be_refused(too_big, true), KV_TOOBIG);
}

/* --- Slots --------------------------------------------------------------------------------- */

static struct kv_client *view;

static void put_through_the_view(void) {
	ck_assert_int_eq(fake_put(view, KV_ANY), KV_OK);
}

TEST(writes_under_way_at_the_same_time_hold_different_slots) {
	client = view = fake_open(0);
	fake_next(REQUEST_PUT, (struct step){.response = {.status = KV_OK, .current = 1},
					     .during = put_through_the_view});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->slot, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->slot, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->seq, 1);
	fake_close(client);
}

static void put_in_vain(void) {
	ck_assert_int_eq(fake_put(view, KV_ANY), KV_TIMEOUT);
}

TEST(a_write_that_finds_all_slots_held_until_its_deadline_times_out_unsent) {
	fake.slots = 1;
	client = fake_open(0);
	ck_assert_int_eq(kv_with_timeout(client, 20, &view), KV_OK);
	fake_next(REQUEST_PUT, (struct step){.response = {.status = KV_OK, .current = 1},
					     .during = put_in_vain});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
	kv_close(view);
	fake_close(client);
}

TEST(a_write_whose_deadline_passes_after_it_was_sent_is_maybe) {
	client = fake_open(300);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_MAYBE);
	ck_assert_uint_eq(fake.now_ms, 1300);
	fake_close(client);
}

TEST(a_write_that_was_never_sent_times_out) {
	client = fake_open(300);
	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_TIMEOUT);
	ck_assert_uint_eq(fake.now_ms, 1300);
	fake_close(client);
}

TEST(a_write_that_was_cut_short_each_time_times_out_and_leaves_its_slot_free) {
	client = fake_open(300);
	for (unsigned i = 0; i < FAKE_STEPS_MAX; i++)
		fake_next(
		    REQUEST_PUT,
		    (struct step){.outcome = ATTEMPT_UNSENT, .takes_ms = 100, .breaks_link = true});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_TIMEOUT);
	fake_close(client);
}

static enum kv_status inner;

static void put_inside(void) {
	inner = fake_put(view, KV_ANY);
}

TEST(the_slot_left_with_maybe_is_the_next_one_used_with_a_greater_seq) {
	client = fake_open(0);
	ck_assert_int_eq(kv_with_timeout(client, 300, &view), KV_OK);
	fake_next(REQUEST_PUT,
		  (struct step){.response = {.status = KV_OK, .current = 1}, .during = put_inside});
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_int_eq(inner, KV_MAYBE);

	/* Slot 0 is free, slot 1 is unsettled. */
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->slot, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->seq, 2);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 3)->slot, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 3)->seq, 2);
	kv_close(view);
	fake_close(client);
}

/* Slot 0 is free, slot 1 is left with KV_MAYBE, by what `how` says of its only attempt. */
static void leave_slot_1(struct step how) {
	client = fake_open(0);
	ck_assert_int_eq(kv_with_timeout(client, 300, &view), KV_OK);
	fake_next(REQUEST_PUT,
		  (struct step){.response = {.status = KV_OK, .current = 1}, .during = put_inside});
	fake_next(REQUEST_PUT, how);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_int_eq(inner, KV_MAYBE);
}

TEST(a_call_that_was_never_sent_leaves_an_unsettled_slot_the_next_one_used) {
	leave_slot_1((struct step){.outcome = ATTEMPT_UNANSWERED});
	fake_fails(REQUEST_PUT, ATTEMPT_NOMEM);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_NOMEM);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 3)->slot, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 3)->seq, 3);
	kv_close(view);
	fake_close(client);
}

TEST(a_slot_left_with_the_servers_own_maybe_is_the_next_one_used_too) {
	leave_slot_1((struct step){.response.status = KV_MAYBE});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->slot, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->seq, 2);
	kv_close(view);
	fake_close(client);
}

TEST(a_call_that_was_given_up_unsent_skips_its_seq) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	fake_fails(REQUEST_PUT, ATTEMPT_NOMEM);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_NOMEM);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->slot, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->seq, 3);
	fake_close(client);
}

TEST(more_slots_than_were_asked_for_are_not_used) {
	fake.slots = UINT32_MAX;
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->slot, 0);
	fake_close(client);
}

/* --- Opening ------------------------------------------------------------------------------- */

TEST(an_open_is_retried_with_the_same_nonce) {
	client = fake_open(0);
	fake_breaks(REQUEST_OPEN);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 2);
	ck_assert_mem_eq(fake_sent(REQUEST_OPEN, 0)->nonce, fake_sent(REQUEST_OPEN, 1)->nonce,
			 NONCE_SIZE);
	fake_close(client);
}

TEST(an_open_that_was_not_answered_keeps_its_nonce_for_the_next_call) {
	client = fake_open(300);
	fake_fails(REQUEST_OPEN, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_TIMEOUT);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_mem_eq(fake_sent(REQUEST_OPEN, 0)->nonce, fake_sent(REQUEST_OPEN, 1)->nonce,
			 NONCE_SIZE);
	fake_close(client);
}

TEST(a_refused_open_is_returned_and_the_next_one_has_another_nonce) {
	client = fake_open(0);
	fake_answers(REQUEST_OPEN, KV_FULL, 0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_FULL);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_mem_ne(fake_sent(REQUEST_OPEN, 0)->nonce, fake_sent(REQUEST_OPEN, 1)->nonce,
			 NONCE_SIZE);
	fake_close(client);
}

TEST(a_session_without_an_id_or_slots_is_a_protocol_error) {
	client = fake_open(0);
	fake_next(REQUEST_OPEN, (struct step){.response = {.client_id = 0, .slots = 1}});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_PROTOCOL);
	fake_next(REQUEST_OPEN, (struct step){.response = {.client_id = 9, .slots = 0}});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_PROTOCOL);
	fake_close(client);
}

TEST(a_get_needs_no_session) {
	struct kv_value value;

	client = fake_open(0);
	ck_assert_int_eq(kv_get(client, (struct kv_bytes){"k", 1}, &value), KV_OK);
	ck_assert_uint_eq(value.version, 1);
	kv_value_free(&value);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 0);
	fake_close(client);
}

/* --- Idle sessions ------------------------------------------------------------------------- */

TEST(a_session_idle_for_most_of_its_lease_is_not_trusted_with_a_new_write) {
	fake.lease_ms = 1000;
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	fake.now_ms += 750;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	fake.now_ms += 751;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->client_id, 102);
	fake_close(client);
}

TEST(an_unsettled_slot_does_not_keep_an_idle_session) {
	fake.lease_ms = 1000;
	client = fake_open(300);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_MAYBE);
	fake.now_ms += 700;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 102);
	fake_close(client);
}

TEST(a_session_with_a_write_under_way_is_not_idle) {
	fake.lease_ms = 1000;
	client = view = fake_open(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	fake_next(REQUEST_PUT, (struct step){.outcome = ATTEMPT_UNANSWERED, .is_heard = true});
	fake_next(REQUEST_PUT, (struct step){.response = {.status = KV_OK, .current = 1},
					     .during = put_through_the_view});
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	fake_close(client);
}

TEST(a_session_without_a_lease_is_never_idle) {
	fake.lease_ms = 0;
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	fake.now_ms += 1000000000;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	fake_close(client);
}

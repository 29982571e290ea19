/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that wait on the server: their copies, their silence, their slots (PROTOCOL.md, 4.14
 * to 4.16). */
#include "client.h"
#include "fake_transport.h"
#include "session.h"
#include "test.h"

static struct kv_client *client;

static enum kv_status wait_for(uint64_t seen, unsigned wait_ms) {
	struct kv_value value;
	enum kv_status status = kv_wait(client, KV_STR("k"), seen, wait_ms, &value);

	kv_value_free(&value);
	return status;
}

static enum kv_status txn(struct kv_client *handle, unsigned wait_ms) {
	struct kv_condition condition = {.test = KV_EXISTS, .key = KV_STR("k")};
	struct kv_change change = {.kind = KV_CHANGE_PUT, .key = KV_STR("c")};
	struct kv_txn txn = {.conditions = &condition,
			     .condition_count = 1,
			     .changes = &change,
			     .change_count = 1,
			     .wait_ms = wait_ms};

	return kv_txn(handle, &txn);
}

CASE(clerk_wait, .setup = fake_reset);

TEST(a_wait_carries_its_time_and_the_version_that_is_known) {
	client = fake_open(0);
	fake_answers(REQUEST_WAIT, KV_OK, 8);
	ck_assert_int_eq(wait_for(7, 30000), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_WAIT, 0)->expected, 7);
	ck_assert_uint_eq(fake_sent(REQUEST_WAIT, 0)->copy_wait_ms, 30000);
	fake_close(client);
}

TEST(a_request_that_waited_does_not_when_it_is_used_again_without_a_time) {
	struct request request = {.kind = REQUEST_CHANGES, .wait_ms = 500};
	struct response response = {0};

	client = fake_open(0);
	fake_answers(REQUEST_CHANGES, KV_OK, 0);
	fake_answers(REQUEST_CHANGES, KV_OK, 0);
	ck_assert_int_eq(client_call(client, &request, &response), KV_OK);
	response_free(&response);
	request.wait_ms = 0;
	ck_assert_int_eq(client_call(client, &request, &response), KV_OK);
	response_free(&response);
	ck_assert_uint_eq(fake_sent(REQUEST_CHANGES, 0)->copy_wait_ms, 500);
	ck_assert_uint_eq(fake_sent(REQUEST_CHANGES, 1)->copy_wait_ms, 0);
	fake_close(client);
}

TEST(rule_4_16_a_copy_waits_a_minute_at_most_and_the_next_comes_after_a_third) {
	client = fake_open(0);
	fake_fails(REQUEST_WAIT, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_WAIT, KV_NOKEY, 0);
	ck_assert_int_eq(wait_for(7, 3600 * 1000), KV_NOKEY);
	ck_assert_uint_eq(fake_sent(REQUEST_WAIT, 0)->copy_wait_ms, 60000);
	ck_assert_uint_eq(fake_log(REQUEST_WAIT, 0)->until_ms - fake_log(REQUEST_WAIT, 0)->began_ms,
			  20000);
	ck_assert_uint_eq(fake_sent(REQUEST_WAIT, 1)->copy_wait_ms, 60000);
	ck_assert_uint_eq(fake_sent(REQUEST_WAIT, 1)->xid, fake_sent(REQUEST_WAIT, 0)->xid);
	fake_close(client);
}

TEST(rule_9_1_silence_costs_the_link_only_if_an_empty_call_is_not_answered) {
	client = fake_open(0);
	fake_fails(REQUEST_WAIT, ATTEMPT_UNANSWERED);
	fake_fails(REQUEST_WAIT, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_WAIT, KV_OK, 8);
	fake_answers(REQUEST_PING, KV_OK, 0);
	fake_fails(REQUEST_PING, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(wait_for(7, 60000), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_PING), 2);
	ck_assert_uint_eq(fake_log(REQUEST_WAIT, 1)->link, fake_log(REQUEST_WAIT, 0)->link);
	ck_assert_uint_ne(fake_log(REQUEST_WAIT, 2)->link, fake_log(REQUEST_WAIT, 1)->link);
	fake_close(client);
}

TEST(the_end_of_a_wait_is_a_time_out) {
	client = fake_open(0);
	fake_next(REQUEST_WAIT,
		  (struct step){.response = {.status = KV_UNMET, .current = 7}, .takes_ms = 900});
	ck_assert_int_eq(wait_for(7, 900), KV_TIMEOUT);
	ck_assert_uint_eq(fake_count(REQUEST_WAIT), 1);
	fake_close(client);
}

TEST(rule_4_9_when_the_time_is_up_a_transaction_runs_now_or_never) {
	client = fake_open(8000);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 60000), KV_UNMET);
	size_t last = fake_count(REQUEST_TXN) - 1;
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 0)->copy_wait_ms, 7000);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, last)->seq, fake_sent(REQUEST_TXN, 0)->seq);
	ck_assert_uint_le(fake.now_ms, 1000 + 8000);
	fake_close(client);
}

TEST(a_call_that_waits_needs_a_stream) {
	fake.servers[0].is_datagram = true;
	client = fake_open(0);
	ck_assert_int_eq(wait_for(7, 1000), KV_INVALID);
	ck_assert_int_eq(txn(client, 1000), KV_INVALID);
	ck_assert_uint_eq(fake_count(REQUEST_WAIT) + fake_count(REQUEST_TXN), 0);
	fake_close(client);
}

TEST(an_older_server_is_named) {
	client = fake_open(0);
	fake_next(REQUEST_WAIT, (struct step){.outcome = ATTEMPT_REJECTED,
					      .response = {.status = KV_UNAVAILABLE}});
	ck_assert_int_eq(wait_for(7, 1000), KV_UNAVAILABLE);
	fake_close(client);
}

/* 4.11: a copy that cannot wait there is refused and takes no slot, so another one may run. */
TEST(rule_9_2_that_one_copy_cannot_wait_is_not_the_outcome_of_all) {
	client = fake_open(4000);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_TXN, KV_INVALID, 0);
	ck_assert_int_eq(txn(client, 3000), KV_MAYBE);
	fake_answers(REQUEST_TXN, KV_INVALID, 0);
	ck_assert_int_eq(txn(client, 3000), KV_INVALID);
	fake_close(client);
}

TEST(rule_9_2_copies_of_a_call_that_waits_have_one_slot_and_number_over_a_restart) {
	client = fake_open(0);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_TXN, KV_EPOCH, 0);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 60000), KV_UNMET);
	for (size_t i = 1; i < 3; i++) {
		ck_assert_uint_eq(fake_sent(REQUEST_TXN, i)->slot, fake_sent(REQUEST_TXN, 0)->slot);
		ck_assert_uint_eq(fake_sent(REQUEST_TXN, i)->seq, fake_sent(REQUEST_TXN, 0)->seq);
	}
	fake_close(client);
}

TEST(rule_9_2_a_session_that_ended_after_a_copy_leaves_the_outcome_unknown) {
	client = fake_open(0);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_TXN, KV_BADSESSION, 0);
	ck_assert_int_eq(txn(client, 60000), KV_MAYBE);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	fake_answers(REQUEST_TXN, KV_STALE, 0);
	ck_assert_int_eq(txn(client, 60000), KV_MAYBE);
	fake_close(client);
}

/* --- Slots ----------------------------------------------------------------------------------- */

static struct session *session;
static struct backoff now;

static void open_session(uint32_t slots) {
	static const struct retry_options retry = {.attempt_ms = 1000};
	const struct response opened = {.client_id = 5, .slots = slots};
	struct slot first;

	backoff_start(&now, &fake.table, &retry, 1);
	fake.now_ms += 1;
	session = session_new();
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, false, &first), SLOT_OPEN);
	session_opened(session, 1, &opened, 0, false, &first);
	session_release(session, &first, SLOT_ANSWERED, 0);
}

TEST(rule_4_14_some_slots_are_left_for_writes_that_do_not_wait) {
	struct slot slots[SESSION_SLOTS];
	struct slot another;

	open_session(SESSION_SLOTS);
	for (unsigned i = 0; i < SESSION_SLOTS - SESSION_SLOTS_SPARE; i++)
		ck_assert_int_eq(session_acquire_slot(session, 1, &now, true, &slots[i]),
				 SLOT_HELD);
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, true, &another), SLOT_TIMEOUT);
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, false, &another), SLOT_HELD);
	session_release(session, &slots[0], SLOT_ANSWERED, 0);
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, true, &slots[0]), SLOT_HELD);
	session_free(session, false);
}

TEST(rule_4_14_of_few_slots_one_is_left_and_an_only_one_never_waits) {
	struct slot slot;

	open_session(2);
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, true, &slot), SLOT_HELD);
	ck_assert(!slot.is_only);
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, true, &slot), SLOT_TIMEOUT);
	session_free(session, false);
	open_session(1);
	ck_assert_int_eq(session_acquire_slot(session, 1, &now, true, &slot), SLOT_HELD);
	ck_assert(slot.is_only);
	session_free(session, false);
}

TEST(rule_4_14_on_an_only_slot_a_transaction_does_not_wait) {
	fake.slots = 1;
	client = fake_open(0);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 60000), KV_UNMET);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 0)->copy_wait_ms, 0);
	fake_close(client);
}

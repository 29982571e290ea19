/* SPDX-License-Identifier: BSD-3-Clause */
/* kv_settle(): after it no write that came back KV_MAYBE runs any more; kv_interrupt(). */
#include <stdlib.h>

#include "fake_transport.h"
#include "session.h"
#include "test.h"

static struct kv_client *client;

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

/* A write on slot 0, with seq 1, whose outcome is unknown. */
static void leave_a_maybe(void) {
	client = fake_open(1000);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_MAYBE);
	fake.log_count = 0;
}

CASE(clerk_settle, .setup = fake_reset);

TEST(without_an_unknown_write_nothing_is_sent) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	fake.log_count = 0;
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_uint_eq(fake.log_count, 0);
	fake_close(client);
}

TEST(the_slot_of_an_unknown_write_is_taken_by_one_that_is_refused) {
	static const enum kv_status refusals[] = {KV_VERSION, KV_NOKEY, KV_STALE, KV_FALSE_RETRY};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		fake_reset();
		leave_a_maybe();
		fake_answers(REQUEST_PUT, refusals[i], 0);
		ck_assert_int_eq(kv_settle(client), KV_OK);
		ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->slot, 0);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->seq, 2);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->expected, KV_ANY - 1);
		ck_assert_int_eq(kv_settle(client), KV_OK);
		ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
		fake_close(client);
	}
}

TEST(an_answer_that_does_not_take_the_slot_settles_nothing) {
	static const enum kv_status others[] = {KV_MAYBE, KV_DENIED, KV_FULL, KV_UNAVAILABLE};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		fake_reset();
		leave_a_maybe();
		fake_answers(REQUEST_PUT, others[i], 0);
		ck_assert_int_eq(kv_settle(client), others[i]);
		fake_close(client);
	}
}

TEST(without_an_answer_it_is_not_settled_and_the_next_one_goes_on) {
	leave_a_maybe();
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(kv_settle(client), KV_MAYBE);
	fake_answers(REQUEST_PUT, KV_VERSION, 1);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, fake_count(REQUEST_PUT) - 1)->slot, 0);
	fake_close(client);
}

TEST(a_session_that_is_gone_is_settled_and_no_other_is_opened_for_it) {
	leave_a_maybe();
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 0);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
	fake_close(client);
}

TEST(a_store_that_is_gone_is_settled) {
	leave_a_maybe();
	fake.servers[0].store = 'B';
	fake_restart(0);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	fake_close(client);
}

TEST(a_view_settles_what_its_handle_left) {
	struct kv_client *view;

	leave_a_maybe();
	ck_assert_int_eq(kv_with_timeout(client, 500, &view), KV_OK);
	fake_answers(REQUEST_PUT, KV_VERSION, 1);
	ck_assert_int_eq(kv_settle(view), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
	kv_close(view);
	fake_close(client);
}

/* The server may have been stopped meanwhile, and the write with it. */
TEST(a_session_given_up_for_idleness_is_closed) {
	leave_a_maybe();
	fake.now_ms += fake.lease_ms;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 0)->client_id, 102);
	fake_fails(REQUEST_CLOSE, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(kv_settle(client), KV_TIMEOUT);
	fake_answers(REQUEST_CLOSE, KV_BADSESSION, 0);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_CLOSE, 0)->client_id, 101);
	ck_assert_int_eq(kv_settle(client), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 2);
	fake_close(client);
}

TEST(a_stateless_handle_cannot_settle) {
	client = fake_open_stateless(0);
	ck_assert_int_eq(kv_settle(client), KV_INVALID);
	fake_close(client);
}

TEST(a_write_that_waits_takes_no_slot_that_is_to_be_settled) {
	leave_a_maybe();
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 100), KV_UNMET);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 0)->slot, 1);
	fake_close(client);
}

/* --- kv_interrupt() -------------------------------------------------------------------------- */

static void interrupt(void) {
	fake.now_ms += 500;
	kv_interrupt(client);
}

static void wait_and_be_interrupted(enum request_kind kind) {
	fake_next(kind, (struct step){.outcome = ATTEMPT_UNANSWERED, .during = interrupt});
}

static enum kv_status wait_for(unsigned wait_ms) {
	struct kv_value value;
	enum kv_status status = kv_wait(client, KV_STR("k"), 7, wait_ms, &value);

	kv_value_free(&value);
	return status;
}

TEST(an_interrupted_transaction_runs_now_or_never) {
	client = fake_open(0);
	wait_and_be_interrupted(REQUEST_TXN);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 3600 * 1000), KV_UNMET);
	ck_assert_uint_eq(fake_count(REQUEST_TXN), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 0)->copy_wait_ms, 60000);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 1)->copy_wait_ms, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 1)->seq, fake_sent(REQUEST_TXN, 0)->seq);
	ck_assert_uint_eq(fake.now_ms, 1000 + 500);
	ck_assert_uint_eq(fake_count(REQUEST_PING), 0);
	fake_close(client);
}

TEST(an_interrupted_transaction_may_still_have_run) {
	uint64_t *versions = calloc(1, sizeof(*versions));

	ck_assert_ptr_nonnull(versions);
	client = fake_open(0);
	wait_and_be_interrupted(REQUEST_TXN);
	fake_next(REQUEST_TXN, (struct step){.response = {.status = KV_OK, .versions = versions}});
	ck_assert_int_eq(txn(client, 3600 * 1000), KV_OK);
	fake_close(client);
}

TEST(an_interrupted_wait_is_a_time_out) {
	client = fake_open(0);
	wait_and_be_interrupted(REQUEST_WAIT);
	fake_answers(REQUEST_WAIT, KV_UNMET, 7);
	ck_assert_int_eq(wait_for(60000), KV_TIMEOUT);
	ck_assert_uint_eq(fake_count(REQUEST_WAIT), 2);
	fake_close(client);
}

TEST(a_silent_server_holds_an_interrupted_call_for_an_attempt_at_most) {
	client = fake_open(0);
	wait_and_be_interrupted(REQUEST_TXN);
	fake_fails(REQUEST_TXN, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(txn(client, 3600 * 1000), KV_MAYBE);
	ck_assert_uint_eq(fake.now_ms, 1000 + 500 + 1000);
	fake_close(client);
}

TEST(a_server_that_is_away_holds_an_interrupted_call_for_an_attempt_at_most) {
	client = fake_open(0);
	fake.servers[0].reach = REACH_SILENT;
	kv_interrupt(client);
	ck_assert_int_eq(txn(client, 3600 * 1000), KV_TIMEOUT);
	ck_assert_uint_eq(fake.now_ms, 1000 + 1000);
	fake_close(client);
}

TEST(an_interrupt_from_before_the_call_lasts_until_it_has_ended) {
	client = fake_open(0);
	kv_interrupt(client);
	fake.now_ms += 60000;
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_OK);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 5000), KV_UNMET);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 0)->copy_wait_ms, 0);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(client, 5000), KV_UNMET);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 1)->copy_wait_ms, 5000);
	fake_close(client);
}

TEST(an_interrupt_is_the_views_own) {
	struct kv_client *view;

	client = fake_open(0);
	ck_assert_int_eq(kv_with_timeout(client, 0, &view), KV_OK);
	kv_interrupt(client);
	fake_answers(REQUEST_TXN, KV_UNMET, 0);
	ck_assert_int_eq(txn(view, 5000), KV_UNMET);
	ck_assert_uint_eq(fake_sent(REQUEST_TXN, 0)->copy_wait_ms, 5000);
	kv_close(view);
	fake_close(client);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The duplicate cache, as calls see it: every row and clause, with what the store holds after. */
#include "fixture.h"
#include "test.h"

static struct world world;
static uint64_t client;
static uint64_t other;

static void start(void) {
	world_open(&world, usual_limits(), true);
	client = open_session(&world, 1);
	other = open_session(&world, 2);
}

static void stop(void) {
	world_close(&world);
}

static enum kv_status put(uint64_t client_id, uint64_t seq, const char *key, const char *value) {
	struct operation operation = put_call(client_id, seq, key, value);

	return status_of(&world, &operation);
}

static enum kv_status append(uint64_t client_id, uint64_t seq, const char *key, const char *value) {
	struct operation operation = append_call(client_id, seq, key, value);

	return status_of(&world, &operation);
}

/* A copy gets the answer that is given here, and nothing is run. */
static void assert_copy(const struct operation *operation, enum kv_status status, uint64_t current,
			uint64_t old_version, const char *old) {
	uint64_t writes_applied = counters(&world).writes_applied;
	uint64_t replayed = counters(&world).calls_replayed;
	size_t recorded = world.tape.count;

	for (int i = 0; i < 3; i++) {
		struct reply reply = run(&world, operation);
		ck_assert_int_eq(reply.status, status);
		ck_assert_uint_eq(reply.current, current);
		ck_assert_uint_eq(reply.old_version, old_version);
		ck_assert(is_text(reply.value, old));
		drop(&world, &reply);
	}
	ck_assert_uint_eq(counters(&world).writes_applied, writes_applied);
	ck_assert_uint_eq(counters(&world).calls_replayed, replayed + 3);
	ck_assert_uint_eq(world.tape.count, recorded);
}

/* --- Rows ---------------------------------------------------------------------------------- */

CASE(duplicate_cache, .setup = start, .teardown = stop);

TEST(a_call_later_than_the_last_is_run) {
	ck_assert_int_eq(append(client, 1, "k", "a"), KV_OK);
	ck_assert_int_eq(append(client, 2, "k", "b"), KV_OK);
	assert_holds(&world, "k", "ab", 2);
}

TEST(numbers_may_be_skipped) {
	ck_assert_int_eq(append(client, 1, "k", "a"), KV_OK);
	ck_assert_int_eq(append(client, 1000, "k", "b"), KV_OK);
	assert_holds(&world, "k", "ab", 2);
	ck_assert_int_eq(append(client, 999, "k", "c"), KV_STALE);
	assert_holds(&world, "k", "ab", 2);
}

TEST(a_copy_runs_nothing_and_gets_the_remembered_reply) {
	struct operation call = append_call(client, 1, "k", "a");

	set(&world, "k", text("old"));
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	assert_copy(&call, KV_OK, 2, 1, "old");
	assert_holds(&world, "k", "olda", 2);
}

TEST(a_copy_of_a_create_gets_no_old_value) {
	struct operation append = append_call(client, 1, "a", "x");
	struct operation put = put_call(client, 2, "p", "x");

	ck_assert_int_eq(status_of(&world, &append), KV_OK);
	assert_copy(&append, KV_OK, 1, 0, "");
	ck_assert_int_eq(status_of(&world, &put), KV_OK);
	assert_copy(&put, KV_OK, 1, 0, "");
}

/* Whatever is different: each field that the hash is made of. */
TEST(another_call_with_the_last_seq_is_a_false_retry) {
	const struct operation call = append_call(client, 5, "k", "a");
	struct operation others[6];

	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	for (size_t i = 0; i < 6; i++)
		others[i] = call;
	others[0].kind = OPERATION_PUT;
	others[1].expected = 1;
	others[2].key = text("l");
	others[3].value = text("b");
	others[4].want_old = false;
	/* The same bytes, in other places. */
	others[5].key = text("ka");
	others[5].value = text("");
	for (size_t i = 0; i < 6; i++)
		ck_assert_int_eq(status_of(&world, &others[i]), KV_FALSE_RETRY);
	assert_holds(&world, "k", "a", 1);
	assert_copy(&call, KV_OK, 1, 0, "");
}

TEST(a_call_before_the_last_is_stale_and_never_runs) {
	ck_assert_int_eq(append(client, 1, "k", "a"), KV_OK);
	ck_assert_int_eq(append(client, 3, "k", "b"), KV_OK);
	ck_assert_int_eq(append(client, 1, "k", "a"), KV_STALE);
	ck_assert_int_eq(append(client, 2, "k", "c"), KV_STALE);
	assert_holds(&world, "k", "ab", 2);
}

TEST(an_id_never_given_out_is_a_bad_session) {
	ck_assert_int_eq(put(424242, 1, "k", "a"), KV_BADSESSION);
	assert_missing(&world, "k");
}

TEST(a_closed_session_is_a_bad_session) {
	struct operation end = close_call(client);

	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
	ck_assert_int_eq(status_of(&world, &end), KV_OK);
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_BADSESSION);
	ck_assert_int_eq(put(client, 2, "k", "b"), KV_BADSESSION);
	ck_assert_int_eq(status_of(&world, &end), KV_BADSESSION);
	assert_holds(&world, "k", "a", 1);
}

TEST(an_expired_session_is_a_bad_session) {
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
	world.now_ms += LEASE_MS;
	(void)service_expire(world.service, 100, world.now_ms);
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_BADSESSION);
	ck_assert_int_eq(put(client, 2, "k", "b"), KV_BADSESSION);
	assert_holds(&world, "k", "a", 1);
}

TEST(seq_0_and_a_slot_out_of_range_are_invalid_and_take_nothing) {
	struct operation call = put_call(client, 0, "k", "a");

	ck_assert_int_eq(status_of(&world, &call), KV_INVALID);
	call.seq = 1;
	call.slot = SLOTS_MAX;
	ck_assert_int_eq(status_of(&world, &call), KV_INVALID);
	call.slot = UINT32_MAX;
	ck_assert_int_eq(status_of(&world, &call), KV_INVALID);
	assert_missing(&world, "k");
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
}

TEST(the_largest_seq_is_run_once) {
	struct operation call = append_call(client, UINT64_MAX, "k", "a");

	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	assert_copy(&call, KV_OK, 1, 0, "");
	ck_assert_int_eq(append(client, 1, "k", "b"), KV_STALE);
	assert_holds(&world, "k", "a", 1);
}

TEST(calls_on_different_slots_are_different_calls) {
	for (uint32_t slot = SLOTS_MAX; slot-- > 0;) {
		struct operation call = append_call(client, 1, "k", "x");
		call.slot = slot;
		ck_assert_int_eq(status_of(&world, &call), KV_OK);
		assert_copy(
		    &call, KV_OK, SLOTS_MAX - slot, SLOTS_MAX - slot - 1,
		    &"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"[slot + 1]);
	}
}

/* --- What a copy gets, whatever happened meanwhile ----------------------------------------- */

TEST(an_old_value_survives_another_clients_put) {
	struct operation call = append_call(client, 1, "k", "def");

	set(&world, "k", text("abc"));
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_int_eq(put(other, 1, "k", "XYZXYZXYZ"), KV_OK);
	assert_copy(&call, KV_OK, 2, 1, "abc");
	assert_holds(&world, "k", "XYZXYZXYZ", 3);
}

TEST(an_old_value_survives_other_clients_appends) {
	struct operation call = append_call(client, 1, "k", "def");
	struct operation later = append_call(other, 1, "k", "ghi");

	set(&world, "k", text("abc"));
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_int_eq(status_of(&world, &later), KV_OK);
	for (uint64_t seq = 1; seq <= 50; seq++) {
		struct operation more = append_call(other, seq, "k", "a long piece of text");
		more.slot = 1;
		ck_assert_int_eq(status_of(&world, &more), KV_OK);
	}
	assert_copy(&call, KV_OK, 2, 1, "abc");
	assert_copy(&later, KV_OK, 3, 2, "abcdef");
}

TEST(a_copy_that_arrives_after_a_later_request_is_stale) {
	struct operation call = append_call(client, 1, "k", "a");

	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_int_eq(append(client, 2, "k", "b"), KV_OK);
	ck_assert_int_eq(status_of(&world, &call), KV_STALE);
	assert_holds(&world, "k", "ab", 2);
}

TEST(a_copy_of_a_refused_write_that_would_now_be_accepted_is_still_refused) {
	struct operation call = put_call(client, 1, "k", "a");

	call.expected = 1;
	ck_assert_int_eq(status_of(&world, &call), KV_NOKEY);
	ck_assert_int_eq(put(other, 1, "k", "x"), KV_OK);
	assert_copy(&call, KV_NOKEY, 0, 0, "");

	call.seq = 2;
	call.expected = 3;
	ck_assert_int_eq(status_of(&world, &call), KV_VERSION);
	ck_assert_int_eq(put(other, 2, "k", "y"), KV_OK);
	ck_assert_int_eq(put(other, 3, "k", "z"), KV_OK);
	assert_copy(&call, KV_VERSION, 1, 0, "");
	assert_holds(&world, "k", "z", 3);
}

TEST(a_copy_of_an_accepted_write_that_would_now_be_refused_is_still_accepted) {
	struct operation call = put_call(client, 1, "k", "a");

	call.expected = 0;
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_int_eq(put(other, 1, "k", "x"), KV_OK);
	assert_copy(&call, KV_OK, 1, 0, "");
	assert_holds(&world, "k", "x", 2);
}

TEST(a_copy_of_an_answered_write_is_answered_when_the_store_is_full) {
	struct operation call = append_call(client, 1, "k", "def");
	struct operation new_call = append_call(client, 2, "k", "ghi");

	set(&world, "k", text("abc"));
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	service_memory(world.service)->limit = 0;
	world.tape.is_full = true;
	assert_copy(&call, KV_OK, 2, 1, "abc");
	ck_assert_int_eq(status_of(&world, &new_call), KV_FULL);
}

TEST(a_copy_of_a_write_refused_by_a_full_store_is_refused_when_there_is_room) {
	struct operation call = put_call(client, 1, "k", "a");

	service_memory(world.service)->limit = 0;
	ck_assert_int_eq(status_of(&world, &call), KV_FULL);
	service_memory(world.service)->limit = SIZE_MAX;
	assert_copy(&call, KV_FULL, 0, 0, "");

	call.seq = 2;
	world.tape.is_full = true;
	ck_assert_int_eq(status_of(&world, &call), KV_FULL);
	world.tape.is_full = false;
	assert_copy(&call, KV_FULL, 0, 0, "");
	assert_missing(&world, "k");
}

TEST(a_copy_whose_old_value_does_not_fit_its_transport_is_maybe) {
	struct operation call = append_call(client, 1, "k", "def");

	set(&world, "k", text("abc"));
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	struct reply reply = run_with(&world, EPOCH, &call, 2);
	ck_assert_int_eq(reply.status, KV_MAYBE);
	ck_assert_ptr_null(reply.value.buffer);
	reply = run_with(&world, EPOCH, &call, 3);
	ck_assert_int_eq(reply.status, KV_OK);
	drop(&world, &reply);
	assert_copy(&call, KV_OK, 2, 1, "abc");
}

/* --- Every answer to a new call takes the slot --------------------------------------------- */

TEST(every_answer_to_a_new_call_takes_the_slot) {
	char long_key[KEY_MAX + 2];
	struct operation calls[8];
	const enum kv_status answers[8] = {KV_OK,     KV_VERSION, KV_NOKEY,   KV_TOOBIG,
					   KV_TOOBIG, KV_TOOBIG,  KV_INVALID, KV_TOOBIG};

	memset(long_key, 'k', KEY_MAX + 1);
	long_key[KEY_MAX + 1] = '\0';
	set(&world, "k", text("abc"));
	for (uint64_t i = 0; i < 8; i++)
		calls[i] = append_call(client, i + 1, "k", "d");
	calls[1].expected = 77;
	calls[2].key = text("missing");
	calls[2].expected = 77;
	calls[3].key = text(long_key);
	calls[4].value = zeros(VALUE_MAX + 1);
	calls[5].value = zeros(VALUE_MAX);
	calls[6].key = text("");
	/* With the small reply_max below. */
	calls[7].want_old = true;
	for (uint64_t i = 0; i < 8; i++) {
		struct reply reply = run_with(&world, EPOCH, &calls[i], i == 7 ? 1 : ALL);
		ck_assert_int_eq(reply.status, answers[i]);
		drop(&world, &reply);

		struct operation another = put_call(client, i + 1, "k", "false retry");
		ck_assert_int_eq(status_of(&world, &another), KV_FALSE_RETRY);
		struct operation earlier = put_call(client, i, "k", "stale");
		ck_assert_int_eq(status_of(&world, &earlier), i == 0 ? KV_INVALID : KV_STALE);
		assert_copy(&calls[i], answers[i], reply.current, reply.old_version,
			    i == 0 ? "abc" : "");
	}
	assert_holds(&world, "k", "abcd", 2);
}

TEST(a_refusal_settles_the_calls_before_it) {
	struct operation given_up = append_call(client, 1, "k", "late");
	struct operation refused = put_call(client, 2, "k", "x");

	refused.expected = 9;
	ck_assert_int_eq(status_of(&world, &refused), KV_NOKEY);
	ck_assert_int_eq(status_of(&world, &given_up), KV_STALE);
	assert_missing(&world, "k");
}

TEST(a_refusal_is_not_recorded) {
	struct operation refused = put_call(client, 2, "k", "x");
	size_t before = world.tape.count;

	refused.expected = 9;
	ck_assert_int_eq(status_of(&world, &refused), KV_NOKEY);
	ck_assert_uint_eq(world.tape.count, before);
	ck_assert_int_eq(put(client, 3, "k", "x"), KV_OK);
	ck_assert_uint_eq(world.tape.count, before + 1);
}

TEST(a_refusal_without_memory_for_its_slot_is_maybe) {
	struct operation call = put_call(client, 1, "k", "a");

	call.slot = 9;
	service_memory(world.service)->fail_in = 1;
	ck_assert_int_eq(status_of(&world, &call), KV_MAYBE);
	assert_missing(&world, "k");
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	assert_holds(&world, "k", "a", 1);
}

/* --- Epochs -------------------------------------------------------------------------------- */

TEST(a_write_of_another_epoch_runs_nothing_and_takes_no_slot) {
	struct operation call = append_call(client, 7, "k", "a");
	struct operation stateless = put_call(0, 0, "k", "a");

	stateless.expected = 0;
	ck_assert_int_eq(run_with(&world, EPOCH + 1, &call, ALL).status, KV_EPOCH);
	ck_assert_int_eq(run_with(&world, EPOCH + 1, &stateless, ALL).status, KV_EPOCH);
	assert_missing(&world, "k");
	ck_assert_int_eq(append(client, 1, "k", "b"), KV_OK);
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	assert_holds(&world, "k", "ba", 2);
}

TEST(a_copy_of_another_epoch_gets_no_remembered_reply) {
	struct operation call = append_call(client, 7, "k", "a");

	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_int_eq(run_with(&world, EPOCH + 1, &call, ALL).status, KV_EPOCH);
	assert_copy(&call, KV_OK, 1, 0, "");
}

TEST(epoch_0_is_not_checked) {
	struct operation call = append_call(client, 7, "k", "a");

	ck_assert_int_eq(run_with(&world, 0, &call, ALL).status, KV_OK);
	assert_copy(&call, KV_OK, 1, 0, "");
	assert_holds(&world, "k", "a", 1);
}

TEST(a_call_of_another_epoch_ends_and_opens_no_session) {
	struct operation end = close_call(client);
	struct operation open = open_call(&world, 3, 1);
	uint64_t before = counters(&world).sessions;

	ck_assert_int_eq(run_with(&world, EPOCH + 1, &end, ALL).status, KV_EPOCH);
	ck_assert_int_eq(run_with(&world, EPOCH + 1, &open, ALL).status, KV_EPOCH);
	ck_assert_uint_eq(counters(&world).sessions, before);
}

/* --- A write whose value found no memory --------------------------------------------------- */

static struct operation unread_call(uint64_t client_id, uint64_t seq) {
	return (struct operation){
	    .kind = OPERATION_PUT, .client_id = client_id, .seq = seq, .is_unread = true};
}

TEST(an_unread_write_is_refused_and_so_is_every_copy_of_it) {
	struct operation unread = unread_call(client, 1);
	struct operation copy = put_call(client, 1, "k", "a");

	ck_assert_int_eq(status_of(&world, &unread), KV_FULL);
	assert_copy(&unread, KV_FULL, 0, 0, "");
	assert_copy(&copy, KV_FULL, 0, 0, "");
	assert_missing(&world, "k");
	ck_assert_int_eq(put(client, 2, "k", "a"), KV_OK);
}

TEST(an_unread_copy_of_a_write_that_ran_is_unknown_and_changes_nothing) {
	struct operation first = put_call(client, 5, "k", "a");
	struct operation unread = unread_call(client, 5);

	ck_assert_int_eq(status_of(&world, &first), KV_OK);
	ck_assert_int_eq(status_of(&world, &unread), KV_MAYBE);
	assert_copy(&first, KV_OK, 1, 0, "");
	unread.seq = 4;
	ck_assert_int_eq(status_of(&world, &unread), KV_STALE);
	unread.client_id = client + 1000;
	ck_assert_int_eq(status_of(&world, &unread), KV_BADSESSION);
	assert_holds(&world, "k", "a", 1);
}

TEST(an_unread_write_without_a_session_is_refused) {
	struct operation unread = unread_call(0, 0);

	ck_assert_int_eq(status_of(&world, &unread), KV_FULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions and slots by themselves: admission, what is remembered, order, memory. */
#include "world.h"
#include "core/session.h"

static struct memory memory;
static struct sessions sessions;

static void start(void) {
	memory = (struct memory){.limit = 0};
	ck_assert(sessions_open(&sessions, &memory, 5));
}

static void nothing_is_left(void) {
	sessions_close(&sessions);
	ck_assert_uint_eq(memory.used, 0);
}

static struct session *added(uint64_t client_id, uint32_t slots, uint64_t now_ms) {
	struct operation operation = {
	    .kind = OPERATION_OPEN,
	    .client_id = client_id,
	    .slots = slots,
	};

	memcpy(operation.nonce, &client_id, sizeof(client_id));
	struct session *session = session_prepare(&sessions, &operation);
	ck_assert_ptr_nonnull(session);
	session_add(&sessions, session, now_ms);
	return session;
}

static struct operation on(uint32_t slot, uint64_t seq) {
	return (struct operation){.kind = OPERATION_PUT, .slot = slot, .seq = seq};
}

static void take(struct session *session, uint32_t slot, uint64_t seq, uint64_t hash) {
	const struct operation operation = on(slot, seq);
	const struct reply reply = {.status = KV_OK, .current = seq};

	ck_assert_int_eq(session_admit(session, &operation, hash), ADMIT_NEW);
	ck_assert(session_prepare_slot(&sessions, session, slot));
	session_cache_reply(&sessions, session, &operation, hash, &reply);
}

static enum admission admit(struct session *session, uint32_t slot, uint64_t seq, uint64_t hash) {
	const struct operation operation = on(slot, seq);

	return session_admit(session, &operation, hash);
}

START_TEST(a_seq_above_the_last_is_new_and_numbers_may_be_skipped) {
	struct session *session = added(1, 4, 0);

	ck_assert_int_eq(admit(session, 0, 1, 9), ADMIT_NEW);
	ck_assert_int_eq(admit(session, 0, 1000, 9), ADMIT_NEW);
	take(session, 0, 5, 9);
	ck_assert_int_eq(admit(session, 0, 6, 9), ADMIT_NEW);
	ck_assert_int_eq(admit(session, 0, 600, 9), ADMIT_NEW);
	ck_assert_int_eq(admit(session, 0, UINT64_MAX, 9), ADMIT_NEW);
}
END_TEST

START_TEST(the_last_seq_with_the_same_hash_is_a_copy) {
	struct session *session = added(1, 4, 0);

	take(session, 2, 5, 9);
	ck_assert_int_eq(admit(session, 2, 5, 9), ADMIT_REPLAY);
	ck_assert_int_eq(admit(session, 2, 5, 9), ADMIT_REPLAY);
}
END_TEST

START_TEST(the_last_seq_with_another_hash_is_a_false_retry) {
	struct session *session = added(1, 4, 0);

	take(session, 2, 5, 9);
	ck_assert_int_eq(admit(session, 2, 5, 8), ADMIT_FALSE_RETRY);
}
END_TEST

START_TEST(a_seq_below_the_last_is_stale) {
	struct session *session = added(1, 4, 0);

	take(session, 2, 5, 9);
	ck_assert_int_eq(admit(session, 2, 4, 9), ADMIT_STALE);
	ck_assert_int_eq(admit(session, 2, 1, 9), ADMIT_STALE);
	take(session, 2, 6, 9);
	ck_assert_int_eq(admit(session, 2, 5, 9), ADMIT_STALE);
}
END_TEST

START_TEST(no_session_is_unknown) {
	ck_assert_int_eq(admit(NULL, 0, 1, 9), ADMIT_UNKNOWN);
	ck_assert_int_eq(admit(NULL, 99, 0, 9), ADMIT_UNKNOWN);
}
END_TEST

START_TEST(seq_0_and_a_slot_not_given_are_invalid) {
	struct session *session = added(1, 4, 0);

	ck_assert_int_eq(admit(session, 0, 0, 9), ADMIT_INVALID);
	ck_assert_int_eq(admit(session, 3, 1, 9), ADMIT_NEW);
	ck_assert_int_eq(admit(session, 4, 1, 9), ADMIT_INVALID);
	ck_assert_int_eq(admit(session, UINT32_MAX, 1, 9), ADMIT_INVALID);
}
END_TEST

START_TEST(the_largest_seq_is_a_seq_and_the_last_of_its_slot) {
	struct session *session = added(1, 4, 0);

	take(session, 0, UINT64_MAX, 9);
	ck_assert_int_eq(admit(session, 0, UINT64_MAX, 9), ADMIT_REPLAY);
	ck_assert_int_eq(admit(session, 0, UINT64_MAX, 8), ADMIT_FALSE_RETRY);
	ck_assert_int_eq(admit(session, 0, UINT64_MAX - 1, 9), ADMIT_STALE);
	ck_assert_int_eq(admit(session, 1, 1, 9), ADMIT_NEW);
}
END_TEST

START_TEST(slots_know_nothing_of_each_other) {
	struct session *session = added(1, SLOTS_MAX, 0);
	struct session *other = added(2, SLOTS_MAX, 0);

	for (uint32_t slot = 0; slot < SLOTS_MAX; slot++)
		take(session, slot, 100 + slot, slot);
	for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
		struct reply reply;
		ck_assert_int_eq(admit(session, slot, 100 + slot, slot), ADMIT_REPLAY);
		ck_assert(session_cached_reply(session, slot, 0, &reply));
		ck_assert_uint_eq(reply.current, 100 + slot);
		ck_assert_int_eq(admit(other, slot, 1, slot), ADMIT_NEW);
	}
}
END_TEST

START_TEST(slots_take_memory_once_they_are_used) {
	struct session *session = added(1, SLOTS_MAX, 0);
	size_t before = memory.used;

	take(session, 0, 1, 9);
	ck_assert_uint_eq(memory.used, before);
	take(session, 1, 1, 9);
	ck_assert_uint_le(memory.used, before + 64);
	take(session, 5, 1, 9);
	ck_assert_uint_le(memory.used, before + 7 * sizeof(struct slot) + 16);
}
END_TEST

START_TEST(slot_63_first_costs_64_slots_at_most) {
	struct session *session = added(1, SLOTS_MAX, 0);
	size_t before = memory.used;

	take(session, 63, 1, 9);
	ck_assert_uint_le(memory.used, before + SLOTS_MAX * sizeof(struct slot));
	ck_assert_int_eq(admit(session, 63, 1, 9), ADMIT_REPLAY);
	for (uint32_t slot = 0; slot < 63; slot++)
		ck_assert_int_eq(admit(session, slot, 1, 9), ADMIT_NEW);
}
END_TEST

START_TEST(more_slots_than_there_are_give_as_many_as_there_are) {
	ck_assert_uint_eq(added(1, UINT32_MAX, 0)->slots, SLOTS_MAX);
	ck_assert_uint_eq(added(2, 300, 0)->slots, SLOTS_MAX);
	ck_assert_uint_eq(added(3, 3, 0)->slots, 3);
}
END_TEST

START_TEST(a_slot_forgets_its_old_value_to_make_way) {
	struct session *session = added(1, 4, 0);
	struct operation operation = on(0, 1);
	struct reply reply = {.status = KV_OK, .current = 2, .old_version = 1};

	struct buffer *old = buffer_make(&memory, sizeof(*old), 3);
	ck_assert_ptr_nonnull(old);
	buffer_overwrite(old, text("old"));
	reply.value = view_all(old);
	ck_assert(session_prepare_slot(&sessions, session, 0));
	session_cache_reply(&sessions, session, &operation, 9, &reply);
	reply_drop(&memory, &reply);
	size_t before = memory.used;

	ck_assert(session_cached_reply(session, 0, 3, &reply));
	ck_assert(is_text(reply.value, "old"));
	ck_assert_uint_eq(reply.old_version, 1);
	reply_drop(&memory, &reply);
	ck_assert(!session_cached_reply(session, 0, 2, &reply));
	ck_assert_uint_eq(memory.used, before);

	ck_assert(session_prepare_slot(&sessions, session, 0));
	ck_assert_uint_eq(memory.used, before - buffer_cost(sizeof(*old), 3));
}
END_TEST

START_TEST(without_memory_for_a_slot_nothing_is_changed) {
	struct session *session = added(1, 4, 0);

	take(session, 1, 5, 9);
	memory.fail_in = 1;
	ck_assert(!session_prepare_slot(&sessions, session, 3));
	ck_assert_int_eq(admit(session, 1, 5, 9), ADMIT_REPLAY);
	take(session, 3, 5, 9);
}
END_TEST

START_TEST(without_memory_there_is_no_session) {
	struct operation operation = {.kind = OPERATION_OPEN, .client_id = 1, .slots = 1};
	size_t before = memory.used;

	memory.fail_in = 1;
	ck_assert_ptr_null(session_prepare(&sessions, &operation));
	ck_assert_uint_eq(memory.used, before);
}
END_TEST

START_TEST(a_session_is_found_by_its_id_and_by_its_nonce_until_it_ends) {
	const uint8_t nonce[NONCE_SIZE] = {7};
	struct session *session = added(7, 4, 0);

	(void)added(8, 4, 0);
	ck_assert_ptr_eq(sessions_find(&sessions, 7), session);
	ck_assert_ptr_eq(sessions_find_nonce(&sessions, nonce), session);
	session_destroy(&sessions, session);
	ck_assert_ptr_null(sessions_find(&sessions, 7));
	ck_assert_ptr_null(sessions_find_nonce(&sessions, nonce));
	ck_assert_ptr_nonnull(sessions_find(&sessions, 8));
}
END_TEST

START_TEST(a_session_found_again_and_again_is_not_found_once_it_ended) {
	struct session *a = added(1, 4, 0);
	struct session *b = added(2, 4, 0);

	for (int i = 0; i < 2; i++) {
		ck_assert_ptr_eq(sessions_find(&sessions, 1), a);
		ck_assert_ptr_eq(sessions_find(&sessions, 1), a);
		ck_assert_ptr_eq(sessions_find(&sessions, 2), b);
		ck_assert_ptr_null(sessions_find(&sessions, 3));
	}
	session_destroy(&sessions, a);
	ck_assert_ptr_eq(sessions_find(&sessions, 2), b);
	session_destroy(&sessions, b);
	/* Nothing points to where it was: the block may be another's by now. */
	ck_assert_ptr_null(sessions.last);
	ck_assert_ptr_null(sessions_find(&sessions, 2));
}
END_TEST

START_TEST(within_a_millisecond_too_the_last_to_call_is_idle_for_least) {
	struct session *a = added(1, 4, 10);
	struct session *b = added(2, 4, 10);

	session_renew(&sessions, b, 20);
	session_renew(&sessions, b, 20);
	ck_assert_ptr_eq(sessions_oldest(&sessions), a);
	session_renew(&sessions, a, 20);
	ck_assert_ptr_eq(sessions_oldest(&sessions), b);
	session_renew(&sessions, b, 20);
	ck_assert_ptr_eq(sessions_oldest(&sessions), a);
}
END_TEST

START_TEST(the_oldest_session_is_the_one_idle_for_longest) {
	ck_assert_ptr_null(sessions_oldest(&sessions));
	struct session *a = added(1, 4, 10);
	struct session *b = added(2, 4, 20);
	struct session *c = added(3, 4, 30);

	ck_assert_ptr_eq(sessions_oldest(&sessions), a);
	session_renew(&sessions, a, 40);
	ck_assert_ptr_eq(sessions_oldest(&sessions), b);
	take(b, 0, 1, 9);
	session_renew(&sessions, b, 40);
	ck_assert_ptr_eq(sessions_oldest(&sessions), c);
	session_renew(&sessions, c, 50);
	ck_assert_ptr_eq(sessions_oldest(&sessions), a);
	session_renew(&sessions, a, 50);
	ck_assert_ptr_eq(sessions_oldest(&sessions), b);
	ck_assert_ptr_eq(sessions.silent.oldest, c);
	ck_assert_ptr_eq(sessions.wrote.oldest, b);
	session_destroy(&sessions, c);
	session_destroy(&sessions, b);
	ck_assert_ptr_eq(sessions_oldest(&sessions), a);
}
END_TEST

START_TEST(a_client_that_wrote_takes_less_than_160_bytes_and_leaves_nothing) {
	enum { CLIENTS = 100000 };
	size_t before = memory.used;

	for (uint64_t i = 1; i <= CLIENTS; i++)
		take(added(i, SLOTS_MAX, i), 0, 1, i);
	size_t each = (memory.used - before) / CLIENTS;
	printf("figure: %zu bytes a client that wrote once\n", each);
	ck_assert_uint_lt(each, 160);
	while (sessions_oldest(&sessions) != NULL)
		session_destroy(&sessions, sessions_oldest(&sessions));
	ck_assert_uint_eq(memory.used, before);
}
END_TEST

static void add(TCase *tests) {
	tcase_add_checked_fixture(tests, start, nothing_is_left);
	tcase_add_test(tests, a_seq_above_the_last_is_new_and_numbers_may_be_skipped);
	tcase_add_test(tests, the_last_seq_with_the_same_hash_is_a_copy);
	tcase_add_test(tests, the_last_seq_with_another_hash_is_a_false_retry);
	tcase_add_test(tests, a_seq_below_the_last_is_stale);
	tcase_add_test(tests, no_session_is_unknown);
	tcase_add_test(tests, seq_0_and_a_slot_not_given_are_invalid);
	tcase_add_test(tests, the_largest_seq_is_a_seq_and_the_last_of_its_slot);
	tcase_add_test(tests, slots_know_nothing_of_each_other);
	tcase_add_test(tests, slots_take_memory_once_they_are_used);
	tcase_add_test(tests, slot_63_first_costs_64_slots_at_most);
	tcase_add_test(tests, more_slots_than_there_are_give_as_many_as_there_are);
	tcase_add_test(tests, a_slot_forgets_its_old_value_to_make_way);
	tcase_add_test(tests, without_memory_for_a_slot_nothing_is_changed);
	tcase_add_test(tests, without_memory_there_is_no_session);
	tcase_add_test(tests, a_session_is_found_by_its_id_and_by_its_nonce_until_it_ends);
	tcase_add_test(tests, a_session_found_again_and_again_is_not_found_once_it_ended);
	tcase_add_test(tests, within_a_millisecond_too_the_last_to_call_is_idle_for_least);
	tcase_add_test(tests, the_oldest_session_is_the_one_idle_for_longest);
	tcase_add_test(tests, a_client_that_wrote_takes_less_than_160_bytes_and_leaves_nothing);
}

int main(void) {
	return run_suite("session", add);
}

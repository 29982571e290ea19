/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions and slots by themselves: admission, what is remembered, order, memory. */
#include "core/session.h"
#include "fixture.h"
#include "test.h"

static struct mem_account memory;
static struct sessions sessions;

static void start(void) {
	memory = (struct mem_account){.limit = 0};
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

static enum slot_check admit(struct session *session, uint32_t slot, uint64_t seq, uint64_t hash) {
	const struct operation operation = on(slot, seq);

	return session_admit(session, &operation, hash);
}

CASE(session, .setup = start, .teardown = nothing_is_left);

/* A call on a session of four slots, after `last` was taken with hash 9 on the same slot (0: none).
 */
static const struct {
	const char *what;
	uint64_t last;
	uint32_t slot;
	uint64_t seq, hash;
	enum slot_check check;
} slot_checks[] = {
    {"the first call of a slot", 0, 0, 1, 9, ADMIT_NEW},
    {"numbers may be skipped", 0, 0, 1000, 9, ADMIT_NEW},
    {"the last slot", 0, 3, 1, 9, ADMIT_NEW},
    {"the next seq", 5, 0, 6, 9, ADMIT_NEW},
    {"a seq far above", 5, 0, 600, 9, ADMIT_NEW},
    {"the largest seq", 5, 0, UINT64_MAX, 9, ADMIT_NEW},
    {"the last call again", 5, 2, 5, 9, ADMIT_REPLAY},
    {"the largest again", UINT64_MAX, 0, UINT64_MAX, 9, ADMIT_REPLAY},
    {"another call with the last seq", 5, 2, 5, 8, ADMIT_FALSE_RETRY},
    {"another call with the largest", UINT64_MAX, 0, UINT64_MAX, 8, ADMIT_FALSE_RETRY},
    {"the seq before", 5, 2, 4, 9, ADMIT_STALE},
    {"the first seq", 5, 2, 1, 9, ADMIT_STALE},
    {"one below the largest", UINT64_MAX, 0, UINT64_MAX - 1, 9, ADMIT_STALE},
    {"seq 0", 0, 0, 0, 9, ADMIT_INVALID},
    {"seq 0 of a slot in use", 5, 0, 0, 9, ADMIT_INVALID},
    {"the first slot not given", 0, 4, 1, 9, ADMIT_INVALID},
    {"the largest slot", 0, UINT32_MAX, 1, 9, ADMIT_INVALID},
};

TEST(each_call_is_admitted_by_its_slot) {
	for (size_t i = 0; i < sizeof(slot_checks) / sizeof(slot_checks[0]); i++) {
		struct session *session = added(i + 1, 4, 0);

		if (slot_checks[i].last != 0)
			take(session, slot_checks[i].slot, slot_checks[i].last, 9);
		/* Twice: to be looked at changes nothing. */
		for (int time = 0; time < 2; time++)
			ck_assert_msg(admit(session, slot_checks[i].slot, slot_checks[i].seq,
					    slot_checks[i].hash) == slot_checks[i].check,
				      "%s", slot_checks[i].what);
	}
	ck_assert_int_eq(admit(NULL, 0, 1, 9), ADMIT_UNKNOWN);
	ck_assert_int_eq(admit(NULL, 99, 0, 9), ADMIT_UNKNOWN);
}

TEST(slots_know_nothing_of_each_other) {
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

TEST(slots_take_memory_once_they_are_used) {
	struct session *session = added(1, SLOTS_MAX, 0);
	size_t before = memory.used;

	take(session, 0, 1, 9);
	ck_assert_uint_eq(memory.used, before);
	take(session, 1, 1, 9);
	ck_assert_uint_le(memory.used, before + 64);
	take(session, 5, 1, 9);
	ck_assert_uint_le(memory.used, before + 7 * sizeof(struct slot) + 16);
}

TEST(a_slot_used_first_takes_the_memory_of_one_slot_whichever_it_is) {
	for (uint32_t slot = 1; slot < SLOTS_MAX; slot++) {
		struct session *session = added(slot, SLOTS_MAX, 0);
		size_t before = memory.used;

		take(session, slot, 1, 9);
		ck_assert_uint_le(
		    memory.used, before + mem_account_cost(sizeof(uint64_t) + sizeof(struct slot)));
		ck_assert_int_eq(admit(session, slot, 1, 9), ADMIT_REPLAY);
		for (uint32_t other = 0; other < SLOTS_MAX; other++)
			if (other != slot)
				ck_assert_int_eq(admit(session, other, 1, 9), ADMIT_NEW);
	}
}

TEST(slots_used_in_any_order_keep_what_they_remember) {
	static const unsigned steps[] = {1, 5, 37, 63}; /* each is prime to 64 */

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct session *session = added(1 + i, SLOTS_MAX, 0);
		size_t before = memory.used;

		for (uint32_t n = 0; n < SLOTS_MAX; n++) {
			take(session, n * steps[i] % SLOTS_MAX, 10 + n, n);
			for (uint32_t m = 0; m <= n; m++)
				ck_assert_int_eq(
				    admit(session, m * steps[i] % SLOTS_MAX, 10 + m, m),
				    ADMIT_REPLAY);
		}
		ck_assert_uint_le(memory.used - before, session_cost(SLOTS_MAX) - session_cost(1));
	}
}

TEST(what_sessions_may_take_is_divided_so_that_the_last_one_has_a_slot) {
	enum { LIMIT = 1 << 20 };
	uint32_t slots, last = SLOTS_MAX;
	uint64_t id = 1;

	ck_assert_uint_eq(sessions_slots_for(&sessions, 1000, 1 << 30), SLOTS_MAX);
	ck_assert_uint_eq(sessions_slots_for(&sessions, 3, 1 << 30), 3);
	while ((slots = sessions_slots_for(&sessions, SLOTS_MAX, LIMIT)) > 0) {
		ck_assert_uint_le(slots, last);
		last = slots;
		/* Each uses all its slots. */
		struct session *session = added(id++, slots, 0);
		for (uint32_t i = 0; i < slots; i++)
			take(session, i, 1, i);
		ck_assert_uint_le(sessions.reserved, LIMIT);
	}
	ck_assert_uint_eq(last, 1);
	ck_assert_uint_gt(id, SESSIONS_PART);
	ck_assert_uint_le(memory.used, LIMIT + LIMIT / 16);
	session_destroy(&sessions, sessions_oldest(&sessions));
	ck_assert_uint_gt(sessions_slots_for(&sessions, 1, LIMIT), 0);
}

TEST(more_slots_than_there_are_give_as_many_as_there_are) {
	ck_assert_uint_eq(added(1, UINT32_MAX, 0)->slots, SLOTS_MAX);
	ck_assert_uint_eq(added(2, 300, 0)->slots, SLOTS_MAX);
	ck_assert_uint_eq(added(3, 3, 0)->slots, 3);
}

TEST(a_slot_forgets_its_old_value_to_make_way) {
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

TEST(without_memory_for_a_slot_nothing_is_changed) {
	struct session *session = added(1, 4, 0);

	take(session, 1, 5, 9);
	memory.fail_in = 1;
	ck_assert(!session_prepare_slot(&sessions, session, 3));
	ck_assert_int_eq(admit(session, 1, 5, 9), ADMIT_REPLAY);
	take(session, 3, 5, 9);
}

TEST(without_memory_there_is_no_session) {
	struct operation operation = {.kind = OPERATION_OPEN, .client_id = 1, .slots = 1};
	size_t before = memory.used;

	memory.fail_in = 1;
	ck_assert_ptr_null(session_prepare(&sessions, &operation));
	ck_assert_uint_eq(memory.used, before);
}

TEST(a_session_is_found_by_its_id_and_by_its_nonce_until_it_ends) {
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

TEST(a_session_found_again_and_again_is_not_found_once_it_ended) {
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

TEST(within_a_millisecond_too_the_last_to_call_is_idle_for_least) {
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

TEST(the_oldest_session_is_the_one_idle_for_longest) {
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
	ck_assert_ptr_eq(sessions.idle_sessions.oldest, c);
	ck_assert_ptr_eq(sessions.written_sessions.oldest, b);
	session_destroy(&sessions, c);
	session_destroy(&sessions, b);
	ck_assert_ptr_eq(sessions_oldest(&sessions), a);
}

TEST(a_client_that_wrote_takes_at_most_104_bytes_and_leaves_nothing) {
	enum { CLIENTS = 100000 };
	size_t before = memory.used;

	for (uint64_t i = 1; i <= CLIENTS; i++)
		take(added(i, SLOTS_MAX, i), 0, 1, i);
	size_t each = (memory.used - before) / CLIENTS;
	printf("figure: %zu bytes a client that wrote once\n", each);
	ck_assert_uint_le(each, 104);
	while (sessions_oldest(&sessions) != NULL)
		session_destroy(&sessions, sessions_oldest(&sessions));
	ck_assert_uint_eq(memory.used, before);
}

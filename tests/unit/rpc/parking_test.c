/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transactions that wait, without sockets. The numbers at the tests are those of the rules in
 * docs/PROTOCOL.md, "Calls that wait".
 */
#include "parking_fixture.h"

/* --- TXN ------------------------------------------------------------------------------------- */

CASE(parking, .setup = start, .teardown = stop);

TEST(rule_4_1_a_parked_call_has_not_happened) {
	uint64_t before;
	struct reply reply;

	put("l", "other");
	before = recorded;
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	ck_assert(waits(waiter));
	ck_assert_uint_eq(recorded, before);
	assert_holder("other");
	/* The slot is free for a newer call. */
	assert_status(put_in(A, 0, 2, "k"), KV_OK);
	service_get(service, EPOCH, text("k"), UINT32_MAX, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	reply_drop(service_memory(service), &reply);
}

TEST(rule_4_2_a_wake_looks_at_the_slot_again) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	struct operation close = {.kind = OPERATION_CLOSE, .client_id = A};
	struct reply reply;

	service_run(service, EPOCH, &close, UINT32_MAX, now_ms, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	put("l", "U");
	assert_status(waiter, KV_BADSESSION);
	assert_holder("U");
}

TEST(rule_4_2_the_end_of_a_session_ends_the_waiting) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 3, 1, "a", WAIT_MS);
	struct operation close = {.kind = OPERATION_CLOSE, .client_id = A};
	struct reply reply;

	service_run(service, EPOCH, &close, UINT32_MAX, now_ms, &reply);
	ck_assert_uint_eq(parking_due(parking), 0);
	parking_end_turn(parking);
	assert_status(waiter, KV_BADSESSION);
}

TEST(rule_4_3_copies_join_and_each_connection_is_answered) {
	put("l", "other");
	uint32_t first = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	uint32_t second = acquire(&links[1], A, 0, 1, "a", WAIT_MS);
	uint32_t third = acquire(&links[0], A, 0, 1, "a", WAIT_MS);

	ck_assert(calls[first].is_dropped);
	put("l", "U");
	assert_status(second, KV_OK);
	assert_status(third, KV_OK);
	ck_assert_uint_eq(calls[second].current, calls[third].current);
	assert_holder("a");
	ck_assert_uint_eq(service_version(service, text("l")), 3);
}

TEST(rule_4_3_the_time_counts_anew_from_a_copy) {
	put("l", "other");
	(void)acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	turn(WAIT_MS - 1);
	uint32_t copy = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	turn(WAIT_MS - 1);
	parking_end_turn(parking);
	ck_assert(waits(copy));
	ck_assert_uint_eq(parking_due(parking), 1);
	turn(1);
	parking_end_turn(parking);
	assert_status(copy, KV_UNMET);
}

TEST(rule_4_3_copies_of_one_call_are_bounded) {
	put("l", "other");
	uint32_t oldest = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	uint32_t newest = 0;

	for (unsigned i = 1; i <= PARKING_COPIES_MAX; i++)
		newest = acquire(&links[i], A, 0, 1, "a", WAIT_MS);
	ck_assert(calls[oldest].is_dropped);
	ck_assert(waits(newest));
	ck_assert_uint_eq(stat_of("calls_waiting"), 1);
}

TEST(rule_4_3_another_call_in_the_slot) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 5, "a", WAIT_MS);

	assert_status(acquire(&links[1], A, 0, 5, "another", WAIT_MS), KV_FALSE_RETRY);
	assert_status(put_in(A, 0, 5, "k"), KV_FALSE_RETRY);
	assert_status(acquire(&links[1], A, 0, 4, "a", WAIT_MS), KV_STALE);
	assert_status(put_in(A, 0, 4, "k"), KV_STALE);
	ck_assert(waits(waiter));
	assert_status(put_in(A, 0, 6, "k"), KV_OK);
	assert_status(waiter, KV_STALE);
	put("l", "U");
	assert_holder("U");
}

TEST(rule_4_3_a_newer_call_that_waits_takes_the_place) {
	put("l", "other");
	uint32_t older = acquire(&links[0], A, 0, 1, "a1", WAIT_MS);
	uint32_t newer = acquire(&links[0], A, 0, 2, "a2", WAIT_MS);

	assert_status(older, KV_STALE);
	put("l", "U");
	assert_status(newer, KV_OK);
	assert_holder("a2");
}

TEST(rule_4_4_a_copy_is_judged_before_it_joins) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	links[0].has_ended = true;
	put("l", "U");
	ck_assert(calls[waiter].is_dropped);
	assert_holder("U");
	assert_status(acquire(&links[1], A, 0, 1, "a", WAIT_MS), KV_OK);
	assert_holder("a");
	ck_assert_uint_eq(stat_of("calls_waiting"), 0);
}

TEST(rule_4_5_the_end_of_its_time_takes_the_slot) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);

	turn(WAIT_MS);
	parking_end_turn(parking);
	assert_status(waiter, KV_UNMET);
	ck_assert_uint_eq(calls[waiter].current, 1);
	put("l", "U");
	/* A late copy has the reply, and does not run. */
	assert_status(acquire(&links[0], A, 0, 1, "a", WAIT_MS), KV_UNMET);
	assert_holder("U");
}

TEST(rule_4_6_without_a_connection_there_is_no_turn) {
	put("l", "other");
	uint32_t dead = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	uint32_t living = acquire(&links[1], B, 0, 1, "b", WAIT_MS);
	links[0].has_ended = true;
	put("l", "U");
	ck_assert(calls[dead].is_dropped);
	assert_status(living, KV_OK);
	assert_holder("b");
	/* A copy has the place that the first one had. */
	uint32_t behind = acquire(&links[2], C, 0, 1, "c", WAIT_MS);
	uint32_t copy = acquire(&links[3], A, 0, 1, "a", WAIT_MS);
	put("l", "U");
	assert_status(copy, KV_OK);
	ck_assert(waits(behind));
}

TEST(rule_4_6_a_place_is_kept_until_its_time_is_up) {
	put("l", "other");
	(void)acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	links[0].has_ended = true;
	put("l", "U");
	put("l", "other");
	ck_assert_uint_eq(stat_of("calls_waiting"), 1);
	turn(WAIT_MS);
	put("l", "U");
	parking_end_turn(parking);
	ck_assert_uint_eq(stat_of("calls_waiting"), 0);
	/* Its time was up: it did not run, although the lock is free. */
	assert_holder("U");
}

TEST(rule_4_7_first_come_first_served) {
	uint32_t waiters[SLOTS];

	put("l", "other");
	for (unsigned i = 0; i < SLOTS; i++)
		waiters[i] = acquire(&links[i], i % 2 == 0 ? A : B, i, 1, "x", WAIT_MS);
	for (unsigned i = 0; i < SLOTS; i++) {
		for (unsigned j = i; j < SLOTS; j++)
			ck_assert(waits(waiters[j]));
		put("l", "U");
		assert_status(waiters[i], KV_OK);
	}
}

TEST(rule_4_7_able_calls_of_several_keys_run_in_the_order_in_which_they_came) {
	const struct condition gate = {.test = CONDITION_EXISTS, .key = text("gate")};
	const struct condition other = {.test = CONDITION_EXISTS, .key = text("other")};
	struct change change = {.kind = CHANGE_APPEND, .key = text("log"), .value = text("1")};
	struct change changes[] = {{.kind = CHANGE_PUT, .key = text("gate")},
				   {.kind = CHANGE_PUT, .key = text("other")}};
	struct txn both = {.changes = changes, .change_count = 2};
	struct operation operation = {
	    .kind = OPERATION_TXN, .client_id = C, .seq = 1, .txn = &both};
	struct reply reply;

	(void)txn(&links[0], A, 0, 1, other, change, WAIT_MS);
	change.value = text("2");
	(void)txn(&links[0], A, 1, 1, gate, change, WAIT_MS);
	change.value = text("3");
	(void)txn(&links[0], A, 2, 1, other, change, WAIT_MS);
	assert_status(write_call(NULL, &operation, 0), KV_OK);
	service_get(service, EPOCH, text("log"), UINT32_MAX, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_mem_eq(view_bytes(reply.value).data, "123", 3);
	reply_drop(service_memory(service), &reply);
}

TEST(rule_4_8_only_the_first_condition_is_waited_for) {
	struct condition conditions[] = {
	    {.test = CONDITION_EXISTS, .key = text("a")},
	    {.test = CONDITION_EXISTS, .key = text("b")},
	};
	struct change change = {.kind = CHANGE_PUT, .key = text("c"), .value = text("x")};
	struct txn two = {
	    .conditions = conditions, .changes = &change, .condition_count = 2, .change_count = 1};
	struct operation operation = {.kind = OPERATION_TXN, .client_id = A, .seq = 1, .txn = &two};

	two.hash = txn_hash(&two);
	uint32_t waiter = write_call(&links[0], &operation, WAIT_MS);
	ck_assert(waits(waiter));
	put("b", "x");
	del("b");
	ck_assert(waits(waiter));
	put("a", "x");
	assert_status(waiter, KV_UNMET);
	operation.seq = 2;
	assert_status(write_call(&links[0], &operation, WAIT_MS), KV_UNMET);
	/* That the second one holds does not make it run. */
	del("a");
	put("b", "x");
	operation.seq = 3;
	waiter = write_call(&links[0], &operation, WAIT_MS);
	ck_assert(waits(waiter));
	put("a", "x");
	assert_status(waiter, KV_OK);
}

TEST(rule_4_9_now_or_never) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);

	/* Over udp as well: it does not wait. */
	assert_status(acquire(NULL, A, 0, 1, "a", 0), KV_UNMET);
	assert_status(waiter, KV_UNMET);
	put("l", "U");
	assert_status(acquire(&links[0], A, 0, 1, "a", WAIT_MS), KV_UNMET);
	assert_holder("U");
}

TEST(rule_4_11_no_call_waits_over_udp) {
	put("l", "other");
	assert_status(acquire(NULL, A, 0, 1, "a", 1), KV_INVALID);
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	/* The slot was not touched, and the one that waits is not either. */
	assert_status(acquire(NULL, A, 0, 1, "a", 1), KV_INVALID);
	ck_assert(waits(waiter));
	assert_status(wait_for(NULL, "l", 1, 1), KV_INVALID);
	assert_status(wait_for(NULL, "l", 0, 1), KV_INVALID);
	assert_status(wait_for(NULL, "l", 0, 0), KV_OK);
	/* Without a session either. */
	assert_status(acquire(&links[0], 0, 0, 0, "a", WAIT_MS), KV_INVALID);
}

TEST(rule_4_12_the_session_of_a_dead_call_ends) {
	put("l", "other");
	(void)acquire(&links[0], A, 0, 1, "a", 10 * LEASE_MS);
	links[0].has_ended = true;
	put("l", "U");
	turn(LEASE_MS + 1);
	(void)service_expire(service, 100, now_ms);
	ck_assert_uint_eq(service_session_count(service), 0);
}

TEST(rule_4_13_too_many_calls_are_refused_in_their_slots) {
	put("l", "other");
	parking_set_max(parking, 2);
	(void)acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	(void)wait_for(&links[0], "l", 1, WAIT_MS);
	assert_status(acquire(&links[0], B, 0, 1, "b", WAIT_MS), KV_FULL);
	assert_status(wait_for(&links[0], "l", 1, WAIT_MS), KV_FULL);
	ck_assert_uint_eq(stat_of("waits_refused"), 2);
	/* A copy of one that waits is not refused. */
	uint32_t copy = acquire(&links[1], A, 0, 1, "a", WAIT_MS);
	ck_assert(waits(copy));
	put("l", "U");
	assert_status(copy, KV_OK);
	put("l", "U");
	/* The slot knows the refusal. */
	assert_status(acquire(&links[0], B, 0, 1, "b", WAIT_MS), KV_FULL);
}

TEST(rule_4_13_large_arguments_do_not_wait) {
	static char large[PARKING_ARGUMENTS_MAX];
	const struct condition condition = {.test = CONDITION_EXISTS, .key = text("gate")};
	struct change change = {.kind = CHANGE_PUT, .key = text("c"), .value = {large, 0}};

	change.value.size = PARKING_ARGUMENTS_MAX - strlen("gate") - strlen("c");
	ck_assert(waits(txn(&links[0], A, 0, 1, condition, change, WAIT_MS)));
	change.value.size++;
	assert_status(txn(&links[0], A, 1, 1, condition, change, WAIT_MS), KV_TOOBIG);
	/* It may run at once. */
	put("gate", "x");
	assert_status(txn(&links[0], A, 2, 1, condition, change, WAIT_MS), KV_OK);
}

TEST(rule_4_13_distinct_conditions_of_a_key_are_bounded) {
	struct condition condition = {.test = CONDITION_AT, .key = text("k")};
	const struct change change = {.kind = CHANGE_PUT, .key = text("c")};

	for (uint64_t i = 0; i < PARKING_CONDITIONS_MAX; i++) {
		condition.version = i + 100;
		ck_assert(waits(txn(&links[0], A, 0, i + 1, condition, change, WAIT_MS)) || i == 0);
	}
	/* Each forgot the one before, so that one condition is left. */
	ck_assert_uint_eq(stat_of("calls_waiting"), 1);
	for (unsigned i = 0; i < PARKING_CONDITIONS_MAX - 1; i++) {
		open_session(1000 + i);
		condition.version = i + 1000;
		ck_assert(waits(txn(&links[0], 1000 + i, 0, 1, condition, change, WAIT_MS)));
	}
	condition.version = 5000;
	assert_status(txn(&links[0], B, 0, 1, condition, change, WAIT_MS), KV_FULL);
	condition.version = 1000;
	ck_assert(waits(txn(&links[0], C, 0, 1, condition, change, WAIT_MS)));
}

TEST(rule_4_15_many_that_become_able_run_in_slices) {
	enum { COUNT = PARKING_RUNS_PER_TURN + 10 };
	const struct condition gate = {.test = CONDITION_EXISTS, .key = text("gate")};
	const struct change change = {
	    .kind = CHANGE_APPEND, .key = text("log"), .value = text("x")};
	uint32_t waiters[COUNT];

	for (unsigned i = 0; i < COUNT; i++) {
		if (i % SLOTS == 0)
			open_session(1000 + i / SLOTS);
		waiters[i] = txn(&links[0], 1000 + i / SLOTS, i % SLOTS, 1, gate, change, WAIT_MS);
		ck_assert(waits(waiters[i]));
	}
	put("gate", "x");
	for (unsigned i = 0; i < COUNT; i++)
		ck_assert(waits(waiters[i]) == (i >= PARKING_RUNS_PER_TURN));
	/* One that comes now goes behind them. */
	uint32_t newcomer = txn(&links[0], A, 0, 1, gate, change, WAIT_MS);
	ck_assert(waits(newcomer));
	ck_assert_uint_eq(parking_due(parking), 0);
	turn(0);
	parking_end_turn(parking);
	assert_status(newcomer, KV_OK);
	ck_assert_uint_gt(calls[newcomer].order, calls[waiters[COUNT - 1]].order);
}

TEST(rule_4_15_nothing_is_woken_while_the_journal_is_behind) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	uint32_t watcher = wait_for(&links[0], "l", 1, WAIT_MS);

	is_behind = true;
	put("l", "U");
	turn(WAIT_MS);
	parking_end_turn(parking);
	ck_assert(waits(waiter) && waits(watcher));
	ck_assert_uint_eq(parking_due(parking), UINT64_MAX);
	is_behind = false;
	ck_assert_uint_eq(parking_due(parking), 0);
	parking_end_turn(parking);
	assert_status(waiter, KV_OK);
	assert_status(watcher, KV_OK);
}

TEST(rule_4_16_a_minute_is_the_longest_wait) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", UINT32_MAX);

	ck_assert_uint_eq(parking_due(parking), PARKING_TIME_MAX_MS);
	turn(PARKING_TIME_MAX_MS);
	parking_end_turn(parking);
	assert_status(waiter, KV_UNMET);
}

TEST(a_call_without_room_in_the_journal_is_refused_when_it_wakes) {
	put("l", "U");
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", WAIT_MS);
	uint32_t next = acquire(&links[1], B, 0, 1, "b", WAIT_MS);

	put("l", "U");
	assert_status(waiter, KV_OK);
	is_behind = true;
	put("l", "U");
	is_behind = false;
	is_journal_full = true;
	(void)parking_run(parking);
	assert_status(next, KV_FULL);
	is_journal_full = false;
	assert_status(acquire(&links[1], B, 0, 1, "b", WAIT_MS), KV_FULL);
	assert_holder("U");
}

static void start_with_few_sessions(void) {
	start_with(FEW_SESSIONS, BYTES_MAX);
}

CASE(few_sessions, .setup = start_with_few_sessions, .teardown = stop);

TEST(rule_4_12_a_session_does_not_end_while_its_call_waits) {
	put("l", "other");
	uint32_t waiter = acquire(&links[0], A, 0, 1, "a", 2 * LEASE_MS);

	turn(LEASE_MS + 1);
	(void)service_expire(service, 100, now_ms);
	ck_assert_uint_eq(service_session_count(service), 1);
	/* It would be the first to go, for none of its calls took a slot. */
	for (uint64_t id = 200; id < 210; id++)
		open_session(id);
	put("l", "U");
	assert_status(waiter, KV_OK);
	/* The lease counts from the end of the wait. */
	turn(LEASE_MS - 1);
	open_session(300);
	(void)service_expire(service, 100, now_ms);
	assert_status(put_in(A, 1, 1, "k"), KV_OK);
}

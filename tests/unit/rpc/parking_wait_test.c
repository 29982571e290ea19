/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * WAIT, without sockets. The numbers at the tests are those of the rules in
 * docs/PROTOCOL.md, "Calls that wait".
 */
#include <malloc.h>

#include "parking_fixture.h"

CASE(wait, .setup = start, .teardown = stop);

TEST(rule_6_1_a_wait_is_judged_when_it_comes) {
	put("k", "x");
	uint32_t behind = wait_for(&links[0], "k", 0, WAIT_MS);

	assert_status(behind, KV_OK);
	ck_assert_uint_eq(calls[behind].current, 1);
	ck_assert_str_eq(calls[behind].value, "x");
	assert_status(wait_for(&links[0], "missing", 3, WAIT_MS), KV_NOKEY);
	assert_status(wait_for(&links[0], "k", 1, 0), KV_UNMET);
	assert_status(wait_for(&links[0], "", 1, WAIT_MS), KV_INVALID);
	ck_assert(waits(wait_for(&links[0], "missing", 0, WAIT_MS)));
}

TEST(rule_6_2_each_change_of_the_version_wakes) {
	struct operation append = {.kind = OPERATION_APPEND,
				   .client_id = A,
				   .seq = 1,
				   .expected = VERSION_ANY,
				   .key = text("k"),
				   .value = text("y")};
	uint32_t created = wait_for(&links[0], "k", 0, WAIT_MS);

	put("k", "x");
	assert_status(created, KV_OK);
	uint32_t appended = wait_for(&links[0], "k", 1, WAIT_MS);
	(void)write_call(NULL, &append, 0);
	assert_status(appended, KV_OK);
	ck_assert_str_eq(calls[appended].value, "xy");
	uint32_t deleted = wait_for(&links[0], "k", 2, WAIT_MS);
	del("k");
	assert_status(deleted, KV_NOKEY);
	uint32_t by_txn = wait_for(&links[0], "k", 0, WAIT_MS);
	(void)txn(
	    NULL, A, 1, 1, (struct condition){.test = CONDITION_FREE, .key = text("k")},
	    (struct change){.kind = CHANGE_PUT, .key = text("k"), .value = text("z"), .ttl_ms = 50},
	    0);
	assert_status(by_txn, KV_OK);
	uint32_t ended = wait_for(&links[0], "k", calls[by_txn].current, WAIT_MS);
	(void)txn(NULL, A, 1, 2, (struct condition){.test = CONDITION_EXISTS, .key = text("k")},
		  (struct change){.kind = CHANGE_TOUCH, .key = text("k"), .ttl_ms = 100}, 0);
	ck_assert(waits(ended));
	turn(100);
	(void)service_end_ttls(service, 10, now_ms);
	(void)parking_run(parking);
	assert_status(ended, KV_NOKEY);
}

TEST(rule_6_3_a_woken_wait_is_answered_once) {
	put("k", "x");
	uint32_t watcher = wait_for(&links[0], "k", 1, WAIT_MS);

	put("k", "y");
	assert_status(watcher, KV_OK);
	ck_assert_str_eq(calls[watcher].value, "y");
	turn(WAIT_MS);
	parking_end_turn(parking);
	ck_assert_uint_eq(parking_due(parking), UINT64_MAX);
}

TEST(rule_6_4_a_key_that_came_and_went_is_as_it_was) {
	uint32_t watcher = wait_for(&links[0], "k", 0, WAIT_MS);

	is_behind = true;
	put("k", "x");
	del("k");
	is_behind = false;
	parking_end_turn(parking);
	ck_assert(waits(watcher));
	put("k", "y");
	assert_status(watcher, KV_OK);
}

TEST(rule_6_5_its_connection_ends_and_it_is_forgotten) {
	struct call *call = make_call(&links[0]);

	ck_assert(!parking_wait(parking, call, EPOCH, text("k"), 0, WAIT_MS));
	ck_assert_uint_eq(parking_count_at(parking, text("k")), 1);
	links[0].parked--;
	parking_disconnect(parking, call);
	ck_assert_uint_eq(parking_count_at(parking, text("k")), 0);
	ck_assert_uint_eq(parking_due(parking), UINT64_MAX);
}

TEST(the_end_of_the_time_of_a_wait_is_an_answer) {
	put("k", "x");
	uint32_t watcher = wait_for(&links[0], "k", 1, 50);

	turn(50);
	parking_end_turn(parking);
	assert_status(watcher, KV_UNMET);
	ck_assert_uint_eq(calls[watcher].current, 1);
	ck_assert_str_eq(calls[watcher].value, "");
}

TEST(a_thousand_watchers_are_answered_in_slices) {
	enum { COUNT = 1000 };

	put("k", "x");
	uint32_t first = next_xid;
	for (unsigned i = 0; i < COUNT; i++)
		(void)wait_for(&links[i], "k", 1, WAIT_MS);
	ck_assert_uint_eq(parking_count_at(parking, text("k")), COUNT);
	put("k", "y");
	unsigned turns = 1;
	for (; parking_due(parking) == 0; turns++) {
		turn(0);
		parking_end_turn(parking);
	}
	ck_assert_uint_eq(turns, (COUNT + PARKING_RUNS_PER_TURN - 1) / PARKING_RUNS_PER_TURN);
	for (unsigned i = 0; i < COUNT; i++)
		assert_status(first + i, KV_OK);
}

CASE(no_memory, .setup = NULL, .teardown = stop);

TEST(what_waits_has_a_limit_in_bytes) {
	enum { BYTES = 100000 };
	unsigned count = 0;

	start_with(SESSIONS_MAX, BYTES);
	while (waits(wait_for(&links[count], "k", 0, WAIT_MS)))
		count++;
	ck_assert_int_eq(calls[count].status, KV_FULL);
	ck_assert_uint_gt(count, BYTES / 1024);
	ck_assert_uint_le(stat_of("calls_waiting_bytes"), BYTES);
	put("k", "x");
	turn(0);
	parking_end_turn(parking);
	ck_assert_uint_eq(stat_of("calls_waiting"), 0);
}

enum { WAITER_BYTES_MAX = 500, WAITERS = 1000 };

/*
 * By the parking's own count, and by malloc()'s, which adds up to 16 bytes for each block and
 * counts nothing under a sanitizer.
 */
static void assert_small(const struct mallinfo2 *before) {
	const size_t used = mallinfo2().uordblks - before->uordblks;

	ck_assert_uint_eq(stat_of("calls_waiting"), WAITERS);
	ck_assert_uint_le(stat_of("calls_waiting_bytes") / WAITERS, WAITER_BYTES_MAX);
	ck_assert_uint_le(used / WAITERS, WAITER_BYTES_MAX + 2 * 16);
	ck_assert_uint_le(used, stat_of("calls_waiting_bytes") * 9 / 8);
}

TEST(a_wait_takes_500_bytes_at_most) {
	const char *key = "configuration/frontend/timeouts";

	start();
	struct mallinfo2 before = mallinfo2();
	for (unsigned i = 0; i < WAITERS; i++)
		ck_assert(waits(wait_for(&links[i], key, 0, WAIT_MS)));
	assert_small(&before);
	put(key, "x");
}

/* What kv_lock_acquire() sends for a lock with a name of 10 bytes and no note. */
TEST(an_acquire_takes_500_bytes_at_most) {
	const struct kv_bytes lock = text("backup/www");
	const char *id = "0123456789abcdef0123456789abcdef";

	start();
	put("backup/www", id);
	for (uint64_t session = 1000; session < 1000 + WAITERS / SLOTS; session++)
		open_session(session);
	struct mallinfo2 before = mallinfo2();
	for (unsigned i = 0; i < WAITERS; i++)
		ck_assert(waits(
		    txn(&links[i], 1000 + i / SLOTS, i % SLOTS, 1,
			(struct condition){
			    .test = CONDITION_FREE, .key = lock, .value = text("__unlocked")},
			(struct change){
			    .kind = CHANGE_PUT, .key = lock, .value = text(id), .ttl_ms = 15000},
			WAIT_MS)));
	assert_small(&before);
}

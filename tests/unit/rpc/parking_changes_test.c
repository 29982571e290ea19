/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CHANGES that waits, without sockets. The numbers at the tests are those of the rules in
 * docs/PROTOCOL.md, "Changes" and "Calls that wait".
 */
#include <stdio.h>

#include "parking_fixture.h"

/* Returns its number in `calls`; `since` 0: the position of now. */
static uint32_t changes_for(struct stream *link, const char *prefix, uint64_t since,
			    uint32_t wait_ms) {
	const struct changes_request request = {
	    .prefix = text(prefix),
	    .since = since != 0 ? since : service_position(service),
	    .reply_max = UINT32_MAX,
	};
	struct call *call = make_call(link);
	uint32_t xid = call->xid;

	if (parking_changes(parking, call, EPOCH, &request, wait_ms))
		take_answer(NULL, call);
	return xid;
}

static void start_ring(void) {
	start();
	/* From here on it remembers. */
	(void)changes_for(&links[0], "", 0, 0);
}

CASE(changes, .setup = start_ring, .teardown = stop);

TEST(changes_that_are_there_are_answered_at_once) {
	uint64_t since = service_position(service);

	put("a/k", "v");
	uint32_t behind = changes_for(&links[0], "a/", since, WAIT_MS);
	assert_status(behind, KV_OK);
	ck_assert_uint_eq(calls[behind].current, since + 1);
	assert_status(changes_for(&links[0], "", service_position(service) + 1, WAIT_MS),
		      KV_COMPACTED);
	assert_status(changes_for(&links[0], "a/", 0, 0), KV_OK);
}

TEST(a_change_under_the_prefix_wakes_and_no_other) {
	uint32_t a = changes_for(&links[0], "a/", 0, WAIT_MS);
	uint32_t b = changes_for(&links[1], "b/", 0, WAIT_MS);
	uint32_t all = changes_for(&links[2], "", 0, WAIT_MS);

	ck_assert(waits(a) && waits(b) && waits(all));
	put("a", "too short");
	ck_assert(waits(a) && waits(b));
	assert_status(all, KV_OK);
	put("a/k", "v");
	assert_status(a, KV_OK);
	ck_assert_uint_eq(calls[a].current, service_position(service));
	ck_assert(waits(b));
	put("b/k", "v");
	assert_status(b, KV_OK);
}

TEST(rule_3_6_a_delete_and_the_end_of_a_ttl_and_a_txn_wake) {
	put("k", "v");
	uint32_t deleted = changes_for(&links[0], "k", 0, WAIT_MS);
	del("k");
	assert_status(deleted, KV_OK);
	uint32_t by_txn = changes_for(&links[0], "k", 0, WAIT_MS);
	(void)txn(
	    NULL, A, 1, 1, (struct condition){.test = CONDITION_FREE, .key = text("k")},
	    (struct change){.kind = CHANGE_PUT, .key = text("k"), .value = text("z"), .ttl_ms = 50},
	    0);
	assert_status(by_txn, KV_OK);
	uint32_t ended = changes_for(&links[0], "k", 0, WAIT_MS);
	/* A touch is no change. */
	(void)txn(NULL, A, 1, 2, (struct condition){.test = CONDITION_EXISTS, .key = text("k")},
		  (struct change){.kind = CHANGE_TOUCH, .key = text("k"), .ttl_ms = 100}, 0);
	ck_assert(waits(ended));
	turn(100);
	(void)service_end_ttls(service, 10, now_ms);
	(void)parking_run(parking);
	assert_status(ended, KV_OK);
}

TEST(all_that_changed_while_the_journal_was_behind_is_told) {
	uint64_t since = service_position(service);
	uint32_t waiting = changes_for(&links[0], "k", since, WAIT_MS);

	is_behind = true;
	put("k1", "x");
	put("k2", "y");
	ck_assert(waits(waiting));
	is_behind = false;
	parking_end_turn(parking);
	assert_status(waiting, KV_OK);
	ck_assert_uint_eq(calls[waiting].current, since + 2);
}

TEST(the_end_of_its_time_is_an_empty_answer_at_the_position_of_then) {
	uint32_t waiting = changes_for(&links[0], "a/", 0, WAIT_MS);

	put("b", "v");
	ck_assert_uint_eq(parking_due(parking), WAIT_MS);
	turn(WAIT_MS);
	parking_end_turn(parking);
	assert_status(waiting, KV_OK);
	ck_assert_uint_eq(calls[waiting].current, service_position(service));
	ck_assert_uint_eq(stat_of("waits_timed_out"), 1);
}

/* It waits for a prefix under which nothing happens, while the ring forgets all that it had. */
TEST(a_busy_store_does_not_compact_what_waits) {
	enum { SLOTS_MAX_NOW = 4 };
	char key[16];

	parking_free(parking);
	change_ring_free(ring);
	ring = change_ring_new(service, SLOTS_MAX_NOW);
	parking =
	    parking_new(service, ring, BYTES_MAX,
			&(struct parking_hooks){
			    .answer = take_answer, .drop = take_dropped, .is_behind = has_backlog});
	turn(0);
	(void)changes_for(&links[0], "", 0, 0);
	uint32_t woken = changes_for(&links[0], "a/", 0, WAIT_MS);
	uint32_t timed_out = changes_for(&links[1], "z/", 0, WAIT_MS);
	for (unsigned i = 0; i < 10 * SLOTS_MAX_NOW; i++) {
		(void)snprintf(key, sizeof(key), "b/%u", i);
		put(key, "v");
	}
	put("a/k", "v");
	assert_status(woken, KV_OK);
	turn(WAIT_MS);
	parking_end_turn(parking);
	assert_status(timed_out, KV_OK);
	ck_assert_uint_eq(calls[timed_out].current, service_position(service));
}

TEST(a_connection_that_ends_takes_its_call_along) {
	struct call *call = make_call(&links[0]);
	const struct changes_request request = {.prefix = text("a/"),
						.since = service_position(service)};
	uint32_t xid = call->xid;

	ck_assert(!parking_changes(parking, call, EPOCH, &request, WAIT_MS));
	links[0].parked--;
	parking_disconnect(parking, call);
	ck_assert(calls[xid].is_dropped);
	put("a/k", "v");
	ck_assert_uint_eq(stat_of("calls_waiting"), 0);
}

TEST(without_a_stream_it_may_not_wait) {
	assert_status(changes_for(NULL, "a/", 0, WAIT_MS), KV_INVALID);
	assert_status(changes_for(NULL, "a/", 0, 0), KV_OK);
}

TEST(beyond_a_limit_it_is_answered_at_once_and_empty) {
	char prefix[16];

	for (unsigned i = 0; i < PARKING_PREFIXES_MAX; i++) {
		(void)snprintf(prefix, sizeof(prefix), "%u/", i);
		ck_assert(waits(changes_for(&links[i], prefix, 0, WAIT_MS)));
	}
	/* Another one for a prefix that is there is no new one. */
	ck_assert(waits(changes_for(&links[0], prefix, 0, WAIT_MS)));
	uint32_t refused = changes_for(&links[0], "new/", 0, WAIT_MS);
	assert_status(refused, KV_OK);
	ck_assert_uint_eq(calls[refused].current, service_position(service));
	ck_assert_uint_eq(stat_of("waits_refused"), 1);
	parking_set_max(parking, PARKING_PREFIXES_MAX + 1);
	assert_status(changes_for(&links[0], prefix, 0, WAIT_MS), KV_OK);
	ck_assert_uint_eq(stat_of("waits_refused"), 2);
}

TEST(at_most_256_are_woken_in_a_turn) {
	enum { MANY = PARKING_RUNS_PER_TURN + 10 };
	uint32_t first = next_xid;
	unsigned answered = 0;

	for (unsigned i = 0; i < MANY; i++)
		(void)changes_for(&links[i], "a/", 0, WAIT_MS);
	put("a/k", "v");
	for (unsigned i = 0; i < MANY; i++)
		answered += calls[first + i].is_answered;
	ck_assert_uint_eq(answered, PARKING_RUNS_PER_TURN);
	ck_assert_uint_eq(parking_due(parking), 0);
	turn(0);
	parking_end_turn(parking);
	for (unsigned i = 0; i < MANY; i++)
		assert_status(first + i, KV_OK);
}

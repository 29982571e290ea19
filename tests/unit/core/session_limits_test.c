/* SPDX-License-Identifier: BSD-3-Clause */
/* How many sessions there are, what they may take of the memory, and their leases after a replay.
 */
#include "fixture.h"
#include "test.h"

static struct world world;

static void start(void) {
	world_open(&world, usual_limits(), true);
}

static void stop(void) {
	world_close(&world);
}

CASE(session_limits, .setup = start, .teardown = stop);

/* As after a restart with a lower limit: `count` sessions are there, whatever the limit is. */
static void start_with(uint32_t count, uint32_t sessions_max, bool records) {
	struct service_limits limits = *usual_limits();

	limits.sessions_max = sessions_max;
	world_close(&world);
	world_open(&world, &limits, records);
	for (uint32_t i = 0; i < count; i++) {
		struct operation call = open_call(&world, i, 4);

		ck_assert(service_apply(world.service, &call, world.now_ms, NULL));
	}
}

/*
 * The table of sessions shrinks as they end, and must have room for the one that is added then: it
 * shrinks when about half of them ended.
 */
TEST(a_session_opens_after_others_ended_to_make_room_for_it) {
	for (uint32_t count = 200; count < 1200; count += 90)
		for (uint32_t max = count / 2 - 20; max < count / 2 + 20; max++) {
			start_with(count, max, false);
			for (uint32_t i = 0; i < count - max; i++) {
				struct operation end = close_call(world.next_id - count + i);

				ck_assert(service_apply(world.service, &end, world.now_ms, NULL));
			}
			struct operation open = open_call(&world, 1000000, 4);
			ck_assert_int_eq(status_of(&world, &open), KV_OK);
			ck_assert_uint_eq(counters(&world).sessions, max);
		}
}

TEST(with_a_lower_limit_few_sessions_end_for_one_and_their_number_goes_down) {
	start_with(1000, 3, true);
	for (uint32_t i = 0; counters(&world).sessions > 3; i++) {
		size_t before = counters(&world).sessions;
		size_t recorded = world.tape.count;
		struct operation call = open_call(&world, 1000000 + i, 4);

		ck_assert_int_eq(status_of(&world, &call), KV_OK);
		ck_assert_uint_lt(counters(&world).sessions, before);
		ck_assert_uint_le(world.tape.count - recorded, 65);
	}
}

/* Each of them writes once, and is refused, on its last slot. */
TEST(sessions_cannot_fill_the_store) {
	struct service_limits limits = *usual_limits();
	struct operation open, put;
	struct reply reply;

	limits.memory_max = 8 << 20;
	limits.sessions_max = 1000000;
	world_close(&world);
	world_open(&world, &limits, false);
	for (uint32_t i = 0;; i++) {
		open = open_call(&world, i, SLOTS_MAX);
		reply = run(&world, &open);
		if (reply.status == KV_FULL)
			break;
		ck_assert_int_eq(reply.status, KV_OK);
		put = put_call(reply.client_id, 1, "", "");
		put.slot = reply.slots - 1;
		ck_assert_int_eq(status_of(&world, &put), KV_INVALID);
	}
	ck_assert_uint_gt(counters(&world).sessions, 4000);
	ck_assert_uint_le(used(&world), limits.memory_max / SESSIONS_SHARE * 9 / 8);
	set(&world, "k", zeros(limits.memory_max / 2));
}

TEST(a_session_that_is_replayed_has_the_slots_that_it_was_given) {
	struct service_limits limits = *usual_limits();
	struct world replica;

	limits.memory_max = 1; /* so that sessions may take SESSIONS_MEMORY_MIN */
	world_close(&world);
	world_open(&world, &limits, true);
	struct operation call = open_call(&world, 1, SLOTS_MAX);
	struct reply reply = run(&world, &call);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_lt(reply.slots, SLOTS_MAX);
	world_open(&replica, usual_limits(), false);
	ck_assert(service_apply(replica.service, &world.tape.operations[0], 1, NULL));
	struct operation put = put_call(reply.client_id, 1, "k", "v");
	put.slot = reply.slots;
	ck_assert_int_eq(status_of(&replica, &put), KV_INVALID);
	put.slot--;
	ck_assert_int_eq(status_of(&replica, &put), KV_OK);
	world_close(&replica);
}

/* Calls that only renewed a lease are not recorded. */
TEST(after_a_replay_every_lease_begins_anew) {
	struct operation open = open_call(&world, 1, 4);
	struct operation put = put_call(0, 0, "k", "v");

	put.expected = 0;
	ck_assert(service_apply(world.service, &open, 10, NULL));
	ck_assert(service_apply(world.service, &put, 10 + 5 * LEASE_MS, NULL));
	service_renew_leases(world.service);
	uint64_t end_ms = 10 + 6 * LEASE_MS;
	ck_assert_uint_eq(service_expire(world.service, 1, end_ms - 1), 1);
	ck_assert_uint_eq(counters(&world).sessions, 1);
	ck_assert_uint_eq(service_expire(world.service, 1, end_ms), UINT64_MAX);
	ck_assert_uint_eq(counters(&world).sessions, 0);
}

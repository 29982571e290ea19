/* SPDX-License-Identifier: BSD-3-Clause */
/* ttls: when keys end, and what a put, a touch and an append make of it. */
#include "txn_fixture.h"

/* --- ttl: SEMANTICS 5 ---------------------------------------------------------------------- */

CASE(ttl, .setup = start, .teardown = stop);

static void put_ttl(uint64_t seq, const char *key, uint64_t ttl_ms) {
	struct sample sample = {.changes = {change(CHANGE_PUT, key, "v", ttl_ms)}};

	ck_assert_int_eq(txn_status(&sample, seq), KV_OK);
}

TEST(rule_5_2_the_end_of_a_ttl_is_an_operation_and_until_it_the_key_is_there) {
	put_ttl(1, "k", 1000);
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 900), 101);
	assert_holds(&world, "k", "v", 1);
	world.now_ms = 5000;
	put(2, "other", "");
	assert_holds(&world, "k", "v", 1);
	size_t records = world.tape.count;
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 5000), UINT64_MAX);
	ck_assert_uint_eq(world.tape.count, records + 1);
	ck_assert_int_eq(world.tape.operations[records].kind, OPERATION_END);
	ck_assert_uint_eq(world.tape.operations[records].expected, 1);
	assert_missing(&world, "k");
	ck_assert_uint_eq(put(3, "k", ""), 3);
}

TEST(rule_5_1_a_touch_moves_the_end_to_a_later_time_only_and_keeps_the_version) {
	struct sample later = {.changes = {change(CHANGE_TOUCH, "k", "", 5000)}};
	struct sample earlier = {.changes = {change(CHANGE_TOUCH, "k", "", 10)}};

	put_ttl(1, "k", 1000);
	ck_assert_int_eq(txn_status(&earlier, 2), KV_OK);
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 1), 1000);
	ck_assert_int_eq(txn_status(&later, 3), KV_OK);
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 1), 5000);
	assert_holds(&world, "k", "v", 1);
}

TEST(rule_3_7_a_put_without_ttl_keeps_the_key_and_an_append_keeps_the_ttl) {
	struct operation append = append_call(client, 3, "a", "x");

	put_ttl(1, "k", 1000);
	put_ttl(2, "a", 1000);
	ck_assert_int_eq(status_of(&world, &append), KV_OK);
	put(4, "k", "for good");
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 2000), UINT64_MAX);
	ck_assert_str_eq(keys("", "", 0), " k");
}

TEST(rule_5_5_a_key_lives_at_least_its_ttl) {
	put_ttl(1, "k", 1000);
	ck_assert_uint_eq(service_end_ttls(world.service, 9, world.now_ms + 999), 1);
	assert_holds(&world, "k", "v", 1);
	ck_assert_uint_eq(service_end_ttls(world.service, 9, world.now_ms + 1000), UINT64_MAX);
	assert_missing(&world, "k");
}

TEST(rule_5_6_a_touch_is_answered_when_it_is_durable) {
	struct sample touch = {.changes = {change(CHANGE_TOUCH, "k", "", 5000)}};

	put_ttl(1, "k", 1000);
	struct reply reply = run_txn(&touch, 2);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(reply.position, world.tape.count);
	drop(&world, &reply);
}

TEST(rule_5_7_a_ttl_is_1_ms_to_10_years_and_0_is_none_in_a_put) {
	static const struct {
		enum change_kind kind;
		uint64_t ttl_ms;
		enum kv_status status;
	} rows[] = {
	    {CHANGE_PUT, 0, KV_OK},
	    {CHANGE_PUT, 1, KV_OK},
	    {CHANGE_PUT, TTL_MAX_MS, KV_OK},
	    {CHANGE_PUT, TTL_MAX_MS + 1, KV_INVALID},
	    {CHANGE_PUT, UINT64_MAX, KV_INVALID},
	    {CHANGE_TOUCH, 0, KV_INVALID},
	    {CHANGE_TOUCH, 1, KV_OK},
	    {CHANGE_TOUCH, TTL_MAX_MS, KV_OK},
	    {CHANGE_TOUCH, TTL_MAX_MS + 1, KV_INVALID},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sample sample = {.changes = {change(rows[i].kind, "k", "", rows[i].ttl_ms)}};

		ck_assert_int_eq(txn_status(&sample, 1 + i), rows[i].status);
	}
}

TEST(ends_come_in_slices_the_earliest_first) {
	char key[16];

	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof(key), "k%02u", i);
		put_ttl(1 + i, key, 100 + i * 7 % 20);
	}
	ck_assert_uint_eq(service_end_ttls(world.service, 5, 1000), 0);
	ck_assert_str_eq(keys("", "", 0),
			 " k01 k02 k04 k05 k07 k08 k10 k11 k13 k14 k15 k16 k17 k18 k19");
}

TEST(without_room_in_the_journal_a_key_stays) {
	put_ttl(1, "k", 100);
	world.tape.is_full = true;
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 1000), 1000);
	assert_holds(&world, "k", "v", 1);
	world.tape.is_full = false;
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 1000), UINT64_MAX);
	assert_missing(&world, "k");
}

TEST(rule_5_2_an_end_that_is_replayed_removes_its_version_only) {
	const struct operation end = {.kind = OPERATION_END, .key = text("k"), .expected = 7};

	put(1, "k", "a");
	ck_assert(service_apply(world.service, &end, 1, NULL));
	assert_holds(&world, "k", "a", 1);
}

TEST(a_listed_key_that_was_replaced_is_listed_as_it_is) {
	struct list_request request = {.reply_max = ALL};
	struct list_key listed;
	struct reply reply;

	put(1, "k", "a");
	put(2, "k", "a value that is much longer, so that another entry takes its place");
	service_list(world.service, EPOCH, &request, &reply);
	struct kv_bytes page = view_bytes(reply.value);
	ck_assert(list_page_next(&page, &listed));
	ck_assert_uint_eq(listed.version, 2);
	ck_assert_uint_gt(listed.size, 60);
	drop(&world, &reply);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory: what it may be, what counts, what is given back, and what happens when there is none. */
#include "fixture.h"
#include "test.h"

enum { MIB = 1024 * 1024 };

static struct world world;
static uint64_t client;

static void start(void) {
	world_open(&world, usual_limits(), false);
	client = open_session(&world, 1);
}

static void stop(void) {
	world_close(&world);
}

static void limit_to(size_t bytes) {
	service_memory(world.service)->limit = bytes;
}

static enum kv_status put_size(uint64_t seq, const char *key, size_t size) {
	struct operation call = put_call(client, seq, key, "");

	call.value = zeros(size);
	return status_of(&world, &call);
}

static enum kv_status append_size(uint64_t seq, const char *key, size_t size) {
	struct operation call = append_call(client, seq, key, "");

	call.value = zeros(size);
	return status_of(&world, &call);
}

CASE(memory, .setup = start, .teardown = stop);

TEST(a_put_of_one_byte_frees_ten_mebibytes) {
	ck_assert_int_eq(put_size(1, "k", 1), KV_OK);
	size_t before = used(&world);
	ck_assert_int_eq(put_size(2, "k", 10 * MIB), KV_OK);
	ck_assert_uint_ge(used(&world), before + 10 * MIB);
	ck_assert_int_eq(put_size(3, "k", 1), KV_OK);
	ck_assert_uint_eq(used(&world), before);
}

TEST(two_appends_of_eight_mebibytes_take_them_once) {
	size_t before = used(&world);

	ck_assert_int_eq(append_size(1, "k", 8 * MIB), KV_OK);
	ck_assert_int_eq(append_size(2, "k", 8 * MIB), KV_OK);
	ck_assert_uint_lt(used(&world), before + 17 * MIB);
	ck_assert_int_eq(append_size(3, "k", 1), KV_TOOBIG);
	ck_assert_uint_lt(used(&world), before + 17 * MIB);
}

/* Each of them remembers the old value. */
TEST(a_thousand_appends_of_a_thousand_bytes_take_less_than_three_megabytes) {
	for (uint32_t i = 1; i <= 1000; i++) {
		struct operation call = append_call(open_session(&world, i), 1, "k", "");
		call.value = zeros(1000);
		ck_assert_int_eq(status_of(&world, &call), KV_OK);
	}
	ck_assert_uint_lt(used(&world), 3000000);
}

TEST(a_full_store_is_read_and_made_smaller) {
	ck_assert_int_eq(put_size(1, "a", 5000), KV_OK);
	ck_assert_int_eq(put_size(2, "b", 100), KV_OK);
	limit_to(used(&world));
	ck_assert_int_eq(put_size(3, "c", 1), KV_FULL);
	ck_assert_int_eq(put_size(4, "b", 200), KV_FULL);
	ck_assert_int_eq(append_size(5, "b", 200), KV_FULL);
	ck_assert_uint_eq(used(&world), service_memory(world.service)->limit);
	struct reply reply;
	service_get(world.service, EPOCH, text("a"), ALL, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	drop(&world, &reply);

	ck_assert_int_eq(put_size(6, "a", 5000), KV_OK);
	ck_assert_int_eq(put_size(7, "a", 1000), KV_OK);
	ck_assert_int_eq(put_size(8, "c", 1), KV_OK);
	ck_assert_int_eq(put_size(9, "b", 200), KV_OK);
}

TEST(a_store_above_its_limit_is_made_smaller_too) {
	ck_assert_int_eq(put_size(1, "a", 5000), KV_OK);
	limit_to(1);
	ck_assert_int_eq(put_size(2, "a", 6000), KV_FULL);
	ck_assert_int_eq(put_size(3, "a", 4000), KV_OK);
}

TEST(a_refusal_for_space_changes_nothing_and_tells_the_version) {
	struct operation call = put_call(client, 2, "k", "a longer value than it was before ...");

	ck_assert_int_eq(put_size(1, "k", 0), KV_OK);
	limit_to(1);
	struct reply reply = run(&world, &call);
	ck_assert_int_eq(reply.status, KV_FULL);
	ck_assert_uint_eq(reply.current, 1);
	assert_holds(&world, "k", "", 1);
	/* A refusal for the version comes first: it needs no space. */
	call.seq = 3;
	call.expected = 9;
	ck_assert_int_eq(status_of(&world, &call), KV_VERSION);
}

TEST(a_full_store_opens_sessions_and_gives_them_slots) {
	ck_assert_int_eq(put_size(1, "k", 5000), KV_OK);
	limit_to(1);
	struct operation call = put_call(open_session(&world, 2), 1, "k", "x");
	call.slot = 40;
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
}

TEST(bytes_that_a_reader_holds_are_not_free) {
	struct reply reply;

	ck_assert_int_eq(put_size(1, "k", 5000), KV_OK);
	service_get(world.service, EPOCH, text("k"), ALL, &reply);
	limit_to(used(&world));
	ck_assert_int_eq(put_size(2, "k", 4000), KV_FULL);
	drop(&world, &reply);
	ck_assert_int_eq(put_size(3, "k", 4000), KV_OK);
}

TEST(bytes_that_only_remembered_replies_hold_count_and_are_kept) {
	size_t before = used(&world);
	struct operation last = {0};

	for (uint32_t i = 0; i < 20; i++) {
		set(&world, "k", zeros(100000));
		last = append_call(open_session(&world, 100 + i), 1, "k", "x");
		ck_assert_int_eq(status_of(&world, &last), KV_OK);
	}
	ck_assert_uint_gt(used(&world), before + 20 * 100000);
	set(&world, "k", text(""));
	ck_assert_uint_gt(used(&world), before + 20 * 100000);

	limit_to(used(&world));
	ck_assert_int_eq(append_size(1, "k", 1000), KV_FULL);
	struct reply reply = run(&world, &last);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(view_bytes(reply.value).size, 100000);
	drop(&world, &reply);
}

TEST(what_a_slot_remembers_is_free_for_its_next_call) {
	ck_assert_int_eq(put_size(1, "k", 100000), KV_OK);
	ck_assert_int_eq(append_size(2, "k", 1), KV_OK);
	ck_assert_int_eq(put_size(3, "k", 1), KV_OK);
	/* As above, but the reply of seq 5 is still remembered. */
	ck_assert_int_eq(put_size(4, "k", 100000), KV_OK);
	ck_assert_int_eq(append_size(5, "k", 1), KV_OK);
	set(&world, "k", text("x"));
	limit_to(used(&world));

	struct operation elsewhere = put_call(client, 1, "l", "");
	elsewhere.slot = 1;
	elsewhere.value = zeros(90000);
	ck_assert_int_eq(status_of(&world, &elsewhere), KV_FULL);
	ck_assert_int_eq(put_size(6, "l", 90000), KV_OK);
}

TEST(a_refused_call_frees_what_its_slot_remembered) {
	ck_assert_int_eq(put_size(1, "k", 100000), KV_OK);
	ck_assert_int_eq(append_size(2, "k", 1), KV_OK);
	set(&world, "k", text("x"));
	size_t before = used(&world);
	struct operation refused = put_call(client, 3, "k", "y");
	refused.expected = 77;
	ck_assert_int_eq(status_of(&world, &refused), KV_VERSION);
	ck_assert_uint_lt(used(&world), before - 100000);
}

TEST(a_session_that_ends_gives_back_all_it_held) {
	set(&world, "k", zeros(100000));
	set(&world, "k", text("x"));
	size_t before = used(&world);

	for (int round = 0; round < 3; round++) {
		struct operation open = open_call(&world, 50, SLOTS_MAX);
		uint64_t id = run(&world, &open).client_id;
		for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
			set(&world, "k", zeros(10000));
			struct operation call = append_call(id, 1, "k", "x");
			call.slot = slot;
			ck_assert_int_eq(status_of(&world, &call), KV_OK);
		}
		set(&world, "k", text("x"));
		ck_assert_uint_gt(used(&world), before + SLOTS_MAX * 10000);
		struct operation end = close_call(id);
		ck_assert_int_eq(status_of(&world, &end), KV_OK);
		ck_assert_uint_eq(used(&world), before);
	}
}

TEST(a_hundred_thousand_clients_take_200_bytes_each_at_most_and_leave_nothing) {
	enum { CLIENTS = 100000 };
	struct service_limits limits = *usual_limits();

	limits.sessions_max = CLIENTS;
	world_close(&world);
	world_open(&world, &limits, false);
	set(&world, "k", zeros(1000));
	size_t before = used(&world);
	for (uint32_t i = 1; i <= CLIENTS; i++) {
		struct operation call = put_call(open_session(&world, i), 1, "k", "");
		call.value = zeros(1000);
		ck_assert_int_eq(status_of(&world, &call), KV_OK);
	}
	ck_assert_uint_le(used(&world), before + 200 * (size_t)CLIENTS);
	world.now_ms += LEASE_MS;
	ck_assert_uint_eq(service_expire(world.service, CLIENTS, world.now_ms), UINT64_MAX);
	ck_assert_uint_eq(used(&world), before);
}

/*
 * Each call is made with its first, second ... allocation failing, until it needs no more of them:
 * each failure is a refusal that changes nothing.
 */
TEST(without_memory_a_call_is_refused_and_changes_nothing) {
	const struct operation script[] = {
	    put_call(client, 0, "new", "value"),
	    append_call(client, 0, "newer", "value"),
	    put_call(client, 0, "new", "value two"),
	    append_call(client, 0, "new", " and more of it"),
	    append_call(client, 0, "new", " and more, so that it outgrows every block it was in"),
	    put_call(0, 0, "stateless", "value"),
	    open_call(&world, 44, 7),
	};
	uint64_t seq = 0;
	unsigned failures = 0;

	for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
		struct mem_account *memory = service_memory(world.service);
		struct operation call = script[i];
		struct reply reply;

		call.slot = (uint32_t)i / 2;
		if (call.client_id == 0)
			call.expected = 0;
		for (unsigned n = 1;; n++) {
			struct service_counters before = counters(&world);
			call.seq = ++seq;
			memory->fail_in = n;
			reply = run(&world, &call);
			if (memory->fail_in != 0)
				break;
			failures++;
			ck_assert(reply.status == KV_FULL || reply.status == KV_MAYBE);
			ck_assert_ptr_null(reply.value.buffer);
			ck_assert_uint_eq(counters(&world).keys, before.keys);
			ck_assert_uint_eq(counters(&world).sessions, before.sessions);
			ck_assert_uint_eq(counters(&world).writes_applied, before.writes_applied);
			/* A failure after the slot was made keeps the slot. */
			ck_assert_uint_le(used(&world), before.memory_used + 400);
		}
		memory->fail_in = 0;
		ck_assert_int_eq(reply.status, KV_OK);
		drop(&world, &reply);
	}
	ck_assert_uint_ge(failures, 7);
	assert_holds(&world, "newer", "value", 1);
	assert_holds(&world, "new",
		     "value two and more of it and more, so that it outgrows every block it was in",
		     4);
}

TEST(a_new_service_is_small_and_says_who_it_is) {
	const struct server_identity identity = {.epoch = 1};

	struct service *service = service_new(&identity, usual_limits(), NULL);
	ck_assert_ptr_nonnull(service);
	ck_assert_uint_lt(service_memory(service)->used, 40000);
	ck_assert_uint_eq(service_identity(service)->epoch, 1);
	ck_assert_uint_eq(service_limits(service)->lease_ms, LEASE_MS);
	service_free(service);
	service_free(NULL);
}

TEST(an_operation_that_finds_no_memory_can_be_applied_again) {
	const struct operation script[] = {
	    open_call(&world, 9, 64),
	    put_call(client, 1, "k", "value"),
	    append_call(client, 2, "k", " and more, so that it outgrows its block"),
	};

	for (size_t i = 0; i < 3; i++) {
		struct mem_account *memory = service_memory(world.service);
		struct operation call = script[i];
		bool is_applied = false;

		call.slot = i == 0 ? 0 : 5;
		for (unsigned n = 1; !is_applied; n++) {
			struct service_counters before = counters(&world);
			memory->fail_in = n;
			is_applied = service_apply(world.service, &call, 5, NULL);
			if (!is_applied)
				ck_assert_uint_eq(counters(&world).writes_applied,
						  before.writes_applied);
		}
		memory->fail_in = 0;
	}
	assert_holds(&world, "k", "value and more, so that it outgrows its block", 2);
	ck_assert_uint_eq(counters(&world).sessions, 2);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What each procedure means: reads, sessions and their ends, sizes, stateless calls, positions. */
#include "fixture.h"
#include "test.h"

static struct world world;

static void start(void) {
	world_open(&world, usual_limits(), true);
}

static void stop(void) {
	world_close(&world);
}

static void start_anew(const struct service_limits *limits) {
	world_close(&world);
	world_open(&world, limits, true);
}

static enum kv_status get_status(uint64_t epoch, struct kv_bytes key, uint32_t reply_max) {
	struct reply reply;

	service_get(world.service, epoch, key, reply_max, &reply);
	drop(&world, &reply);
	return reply.status;
}

static enum kv_status put(uint64_t client_id, uint64_t seq, const char *key, const char *value) {
	struct operation operation = put_call(client_id, seq, key, value);

	return status_of(&world, &operation);
}

/* --- Get ----------------------------------------------------------------------------------- */

CASE(service, .setup = start, .teardown = stop);

TEST(get_answers_value_and_version) {
	uint64_t client = open_session(&world, 1);

	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
	ck_assert_int_eq(put(client, 2, "k", "b"), KV_OK);
	assert_holds(&world, "k", "b", 2);
	assert_missing(&world, "other");
}

TEST(get_refuses_what_is_no_key_what_is_too_long_and_another_epoch) {
	set(&world, "k", text("abc"));
	ck_assert_int_eq(get_status(EPOCH, text(""), ALL), KV_INVALID);
	ck_assert_int_eq(get_status(EPOCH, zeros(KEY_MAX + 1), ALL), KV_TOOBIG);
	ck_assert_int_eq(get_status(EPOCH, zeros(KEY_MAX), ALL), KV_NOKEY);
	ck_assert_int_eq(get_status(EPOCH + 1, text("k"), ALL), KV_EPOCH);
	ck_assert_int_eq(get_status(0, text("k"), ALL), KV_OK);
	ck_assert_int_eq(get_status(EPOCH, text("k"), 2), KV_TOOBIG);
	ck_assert_int_eq(get_status(EPOCH, text("k"), 3), KV_OK);
}

TEST(a_value_read_stays_what_it_was_while_it_is_held) {
	uint64_t client = open_session(&world, 1);
	struct operation append = append_call(client, 1, "k", "def");
	struct reply reply;

	set(&world, "k", text("abc"));
	service_get(world.service, EPOCH, text("k"), ALL, &reply);
	ck_assert_int_eq(status_of(&world, &append), KV_OK);
	ck_assert_int_eq(put(client, 2, "k", "something else"), KV_OK);
	ck_assert(is_text(reply.value, "abc"));
	drop(&world, &reply);
}

TEST(gets_leave_nothing_behind) {
	set(&world, "k", text("abc"));
	size_t before = used(&world);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(get_status(EPOCH, text(i % 2 == 0 ? "k" : "l"), ALL),
				 KV_OK + i % 2);
	ck_assert_uint_eq(used(&world), before);
}

/* --- Sizes --------------------------------------------------------------------------------- */

static const struct {
	size_t key, value;
	enum kv_status status;
} write_sizes[] = {
    {1, 0, KV_OK},
    {KEY_MAX, VALUE_MAX, KV_OK},
    {0, 0, KV_INVALID},
    {KEY_MAX + 1, 0, KV_TOOBIG},
    {1, VALUE_MAX + 1, KV_TOOBIG},
};

/* Each row for Put and for Append. */
LOOP_TEST(what_is_above_the_limits_is_refused_and_changes_nothing, 0,
	  2 * sizeof(write_sizes) / sizeof(write_sizes[0])) {
	uint64_t client = open_session(&world, 1);
	struct operation call =
	    _i % 2 == 0 ? put_call(client, 1, "", "") : append_call(client, 1, "", "");
	size_t before = used(&world);
	bool is_ok = write_sizes[_i / 2].status == KV_OK;

	call.key = zeros(write_sizes[_i / 2].key);
	call.value = zeros(write_sizes[_i / 2].value);
	ck_assert_int_eq(status_of(&world, &call), write_sizes[_i / 2].status);
	ck_assert_uint_eq(counters(&world).keys, is_ok);
	ck_assert(is_ok || used(&world) == before);
	ck_assert(!is_ok || get_status(EPOCH, call.key, VALUE_MAX) == KV_OK);
}

TEST(a_lower_limit_for_values_holds_for_what_an_append_makes) {
	struct service_limits limits = *usual_limits();

	limits.value_max = 10;
	start_anew(&limits);
	uint64_t client = open_session(&world, 1);
	struct operation call = append_call(client, 1, "k", "12345");
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	call = append_call(client, 2, "k", "123456");
	ck_assert_int_eq(status_of(&world, &call), KV_TOOBIG);
	assert_holds(&world, "k", "12345", 1);
	call = append_call(client, 3, "k", "12345");
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	assert_holds(&world, "k", "1234512345", 2);
	ck_assert_int_eq(put(client, 4, "k", "12345678901"), KV_TOOBIG);
}

TEST(an_append_whose_old_value_cannot_be_answered_does_not_run) {
	uint64_t client = open_session(&world, 1);
	struct operation call = append_call(client, 1, "k", "def");

	set(&world, "k", text("abc"));
	ck_assert_int_eq(run_with(&world, EPOCH, &call, 2).status, KV_TOOBIG);
	assert_holds(&world, "k", "abc", 1);
	call.seq = 2;
	call.want_old = false;
	ck_assert_int_eq(run_with(&world, EPOCH, &call, 2).status, KV_OK);
	assert_holds(&world, "k", "abcdef", 2);
}

TEST(a_refused_write_is_told_the_version) {
	uint64_t client = open_session(&world, 1);
	struct operation call = put_call(client, 1, "k", "x");

	set(&world, "k", text("abc"));
	set(&world, "k", text("def"));
	call.expected = 1;
	struct reply reply = run(&world, &call);
	ck_assert_int_eq(reply.status, KV_VERSION);
	ck_assert_uint_eq(reply.current, 2);
}

/* --- Without a session --------------------------------------------------------------------- */

TEST(a_stateless_put_is_conditional_and_leaves_no_memory_of_itself) {
	struct operation call = put_call(0, 0, "k", "a");

	call.expected = 0;
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	size_t before = used(&world);
	ck_assert_int_eq(status_of(&world, &call), KV_VERSION);
	call.expected = 1;
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_uint_eq(used(&world), before);
	call.key = text("missing");
	ck_assert_int_eq(status_of(&world, &call), KV_NOKEY);
	assert_holds(&world, "k", "a", 2);
}

TEST(a_stateless_write_that_a_copy_could_repeat_is_invalid) {
	struct operation put = put_call(0, 1, "k", "a");
	struct operation append = append_call(0, 1, "k", "a");

	ck_assert_int_eq(status_of(&world, &put), KV_INVALID);
	ck_assert_int_eq(status_of(&world, &append), KV_INVALID);
	append.expected = 0;
	ck_assert_int_eq(status_of(&world, &append), KV_INVALID);
	assert_missing(&world, "k");
}

TEST(slot_and_seq_of_a_stateless_put_do_not_matter) {
	struct operation call = put_call(0, 0, "k", "a");

	call.slot = UINT32_MAX;
	call.expected = 0;
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
}

/* --- Sessions ------------------------------------------------------------------------------ */

TEST(open_answers_id_slots_and_lease) {
	struct operation call = open_call(&world, 1, 5);
	struct reply reply = run(&world, &call);

	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(reply.client_id, call.client_id);
	ck_assert_uint_eq(reply.slots, 5);
	ck_assert_uint_eq(reply.lease_ms, LEASE_MS);
	call = open_call(&world, 2, UINT32_MAX);
	ck_assert_uint_eq(run(&world, &call).slots, SLOTS_MAX);
	call = open_call(&world, 3, 0);
	ck_assert_int_eq(status_of(&world, &call), KV_INVALID);
}

TEST(a_retried_open_is_given_the_same_session) {
	struct operation call = open_call(&world, 1, 5);
	uint64_t client = run(&world, &call).client_id;

	for (int i = 0; i < 3; i++) {
		struct operation copy = open_call(&world, 1, 5);
		struct reply reply = run(&world, &copy);
		ck_assert_int_eq(reply.status, KV_OK);
		ck_assert_uint_eq(reply.client_id, client);
		ck_assert_uint_eq(reply.slots, 5);
	}
	ck_assert_uint_eq(counters(&world).sessions, 1);
	ck_assert_uint_eq(counters(&world).sessions_opened, 1);
}

TEST(a_late_copy_of_an_open_leaves_a_session_that_no_client_uses) {
	uint64_t client = open_session(&world, 1);

	/* Of the last slot, and refused: the client has its id. */
	struct operation call = put_call(client, 1, "k", "a");
	call.slot = 3;
	call.expected = 7;
	ck_assert_int_eq(status_of(&world, &call), KV_NOKEY);
	ck_assert_uint_ne(open_session(&world, 1), client);
	ck_assert_uint_eq(counters(&world).sessions, 2);
	/* The first one is as it was; both end. */
	ck_assert_int_eq(status_of(&world, &call), KV_NOKEY);
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
	world.now_ms += LEASE_MS;
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), UINT64_MAX);
	ck_assert_uint_eq(counters(&world).sessions, 0);
}

TEST(a_retried_open_is_answered_when_the_table_is_full) {
	struct service_limits limits = *usual_limits();

	limits.sessions_max = 1;
	start_anew(&limits);
	uint64_t client = open_session(&world, 1);
	ck_assert_uint_eq(open_session(&world, 1), client);
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
}

TEST(an_id_in_use_is_given_to_no_other_client) {
	struct operation first = open_call(&world, 1, 1);
	struct operation second = open_call(&world, 2, 1);

	second.client_id = first.client_id;
	ck_assert_int_eq(status_of(&world, &first), KV_OK);
	ck_assert_int_eq(status_of(&world, &second), KV_FULL);
	ck_assert_uint_eq(counters(&world).sessions, 1);
}

TEST(in_a_full_table_the_oldest_that_never_wrote_goes_first) {
	struct service_limits limits = *usual_limits();

	limits.sessions_max = 3;
	start_anew(&limits);
	uint64_t wrote = open_session(&world, 1);
	uint64_t silent = open_session(&world, 2);
	uint64_t younger = open_session(&world, 3);
	ck_assert_int_eq(put(wrote, 1, "k", "a"), KV_OK);
	/* It is young again. */
	world.now_ms++;
	ck_assert_uint_eq(open_session(&world, 2), silent);

	(void)open_session(&world, 4);
	ck_assert_int_eq(put(younger, 1, "k", "b"), KV_BADSESSION);
	ck_assert_int_eq(put(silent, 1, "k", "b"), KV_OK);
	ck_assert_int_eq(put(wrote, 2, "k", "c"), KV_OK);
	ck_assert_uint_eq(counters(&world).sessions, 3);

	size_t last = world.tape.count;
	ck_assert_int_eq(world.tape.operations[last - 4].kind, OPERATION_EXPIRE);
	ck_assert_uint_eq(world.tape.operations[last - 4].client_id, younger);
	ck_assert_int_eq(world.tape.operations[last - 3].kind, OPERATION_OPEN);
}

TEST(a_session_that_was_only_refused_has_written) {
	struct service_limits limits = *usual_limits();

	limits.sessions_max = 2;
	start_anew(&limits);
	uint64_t refused = open_session(&world, 1);
	uint64_t silent = open_session(&world, 2);
	struct operation call = put_call(refused, 1, "k", "a");
	call.expected = 5;
	ck_assert_int_eq(status_of(&world, &call), KV_NOKEY);
	(void)open_session(&world, 3);
	ck_assert_int_eq(status_of(&world, &call), KV_NOKEY);
	ck_assert_int_eq(put(silent, 1, "k", "a"), KV_BADSESSION);
}

TEST(a_table_full_of_sessions_that_wrote_is_full_and_nothing_is_kept) {
	struct service_limits limits = *usual_limits();

	limits.sessions_max = 3;
	start_anew(&limits);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_int_eq(put(open_session(&world, i), 1, "k", "a"), KV_OK);
	size_t before = used(&world);
	size_t recorded = world.tape.count;
	struct operation call = open_call(&world, 9, 1);
	ck_assert_int_eq(status_of(&world, &call), KV_FULL);
	ck_assert_uint_eq(used(&world), before);
	ck_assert_uint_eq(world.tape.count, recorded);

	struct operation end = close_call(world.tape.operations[0].client_id);
	ck_assert_int_eq(status_of(&world, &end), KV_OK);
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
}

TEST(without_room_in_the_journal_sessions_neither_begin_nor_end) {
	uint64_t client = open_session(&world, 1);
	struct operation open = open_call(&world, 2, 1);
	struct operation end = close_call(client);
	size_t before = used(&world);

	world.tape.is_full = true;
	ck_assert_int_eq(status_of(&world, &open), KV_FULL);
	ck_assert_int_eq(status_of(&world, &end), KV_FULL);
	world.now_ms += 2 * LEASE_MS;
	uint64_t wait_ms = service_expire(world.service, 100, world.now_ms);
	ck_assert(wait_ms > 0 && wait_ms < UINT64_MAX);
	ck_assert_uint_eq(counters(&world).sessions, 1);
	ck_assert_uint_eq(used(&world), before);

	world.tape.is_full = false;
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), UINT64_MAX);
	ck_assert_uint_eq(counters(&world).sessions, 0);
}

TEST(a_write_that_the_journal_has_no_room_for_leaves_nothing_behind) {
	uint64_t client = open_session(&world, 1);
	struct operation call = put_call(client, 1, "new", "value");

	set(&world, "k", text("abc"));
	size_t before = used(&world);
	world.tape.is_full = true;
	ck_assert_int_eq(status_of(&world, &call), KV_FULL);
	call = put_call(client, 2, "k", "def");
	ck_assert_int_eq(status_of(&world, &call), KV_FULL);
	call = append_call(client, 3, "k", "def");
	ck_assert_int_eq(status_of(&world, &call), KV_FULL);
	ck_assert_uint_eq(used(&world), before);
	assert_holds(&world, "k", "abc", 1);
	assert_missing(&world, "new");
}

/* --- The lease ----------------------------------------------------------------------------- */

TEST(an_idle_session_ends_when_its_lease_is_over_and_not_before) {
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), UINT64_MAX);
	uint64_t silent = open_session(&world, 1);
	uint64_t wrote = open_session(&world, 2);
	world.now_ms += 300;
	ck_assert_int_eq(put(wrote, 1, "k", "a"), KV_OK);

	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), LEASE_MS - 300);
	world.now_ms += LEASE_MS - 301;
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), 1);
	ck_assert_uint_eq(counters(&world).sessions, 2);
	world.now_ms += 1;
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), 300);
	ck_assert_uint_eq(counters(&world).sessions, 1);
	ck_assert_int_eq(put(silent, 1, "k", "b"), KV_BADSESSION);
	world.now_ms += 300;
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), UINT64_MAX);
	ck_assert_int_eq(put(wrote, 2, "k", "b"), KV_BADSESSION);
	ck_assert_uint_eq(counters(&world).sessions_expired, 2);

	const struct operation *last = &world.tape.operations[world.tape.count - 1];
	ck_assert_int_eq(last->kind, OPERATION_EXPIRE);
	ck_assert_uint_eq(last->client_id, wrote);
	ck_assert_uint_eq(world.tape.times_ms[world.tape.count - 1], world.now_ms);
}

/* Each call comes when most of the lease is over. */
TEST(every_call_that_names_a_session_renews_its_lease) {
	uint64_t client = open_session(&world, 1);
	struct operation write = put_call(client, 5, "k", "a");
	struct operation refused = put_call(client, 6, "k", "b");
	struct operation stale = put_call(client, 1, "k", "c");
	struct operation false_retry = put_call(client, 6, "k", "d");
	struct operation invalid = put_call(client, 0, "k", "e");
	struct operation open = open_call(&world, 1, 1);
	const struct operation *calls[] = {&open,    &write, &write,	   &refused,
					   &refused, &stale, &false_retry, &invalid};
	const enum kv_status answers[] = {KV_OK,      KV_OK,	KV_OK,		KV_VERSION,
					  KV_VERSION, KV_STALE, KV_FALSE_RETRY, KV_INVALID};

	refused.expected = 77;
	for (size_t i = 0; i < 8; i++) {
		world.now_ms += LEASE_MS - 1;
		(void)service_expire(world.service, 100, world.now_ms);
		ck_assert_int_eq(status_of(&world, calls[i]), answers[i]);
	}
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), LEASE_MS);
}

TEST(a_call_of_another_epoch_renews_nothing) {
	uint64_t client = open_session(&world, 1);
	struct operation call = put_call(client, 5, "k", "a");

	world.now_ms += LEASE_MS;
	ck_assert_int_eq(run_with(&world, EPOCH + 1, &call, ALL).status, KV_EPOCH);
	ck_assert_uint_eq(service_expire(world.service, 100, world.now_ms), UINT64_MAX);
}

TEST(expire_ends_no_more_than_it_was_told) {
	for (uint32_t i = 0; i < 10; i++)
		(void)open_session(&world, i);
	world.now_ms += LEASE_MS;
	ck_assert_uint_eq(service_expire(world.service, 4, world.now_ms), 0);
	ck_assert_uint_eq(counters(&world).sessions, 6);
	ck_assert_uint_eq(service_expire(world.service, 6, world.now_ms), UINT64_MAX);
	ck_assert_uint_eq(counters(&world).sessions, 0);
}

TEST(time_does_not_go_back) {
	world.now_ms = 5000;
	uint64_t client = open_session(&world, 1);
	world.now_ms = 10;
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
	ck_assert_uint_eq(world.tape.times_ms[world.tape.count - 1], 5000);
	ck_assert_uint_eq(service_expire(world.service, 100, 0), LEASE_MS);
}

TEST(a_replay_has_its_times_from_the_journal_and_so_its_leases) {
	uint64_t client = open_session(&world, 1);
	struct world replica;

	world.now_ms += LEASE_MS / 2;
	ck_assert_int_eq(put(client, 1, "k", "a"), KV_OK);
	world_open(&replica, usual_limits(), false);
	for (size_t i = 0; i < world.tape.count; i++)
		ck_assert(service_apply(replica.service, &world.tape.operations[i],
					world.tape.times_ms[i], NULL));
	ck_assert_uint_eq(service_time(replica.service), world.now_ms);
	ck_assert_uint_eq(service_expire(replica.service, 100, world.now_ms), LEASE_MS);
	world_close(&replica);
}

/* --- Positions ----------------------------------------------------------------------------- */

TEST(a_get_waits_for_the_last_write_of_its_key_only) {
	struct reply reply;

	set(&world, "a", text("1"));
	set(&world, "b", text("1"));
	set(&world, "a", text("2"));
	set(&world, "c", text("1"));
	service_get(world.service, EPOCH, text("a"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 3);
	drop(&world, &reply);
	service_get(world.service, EPOCH, text("b"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 2);
	drop(&world, &reply);
	service_get(world.service, EPOCH, text("missing"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 0);
}

TEST(every_other_answer_waits_for_all_that_it_could_show) {
	uint64_t client = open_session(&world, 1);
	struct operation call = put_call(client, 1, "k", "a");
	struct reply reply = run(&world, &call);

	ck_assert_uint_eq(reply.position, 2);
	set(&world, "other", text("x"));
	/* A copy; a refusal; a bad session, for it may have just expired. */
	ck_assert_uint_eq(run(&world, &call).position, 3);
	call = put_call(client, 2, "k", "a");
	call.expected = 0;
	ck_assert_uint_eq(run(&world, &call).position, 3);
	call.client_id = 4;
	ck_assert_uint_eq(run(&world, &call).position, 3);
}

/* The disk that has no room may be the one that the others wait for. */
TEST(a_refusal_for_lack_of_room_waits_for_its_own_keys_only) {
	uint64_t client = open_session(&world, 1);
	struct operation open = open_call(&world, 2, 1);
	struct operation end = close_call(client);
	struct operation call = put_call(client, 1, "k", "a");
	struct reply reply;

	set(&world, "k", text("1"));
	set(&world, "other", text("1"));
	world.tape.is_full = true;
	reply = run(&world, &call);
	ck_assert_int_eq(reply.status, KV_FULL);
	ck_assert_uint_eq(reply.current, 1);
	ck_assert_uint_eq(reply.position, 2);
	/* A copy of it. */
	ck_assert_uint_eq(run(&world, &call).position, 2);
	call = put_call(client, 2, "missing", "a");
	ck_assert_uint_eq(run(&world, &call).position, 0);
	ck_assert_uint_eq(run(&world, &open).position, 0);
	ck_assert_uint_eq(run(&world, &end).position, 0);
	/* Any other refusal shows more. */
	call = put_call(client, 3, "k", "a");
	call.expected = 9;
	ck_assert_uint_eq(run(&world, &call).position, 3);
}

/* Its key lies in the block, which a write takes even if it is refused. */
TEST(a_large_write_that_is_refused_waits_for_its_own_key_only) {
	enum { SIZE = 1 << 20 };
	uint64_t client = open_session(&world, 1);
	struct owned_block block = {.data = malloc(SIZE + 1), .size = SIZE + 1};
	struct operation call = put_call(client, 1, "k", "");

	ck_assert_ptr_nonnull(block.data);
	memset(block.data, 'k', SIZE + 1);
	call.key = (struct kv_bytes){block.data, 1};
	call.value = (struct kv_bytes){(uint8_t *)block.data + 1, SIZE};
	call.block = &block;
	set(&world, "k", text("1"));
	set(&world, "other", text("1"));
	world.tape.is_full = true;
	struct reply reply = run(&world, &call);
	ck_assert_int_eq(reply.status, KV_FULL);
	ck_assert_uint_eq(reply.position, 2);
	free(block.data);
}

TEST(without_a_journal_no_answer_waits) {
	world_close(&world);
	world_open(&world, usual_limits(), false);
	uint64_t client = open_session(&world, 1);
	struct operation call = put_call(client, 1, "k", "a");
	struct reply reply = run(&world, &call);

	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(reply.position, 0);
	service_get(world.service, EPOCH, text("k"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 0);
	drop(&world, &reply);
}

TEST(a_get_shows_the_position_of_the_last_write_of_its_own_key) {
	uint64_t client = open_session(&world, 1);
	struct reply reply;

	ck_assert_int_eq(put(client, 1, "mine", "a"), KV_OK);
	uint64_t position = world.tape.count;
	ck_assert_int_eq(put(client, 2, "another", "b"), KV_OK);
	service_get(world.service, EPOCH, text("mine"), ALL, &reply);
	ck_assert_uint_eq(reply.position, position);
	drop(&world, &reply);
	service_get(world.service, EPOCH, text("missing"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 0);
}

TEST(counters_count) {
	uint64_t client = open_session(&world, 1);
	struct operation call = put_call(client, 1, "k", "a");

	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	ck_assert_int_eq(status_of(&world, &call), KV_OK);
	call = put_call(client, 2, "k", "a");
	call.expected = 0;
	ck_assert_int_eq(status_of(&world, &call), KV_VERSION);
	ck_assert_int_eq(status_of(&world, &call), KV_VERSION);
	struct service_counters all = counters(&world);
	ck_assert_uint_eq(all.keys, 1);
	ck_assert_uint_eq(all.sessions, 1);
	ck_assert_uint_eq(all.sessions_opened, 1);
	ck_assert_uint_eq(all.sessions_expired, 0);
	ck_assert_uint_eq(all.memory_used, used(&world));
	ck_assert_uint_eq(all.writes_applied, 1);
	ck_assert_uint_eq(all.calls_replayed, 2);
	ck_assert_uint_eq(all.calls_refused, 1);
}

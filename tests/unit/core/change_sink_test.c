/* SPDX-License-Identifier: BSD-3-Clause */
/* Which operations report a change of a key, with which version and position. */
#include "fixture.h"
#include "test.h"

static struct world world;
static struct change_sink sink;
static char told[4096];
static uint64_t client;

/* A line of "key@version/position", with - for an end. */
static void note(void *context, struct kv_bytes key, uint64_t version, bool is_gone,
		 uint64_t position) {
	size_t size = strlen(told);

	ck_assert_ptr_eq(context, &world);
	(void)snprintf(told + size, sizeof(told) - size, " %s%.*s@%llu/%llu", is_gone ? "-" : "",
		       (int)key.size, (const char *)key.data, (unsigned long long)version,
		       (unsigned long long)position);
}

static void start(void) {
	world_open(&world, usual_limits(), true);
	sink = (struct change_sink){.context = &world, .changed = note};
	told[0] = '\0';
	service_set_change_sink(world.service, &sink);
	client = open_session(&world, 1); /* position 1 */
}

static void stop(void) {
	world_close(&world);
}

static enum kv_status run_kind(enum operation_kind kind, uint64_t seq, const char *key,
			       uint64_t ttl_ms) {
	struct operation operation = put_call(client, seq, key, "v");

	operation.kind = kind;
	operation.ttl_ms = ttl_ms;
	if (kind == OPERATION_DELETE)
		operation.value = text("");
	return status_of(&world, &operation);
}

CASE(change_sink, .setup = start, .teardown = stop);

TEST(each_change_of_a_version_is_reported_at_its_position) {
	ck_assert_int_eq(run_kind(OPERATION_PUT, 1, "a", 0), KV_OK);
	ck_assert_int_eq(run_kind(OPERATION_APPEND, 2, "a", 0), KV_OK);
	ck_assert_int_eq(run_kind(OPERATION_PUT, 3, "b", 100), KV_OK);
	ck_assert_int_eq(run_kind(OPERATION_DELETE, 4, "a", 0), KV_OK);
	ck_assert_uint_eq(service_end_ttls(world.service, 9, 1000), UINT64_MAX);
	ck_assert_str_eq(told, " a@1/2 a@2/3 b@1/4 -a@3/5 -b@2/6");
	ck_assert_uint_eq(service_position(world.service), 6);
	ck_assert_uint_eq(service_changed_position(world.service), 6);
}

TEST(the_keys_of_a_txn_have_one_position_and_a_touch_is_no_change) {
	const struct change changes[] = {
	    {.kind = CHANGE_PUT, .key = text("a")},
	    {.kind = CHANGE_TOUCH, .key = text("t"), .ttl_ms = 1},
	    {.kind = CHANGE_DELETE, .key = text("b")},
	};
	struct txn txn = {.changes = changes, .change_count = 3};
	const struct operation operation = {
	    .kind = OPERATION_TXN, .client_id = client, .seq = 3, .txn = &txn};

	ck_assert_int_eq(run_kind(OPERATION_PUT, 1, "t", 0), KV_OK);
	ck_assert_int_eq(run_kind(OPERATION_PUT, 2, "b", 0), KV_OK);
	told[0] = '\0';
	txn.hash = txn_hash(&txn);
	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
	ck_assert_str_eq(told, " a@1/4 -b@2/4");
}

TEST(refusals_copies_and_sessions_are_no_change) {
	struct operation refused = put_call(client, 2, "a", "v");
	struct operation closed = close_call(client);

	ck_assert_int_eq(run_kind(OPERATION_PUT, 1, "a", 0), KV_OK);
	told[0] = '\0';
	ck_assert_int_eq(run_kind(OPERATION_PUT, 1, "a", 0), KV_OK);
	refused.expected = 7;
	ck_assert_int_eq(status_of(&world, &refused), KV_VERSION);
	ck_assert_int_eq(status_of(&world, &closed), KV_OK);
	ck_assert_str_eq(told, "");
	ck_assert_uint_eq(service_position(world.service), 3);
	ck_assert_uint_eq(service_changed_position(world.service), 2);
}

TEST(a_replay_reports_alike_and_nothing_is_reported_without_a_sink) {
	struct world other;

	ck_assert_int_eq(run_kind(OPERATION_PUT, 1, "a", 0), KV_OK);
	ck_assert_int_eq(run_kind(OPERATION_DELETE, 2, "a", 0), KV_OK);
	told[0] = '\0';
	world_open(&other, usual_limits(), false);
	service_set_change_sink(other.service, &sink);
	for (size_t i = 0; i < world.tape.count; i++) {
		if (i == 2)
			service_set_change_sink(other.service, NULL);
		service_set_position(other.service, i);
		ck_assert(service_apply(other.service, &world.tape.operations[i],
					world.tape.times_ms[i], NULL));
	}
	ck_assert_str_eq(told, " a@1/2");
	ck_assert_uint_eq(service_changed_position(other.service), 3);
	/* What lies between is unknown. */
	service_set_position(other.service, 9);
	ck_assert_uint_eq(service_changed_position(other.service), 9);
	world_close(&other);
}

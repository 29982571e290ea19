/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State as bytes: what was saved and loaded answers as before, and takes no more memory.
 *
 * The seed is printed; an argument or $SEED repeats it, $STEPS says how far.
 */
#include <time.h>

#include "core/fixture.h"
#include "snapshot_fixture.h"
#include "test.h"

enum {
	USUAL_STEPS = 30000,
	KEYS = 60,
	NONCES = 14,
	SESSIONS = 10,
	SLOTS_USED = 5, /* of each session, by the random calls */
	VALUE_BYTES = 8192,
};

static uint64_t seed;
static uint64_t steps = USUAL_STEPS;

static struct prng prng;
static struct world original;
static struct world copy;
static struct bytes saved;
static unsigned char value_bytes[VALUE_BYTES];

/* The last calls, of sessions that may be gone; seq 0: none. */
static struct operation last[NONCES][SLOTS_USED];

static uint64_t chance(void) {
	return prng_next(&prng);
}

static uint64_t below(uint64_t limit) {
	return chance() % limit;
}

static bool once_in(uint64_t times) {
	return below(times) == 0;
}

static void start(void) {
	struct service_limits limits = *usual_limits();

	prng.state = seed;
	for (size_t i = 0; i < VALUE_BYTES; i++)
		value_bytes[i] = (unsigned char)chance();
	limits.sessions_max = SESSIONS;
	world_open(&original, &limits, false);
	world_open(&copy, &limits, false);
}

static void stop(void) {
	world_close(&original);
	world_close(&copy);
	bytes_free(&saved);
	memset(last, 0, sizeof(last));
}

/* `to` becomes what `from` is. */
static void pass_on(struct world *from, struct world *to) {
	size_t before = used(from);
	uint64_t time_ms = service_time(from->service);

	save(from->service, &saved);
	ck_assert_uint_eq(used(from), before);
	struct service *loaded = another(from->service);
	ck_assert_int_eq(load(loaded, &saved), STATE_DONE);
	service_free(to->service);
	to->service = loaded;
	ck_assert_uint_le(used(to), before);
	ck_assert_uint_eq(service_time(to->service), time_ms);
}

/* --- The same random history on both ------------------------------------------------------------
 */

static void assert_same(struct reply *one, struct reply *other) {
	struct kv_bytes a = view_bytes(one->value);
	struct kv_bytes b = view_bytes(other->value);

	ck_assert_int_eq(one->status, other->status);
	ck_assert_uint_eq(one->current, other->current);
	ck_assert_uint_eq(one->old_version, other->old_version);
	ck_assert_uint_eq(one->client_id, other->client_id);
	ck_assert_uint_eq(one->lease_ms, other->lease_ms);
	ck_assert_uint_eq(one->slots, other->slots);
	ck_assert_uint_eq(a.size, b.size);
	ck_assert(a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
	drop(&original, one);
	drop(&copy, other);
}

static enum kv_status run_both(const struct operation *call, uint32_t reply_max) {
	struct reply one = run_with(&original, EPOCH, call, reply_max);
	struct reply other = run_with(&copy, EPOCH, call, reply_max);

	assert_same(&one, &other);
	return one.status;
}

static void step_open(void) {
	uint32_t number = (uint32_t)below(NONCES);
	struct operation call = open_call(&original, number, 1 + (uint32_t)below(SLOTS_MAX));
	struct reply one = run(&original, &call);
	struct reply other = run(&copy, &call);

	if (one.status == KV_OK && last[number][0].client_id != one.client_id)
		for (uint32_t i = 0; i < SLOTS_USED; i++)
			last[number][i] = (struct operation){.client_id = one.client_id};
	assert_same(&one, &other);
}

static void step_expire(void) {
	unsigned most = once_in(2) ? (unsigned)below(3) : 1000;

	original.now_ms += once_in(3) ? below(LEASE_MS) : below(20);
	copy.now_ms = original.now_ms;
	ck_assert_uint_eq(service_expire(original.service, most, original.now_ms),
			  service_expire(copy.service, most, copy.now_ms));
}

static void step_write(void) {
	static char key[8];
	uint32_t slot = (uint32_t)below(once_in(4) ? SLOTS_USED : 2);
	struct operation *before = &last[below(NONCES)][slot];
	size_t size = once_in(20) ? below(3000) : below(40);
	struct operation call = {
	    .kind = once_in(2) ? OPERATION_PUT : OPERATION_APPEND,
	    .client_id = before->client_id,
	    .slot = slot,
	    .seq = before->seq + 1 + (once_in(5) ? below(100) : 0),
	    .expected = once_in(4) ? below(8) : VERSION_ANY,
	    .value = {.data = value_bytes + below(VALUE_BYTES - size), .size = size},
	    .want_old = !once_in(3),
	};

	(void)snprintf(key, sizeof(key), "key %u", (unsigned)below(KEYS));
	call.key = text(key);
	if (once_in(4) && before->seq != 0)
		call = *before;
	if (once_in(20))
		call.seq -= below(3);
	(void)run_both(&call, once_in(10) ? (uint32_t)below(60) : (uint32_t)ALL);
	if (call.seq > before->seq) {
		/* The key's bytes are needed for as long as a copy may be sent. */
		static char keys[NONCES][SLOTS_USED][8];
		size_t number = (size_t)(before - &last[0][0]) / SLOTS_USED;
		memcpy(keys[number][slot], key, sizeof(key));
		*before = call;
		before->key = text(keys[number][slot]);
	}
}

static void step(void) {
	switch (below(20)) {
	case 0:
	case 1:
		step_open();
		break;
	case 2:
		if (once_in(10)) {
			struct operation call = close_call(last[below(NONCES)][0].client_id);
			(void)run_both(&call, ALL);
		}
		break;
	case 3:
		step_expire();
		break;
	default:
		step_write();
	}
}

/* Every entry and every remembered reply. How many of these were the right one's. */
static size_t compare_all(void) {
	size_t replayed = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		struct reply one;
		struct reply other;
		char key[8];
		(void)snprintf(key, sizeof(key), "key %u", i);
		service_get(original.service, EPOCH, text(key), ALL, &one);
		service_get(copy.service, EPOCH, text(key), ALL, &other);
		assert_same(&one, &other);
	}
	for (size_t i = 0; i < NONCES; i++)
		for (size_t j = 0; j < SLOTS_USED; j++)
			if (last[i][j].seq != 0 && last[i][j].key.size > 0)
				replayed += run_both(&last[i][j], ALL) == KV_OK;
	ck_assert_uint_eq(counters(&original).keys, counters(&copy).keys);
	ck_assert_uint_eq(counters(&original).sessions, counters(&copy).sessions);
	return replayed;
}

CASE(snapshot_state, .setup = start, .teardown = stop);

TEST(any_state_saved_and_loaded_goes_on_as_the_one_that_was_not) {
	size_t replayed = 0;
	size_t passes = 0;

	for (uint64_t i = 0; i < steps; i++) {
		step();
		if (i % 200 != 0)
			continue;
		pass_on(once_in(2) ? &original : &copy, &copy);
		replayed += compare_all();
		passes++;
	}
	printf("figure: %zu times saved and loaded, %zu remembered replies compared\n", passes,
	       replayed);
	ck_assert(steps < USUAL_STEPS || replayed > passes);
}

/* --- What is shared -----------------------------------------------------------------------------
 */

TEST(old_values_share_the_bytes_of_their_entry_again) {
	enum { CLIENTS = 10, APPENDS = 64, PIECE = 1000 };
	uint64_t clients[CLIENTS];
	struct operation call;

	for (uint32_t i = 0; i < CLIENTS; i++)
		clients[i] = open_session(&original, i);
	for (uint64_t i = 0; i < (uint64_t)CLIENTS * APPENDS; i++) {
		call = append_call(clients[i % CLIENTS], 1, "key", "");
		call.slot = (uint32_t)(i / CLIENTS);
		call.value = (struct kv_bytes){.data = value_bytes, .size = PIECE};
		ck_assert_int_eq(status_of(&original, &call), KV_OK);
	}
	pass_on(&original, &copy);
	ck_assert_uint_lt(saved.size, CLIENTS * APPENDS * (PIECE + 100));
	ck_assert_uint_lt(used(&copy), CLIENTS * APPENDS * (PIECE + 200));

	/* And the entry can still grow without them. */
	call = append_call(clients[1], 2, "key", "x");
	struct reply reply = run(&copy, &call);
	ck_assert_uint_eq(view_bytes(reply.value).size, CLIENTS * APPENDS * PIECE);
	drop(&copy, &reply);
}

TEST(an_old_value_that_no_entry_holds_is_kept_as_far_as_it_is_seen) {
	uint64_t client = open_session(&original, 1);
	struct operation call = append_call(client, 1, "key", "first ");

	ck_assert_int_eq(status_of(&original, &call), KV_OK);
	struct operation append = append_call(client, 2, "key", "second");
	ck_assert_int_eq(status_of(&original, &append), KV_OK);
	struct operation put = put_call(open_session(&original, 2), 1, "key", "new");
	ck_assert_int_eq(status_of(&original, &put), KV_OK);
	pass_on(&original, &copy);

	struct reply reply = run(&copy, &append);
	ck_assert(is_text(reply.value, "first "));
	ck_assert_uint_eq(reply.old_version, 1);
	ck_assert_uint_eq(reply.current, 2);
	drop(&copy, &reply);
	assert_holds(&copy, "key", "new", 3);
	/* "second" is not visible in any snapshot. */
	save(copy.service, &saved);
	for (size_t i = 0; i + 6 <= saved.size; i++)
		ck_assert(memcmp(saved.data + i, "second", 6) != 0);
}

TEST(an_answer_on_its_way_is_no_part_of_the_state) {
	struct reply held;

	set(&original, "key", text("value"));
	service_get(original.service, 0, text("key"), ALL, &held);
	pass_on(&original, &copy);
	drop(&original, &held);
	assert_holds(&copy, "key", "value", 1);
}

TEST(what_was_loaded_counts_as_durable) {
	struct world recording;
	struct reply reply;

	world_open(&recording, usual_limits(), true);
	set(&recording, "key", text("value"));
	service_get(recording.service, 0, text("key"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 1);
	drop(&recording, &reply);
	pass_on(&recording, &copy);
	service_get(copy.service, 0, text("key"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 0);
	drop(&copy, &reply);
	world_close(&recording);
}

TEST(ended_keys_ttls_and_transactions_are_remembered) {
	uint64_t client = open_session(&original, 1);
	struct operation end = put_call(client, 2, "gone", "");
	const struct change changes[] = {
	    {.kind = CHANGE_PUT, .key = text("lease"), .value = text("v"), .ttl_ms = 1000},
	    {.kind = CHANGE_APPEND, .key = text("log"), .value = text("line")},
	};
	const struct txn txn = {.changes = changes, .change_count = 2, .hash = 77};
	const struct operation call = {
	    .kind = OPERATION_TXN, .client_id = client, .slot = 1, .seq = 1, .txn = &txn};
	struct operation put = put_call(client, 1, "gone", "a");

	ck_assert_int_eq(status_of(&original, &put), KV_OK);
	end.kind = OPERATION_DELETE;
	ck_assert_int_eq(status_of(&original, &end), KV_OK);
	struct reply first = run(&original, &call);
	ck_assert_int_eq(first.status, KV_OK);
	pass_on(&original, &copy);
	assert_missing(&copy, "gone");
	assert_holds(&copy, "lease", "v", 3);
	ck_assert_uint_eq(service_end_ttls(copy.service, 9, copy.now_ms), 1000);
	struct reply again = run(&copy, &call);
	ck_assert_int_eq(again.status, KV_OK);
	ck_assert_uint_eq(again.current, first.current);
	ck_assert_uint_eq(again.value.size, 16);
	ck_assert_mem_eq(view_bytes(again.value).data, view_bytes(first.value).data, 16);
	drop(&original, &first);
	drop(&copy, &again);
	put.seq = 3;
	struct reply made = run(&copy, &put);
	ck_assert_uint_eq(made.current, 3);
	ck_assert_uint_eq(service_end_ttls(copy.service, 9, 5000), UINT64_MAX);
	assert_missing(&copy, "lease");
}

TEST(an_empty_state_is_a_state) {
	pass_on(&original, &copy);
	ck_assert_uint_eq(saved.size, 40);
	ck_assert_uint_eq(counters(&copy).keys, 0);
}

TEST(limits_of_today_do_not_matter_to_what_was_saved) {
	struct service_limits small = {.value_max = 1, .memory_max = 1, .sessions_max = 1};

	set(&original, "key", text("longer than one"));
	(void)open_session(&original, 1);
	(void)open_session(&original, 2);
	save(original.service, &saved);
	service_free(copy.service);
	copy.service = service_new(service_identity(original.service), &small, NULL);
	ck_assert_int_eq(load(copy.service, &saved), STATE_DONE);
	ck_assert_uint_eq(counters(&copy).sessions, 2);
	assert_holds(&copy, "key", "longer than one", 1);
}

BEFORE_ALL {
	seed = test_seed();
	steps = test_number("STEPS", steps);
}

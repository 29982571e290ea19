/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random operations against the service and against a simple model: all replies and the state must
 * be the same, and the same again in a second service that replays what was recorded.
 *
 * The seed is printed; an argument or $SEED repeats it, $STEPS says how far.
 */
#include <time.h>

#include "fixture.h"
#include "model.h"
#include "prng.h"
#include "test.h"

enum {
	USUAL_STEPS = 60000,
	NONCES = 14,
	IDS = 64, /* remembered, living or gone */
	VALUE_BYTES = 8192,
};

static uint64_t seed;
static uint64_t steps = USUAL_STEPS;

static struct prng prng;
static struct world world;
static struct world replica;
static size_t replayed; /* of world.tape */
static struct model model;
static unsigned char value_bytes[VALUE_BYTES];
static uint64_t ids[IDS];
static struct model_reply expected;
static size_t answers[KV_EPOCH + 1]; /* by status: that the test reaches them all */

static uint64_t below(uint64_t limit) {
	return prng_below(&prng, limit);
}

static bool once_in(uint64_t times) {
	return below(times) == 0;
}

static uint64_t random_epoch(void) {
	if (once_in(20))
		return EPOCH + 1 + below(3);
	return once_in(10) ? 0 : EPOCH;
}

static struct kv_bytes random_key(void) {
	if (once_in(100))
		return once_in(2) ? zeros(KEY_MAX + 1) : text("");
	return model.keys[below(MODEL_KEYS)];
}

static struct kv_bytes random_value(void) {
	size_t size = below(30);

	if (once_in(10))
		size = below(1200);
	if (once_in(50))
		size = MODEL_VALUE_MAX - 2 + below(4);
	return (struct kv_bytes){.data = value_bytes + below(VALUE_BYTES - size), .size = size};
}

static uint64_t random_expected(struct kv_bytes key) {
	const struct model_entry *entry = model_entry(&model, key);

	if (once_in(3))
		return VERSION_ANY;
	if (entry == NULL || entry->version == 0 || once_in(8))
		return below(5);
	/* What it was just before, too: a write that raced for it and lost. */
	return once_in(8) ? entry->version - 1 : entry->version;
}

static uint32_t random_reply_max(void) {
	return once_in(6) ? (uint32_t)below(60) : (uint32_t)ALL;
}

static void assert_same_value(struct view view, const struct model_value *value) {
	struct kv_bytes bytes = view_bytes(view);

	ck_assert_uint_eq(bytes.size, value->size);
	ck_assert(bytes.size == 0 || memcmp(bytes.data, value->bytes, bytes.size) == 0);
}

static void assert_same_reply(const struct reply *reply, const struct model_reply *wanted) {
	ck_assert_int_eq(reply->status, wanted->status);
	ck_assert_uint_eq(reply->current, wanted->current);
	ck_assert_uint_eq(reply->old_version, wanted->old_version);
	assert_same_value(reply->value, &wanted->old);
}

static void count_answer(const struct reply *reply) {
	/* A refusal for lack of room waits for its own keys only. */
	if (reply->status == KV_FULL)
		ck_assert_uint_le(reply->position, model.position);
	else
		ck_assert_uint_eq(reply->position, model.position);
	ck_assert_uint_eq(world.tape.count, model.position);
	answers[reply->status]++;
}

/* --- Steps --------------------------------------------------------------------------------- */

static void step_get(void) {
	uint64_t epoch = random_epoch();
	uint32_t reply_max = random_reply_max();
	size_t index = below(MODEL_KEYS);
	const struct model_entry *entry = &model.entries[index];
	enum kv_status status = KV_OK;
	struct reply reply;

	if (entry->version == 0)
		status = KV_NOKEY;
	else if (entry->value.size > reply_max)
		status = KV_TOOBIG;
	if (epoch != 0 && epoch != EPOCH)
		status = KV_EPOCH;
	service_get(world.service, epoch, model.keys[index], reply_max, &reply);
	ck_assert_int_eq(reply.status, status);
	if (status == KV_OK) {
		assert_same_value(reply.value, &entry->value);
		ck_assert_uint_eq(reply.current, entry->version);
		ck_assert_uint_eq(reply.position, entry->position);
	}
	drop(&world, &reply);
}

static void step_open(void) {
	static const uint32_t slots[] = {0, 1, 3, 8, SLOTS_MAX, SLOTS_MAX + 1, UINT32_MAX};
	struct operation call = open_call(&world, (uint32_t)below(NONCES), slots[below(7)]);
	uint64_t epoch = random_epoch();
	enum kv_status status = KV_EPOCH;
	uint64_t client_id = 0;
	uint32_t slot_count = 0;

	if (epoch == 0 || epoch == EPOCH)
		status = model_open(&model, &call, world.now_ms, &client_id, &slot_count);
	struct reply reply = run_with(&world, epoch, &call, ALL);
	ck_assert_int_eq(reply.status, status);
	ck_assert_uint_eq(reply.client_id, client_id);
	ck_assert_uint_eq(reply.slots, slot_count);
	count_answer(&reply);
	if (status == KV_OK)
		ids[below(IDS)] = client_id;
}

static uint64_t random_id(void) {
	if (once_in(30))
		return below(5);
	for (int i = 0; i < 3; i++) {
		const struct model_session *session = &model.sessions[below(MODEL_SESSIONS)];
		if (session->is_open)
			return session->client_id;
	}
	return ids[below(IDS)];
}

static void step_close(void) {
	struct operation call = close_call(random_id());
	uint64_t epoch = random_epoch();
	enum kv_status status = KV_EPOCH;

	if (epoch == 0 || epoch == EPOCH)
		status = model_close(&model, call.client_id, world.now_ms);
	struct reply reply = run_with(&world, epoch, &call, ALL);
	ck_assert_int_eq(reply.status, status);
	count_answer(&reply);
}

static void step_expire(void) {
	unsigned most = once_in(2) ? (unsigned)below(3) : 1000;
	unsigned ended = 0;
	uint64_t due_ms = UINT64_MAX;
	bool is_stuck = false;
	struct model_session *oldest;

	world.now_ms += once_in(3) ? below(MODEL_LEASE_MS) : below(20);
	while (!is_stuck && (oldest = model_oldest(&model, false)) != NULL) {
		uint64_t idle_ms = world.now_ms - oldest->active_ms;
		if (idle_ms < MODEL_LEASE_MS || ended == most) {
			due_ms = idle_ms < MODEL_LEASE_MS ? MODEL_LEASE_MS - idle_ms : 0;
			break;
		}
		uint64_t client_id = oldest->client_id;
		is_stuck = !model_expire(&model, oldest);
		ids[below(IDS)] = client_id;
		ended++;
	}
	uint64_t wait_ms = service_expire(world.service, most, world.now_ms);
	if (is_stuck)
		ck_assert(wait_ms > 0 && wait_ms < UINT64_MAX);
	else
		ck_assert_uint_eq(wait_ms, due_ms);
	ck_assert_uint_eq(world.tape.count, model.position);
}

/* A seq near the last one, or a copy of the last call, perhaps with something changed. */
static void aim(struct operation *call) {
	const struct model_session *session = model_session(&model, call->client_id);

	call->slot = (uint32_t)below(once_in(5) ? SLOTS_MAX + 2 : 2);
	call->seq = below(10);
	if (session == NULL || call->slot >= session->slot_count)
		return;
	const struct model_call *last = &session->slots[call->slot].last;
	if (once_in(3) && last->operation.seq != 0) {
		struct kv_bytes value = call->value;
		*call = last->operation;
		if (once_in(10))
			call->value = value;
		if (once_in(10))
			call->want_old = !call->want_old;
		return;
	}
	call->seq = last->operation.seq + 1 + (once_in(5) ? below(1000) : 0);
	if (once_in(10))
		call->seq = last->operation.seq - below(3);
	if (once_in(3000))
		call->seq = UINT64_MAX;
}

static void step_write(void) {
	uint32_t reply_max = random_reply_max();
	uint64_t epoch = random_epoch();
	struct operation call = {
	    .kind = once_in(2) ? OPERATION_PUT : OPERATION_APPEND,
	    .client_id = once_in(15) ? 0 : random_id(),
	    .key = random_key(),
	    .value = random_value(),
	    .want_old = once_in(2),
	};

	call.expected = random_expected(call.key);
	aim(&call);
	expected = (struct model_reply){.status = KV_EPOCH};
	if (epoch == 0 || epoch == EPOCH) {
		expected.status = KV_OK;
		model_run_write(&model, &call, reply_max, world.now_ms, &expected);
	}
	struct reply reply = run_with(&world, epoch, &call, reply_max);
	assert_same_reply(&reply, &expected);
	count_answer(&reply);
	drop(&world, &reply);
}

static void step(void) {
	world.tape.is_full = model.journal_is_full = once_in(40);
	switch (below(20)) {
	case 0:
		step_open();
		break;
	case 1:
		if (once_in(6))
			step_close();
		break;
	case 2:
		step_expire();
		break;
	case 3:
	case 4:
		step_get();
		break;
	default:
		step_write();
	}
}

/* --- Comparing ----------------------------------------------------------------------------- */

static void assert_same_entries(struct world *other, bool has_positions) {
	uint64_t keys = 0;

	for (size_t i = 0; i < MODEL_KEYS; i++) {
		const struct model_entry *entry = &model.entries[i];
		struct reply reply;
		service_get(other->service, 0, model.keys[i], ALL, &reply);
		ck_assert_int_eq(reply.status, entry->version == 0 ? KV_NOKEY : KV_OK);
		ck_assert_uint_eq(reply.current, entry->version);
		assert_same_value(reply.value, &entry->value);
		ck_assert_uint_eq(reply.position, has_positions ? entry->position : 0);
		drop(other, &reply);
		keys += entry->version != 0;
	}
	ck_assert_uint_eq(counters(other).keys, keys);
}

/* Sends a copy of what each slot ran last: of those applied, which is all that a journal knows. */
static size_t assert_same_slots(struct world *other, bool is_replica) {
	uint64_t sessions = 0;
	size_t copies = 0;

	for (size_t i = 0; i < MODEL_SESSIONS; i++) {
		const struct model_session *session = &model.sessions[i];
		sessions += session->is_open;
		for (size_t j = 0; session->is_open && j < SLOTS_MAX; j++) {
			const struct model_slot *slot = &session->slots[j];
			const struct model_call *call = is_replica ? &slot->applied : &slot->last;
			if (call->operation.seq == 0)
				continue;
			struct reply reply;
			service_run(other->service, 0, &call->operation, ALL, 0, &reply);
			assert_same_reply(&reply, &call->reply);
			drop(other, &reply);
			copies++;
		}
	}
	ck_assert_uint_eq(counters(other).sessions, sessions);
	return copies;
}

static void start(void) {
	static char keys[MODEL_KEYS][8];
	struct service_limits limits = *usual_limits();

	prng.state = seed;
	for (size_t i = 0; i < VALUE_BYTES; i++)
		value_bytes[i] = (unsigned char)prng_next(&prng);
	for (size_t i = 0; i < MODEL_KEYS; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "key %zu", i);
		model.keys[i] = text(keys[i]);
	}
	limits.value_max = MODEL_VALUE_MAX;
	limits.sessions_max = MODEL_SESSIONS;
	limits.lease_ms = MODEL_LEASE_MS;
	world_open(&world, &limits, true);

	/* Other limits, for what was recorded is applied whatever they are now. */
	limits.value_max = 1;
	limits.memory_max = 1;
	limits.sessions_max = 1;
	world_open(&replica, &limits, false);
}

static void stop(void) {
	world_close(&replica);
	world_close(&world);
}

static void replay(void) {
	for (; replayed < world.tape.count; replayed++)
		ck_assert(service_apply(replica.service, &world.tape.operations[replayed],
					world.tape.times_ms[replayed], NULL));
}

CASE(model, .setup = start, .teardown = stop);

TEST(any_run_answers_as_the_model_and_is_replayed_to_the_same_state) {
	static const enum kv_status reached[] = {
	    KV_OK,	    KV_NOKEY,  KV_VERSION, KV_MAYBE,   KV_BADSESSION, KV_STALE,
	    KV_FALSE_RETRY, KV_TOOBIG, KV_FULL,	   KV_INVALID, KV_EPOCH,
	};
	size_t copies = 0;

	for (uint64_t i = 0; i < steps; i++) {
		step();
		if (i % 500 != 0)
			continue;
		replay();
		assert_same_entries(&world, true);
		assert_same_entries(&replica, false);
		copies += assert_same_slots(&replica, true);
	}
	replay();
	assert_same_entries(&world, true);
	assert_same_entries(&replica, false);
	(void)assert_same_slots(&world, false);
	(void)assert_same_slots(&replica, true);
	ck_assert_uint_eq(counters(&replica).writes_applied, counters(&world).writes_applied);
	ck_assert_uint_eq(counters(&replica).sessions_opened, counters(&world).sessions_opened);
	ck_assert_uint_eq(counters(&replica).sessions_expired, counters(&world).sessions_expired);

	printf("figure: %zu recorded, %zu expired, %zu replies compared after replay\n",
	       world.tape.count, (size_t)counters(&world).sessions_expired, copies);
	/* That it was a run worth making. */
	for (size_t i = 0; steps >= USUAL_STEPS && i < sizeof(reached) / sizeof(reached[0]); i++)
		ck_assert_msg(answers[reached[i]] > 0, "never %s", kv_status_name(reached[i]));
}

BEFORE_ALL {
	seed = test_seed();
	steps = test_number("STEPS", steps);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that are no state are refused, whatever they are, and cost no more memory than a state of
 * their size may.
 *
 * The seed is printed; an argument or $SEED repeats it, $STEPS says how far.
 */
#include <time.h>

#include "le.h"
#include "snapshot_fixture.h"
#include "test.h"

enum { USUAL_STEPS = 20000 };

static uint64_t seed;
static uint64_t steps = USUAL_STEPS;

static struct prng prng;
static struct world original;
static struct world copy;
static struct bytes saved;

static uint64_t below(uint64_t limit) {
	return prng_next(&prng) % limit;
}

static void start(void) {
	prng.state = seed;
	world_open(&original, usual_limits(), false);
	world_open(&copy, usual_limits(), false);
}

static void stop(void) {
	world_close(&original);
	world_close(&copy);
	bytes_free(&saved);
}

static void save_small(void) {
	make_small(&original);
	save(original.service, &saved);
}

static enum state_result load_damaged(const struct bytes *bytes) {
	service_free(copy.service);
	copy.service = another(original.service);
	return load(copy.service, bytes);
}

CASE(snapshot_invalid, .setup = start, .teardown = stop);

TEST(every_beginning_of_a_state_is_refused) {
	save_small();
	for (size_t size = 0; size < saved.size; size++) {
		struct bytes cut = {.data = saved.data, .size = size};
		ck_assert_int_eq(load_damaged(&cut), STATE_INVALID);
	}
	ck_assert_int_eq(load_damaged(&saved), STATE_DONE);
}

TEST(without_memory_loading_says_so_at_every_allocation) {
	enum state_result answer = STATE_NO_MEMORY;
	unsigned fails = 0;

	save_small();
	for (; answer == STATE_NO_MEMORY; fails++) {
		service_free(copy.service);
		copy.service = another(original.service);
		service_memory(copy.service)->fail_in = fails + 1;
		answer = load(copy.service, &saved);
	}
	ck_assert_int_eq(answer, STATE_DONE);
	ck_assert_uint_ge(fails, 10);
}

TEST(saving_stops_when_its_bytes_are_not_taken) {
	save_small();
	for (size_t room = 0; room < saved.size; room++) {
		struct bytes small = {.limit = room, .is_limited = true};
		ck_assert_int_eq(service_save(original.service, bytes_put, &small), STATE_INVALID);
		bytes_free(&small);
	}
}

/* Where things stand in a state of one entry, a key of one byte and a value of two, and one
 * session. */
enum {
	AT_ENTRIES = 16,
	AT_VERSION = 24,
	AT_VALUE_SIZE = 32,
	AT_KEY_SIZE = 36,
	AT_NUMBERED = 38,
	AT_KEPT = 43,
	AT_SESSIONS = 51,
	AT_CLIENT = 59,
	AT_ACTIVE = 67,
	AT_SLOTS = 91,
	AT_USED = 92,
	AT_OWNER_SIZE = 93,
	AT_SLOT = 94,
};

TEST(each_claim_that_cannot_be_is_refused) {
	static const struct {
		const char *what;
		size_t offset;
		size_t size;
		uint64_t number;
	} lies[] = {
	    {"entries without end", AT_ENTRIES, 8, UINT64_MAX},
	    {"one entry more", AT_ENTRIES, 8, 2},
	    {"no entry", AT_ENTRIES, 8, 0},
	    {"version 0", AT_VERSION, 8, 0},
	    {"a value of 4 GiB", AT_VALUE_SIZE, 4, UINT32_MAX},
	    {"a value above the limit", AT_VALUE_SIZE, 4, VALUE_MAX + 1},
	    {"an empty key", AT_KEY_SIZE, 2, 0},
	    {"a key above the limit", AT_KEY_SIZE, 2, KEY_MAX + 1},
	    {"a flag that is none", AT_NUMBERED, 2, 4},
	    {"an entry without the number that is asked for", AT_NUMBERED, 2, 0},
	    {"kept values without end", AT_KEPT, 8, UINT64_MAX / 2},
	    {"sessions without end", AT_SESSIONS, 8, UINT64_MAX / 4},
	    {"client id 0", AT_CLIENT, 8, 0},
	    {"active after the time", AT_ACTIVE, 8, 1000},
	    {"no slots", AT_SLOTS, 1, 0},
	    {"too many slots", AT_SLOTS, 1, SLOTS_MAX + 1},
	    {"more slots used than given", AT_USED, 1, SLOTS_MAX + 1},
	    {"an owner that is not there", AT_OWNER_SIZE, 1, 200},
	    {"a slot that was not given", AT_SLOT, 1, SLOTS_MAX},
	    {"a status that is none", AT_SLOT + 1, 1, KV_UNMET + 1},
	    {"a bool that is none", AT_SLOT + 2, 1, 2},
	    {"an old value of nothing", AT_SLOT + 2, 1, 0},
	    {"a condition that refused what was done", AT_SLOT + 3, 1, 1},
	    {"a number that is not there", AT_SLOT + 4, 4, 2},
	    {"a size without a number", AT_SLOT + 4, 4, 0},
	    {"a number without a size", AT_SLOT + 8, 4, 0},
	    {"an old value longer than its buffer", AT_SLOT + 8, 4, 3},
	    {"seq 0", AT_SLOT + 12, 8, 0},
	    {"an old version of a first one", AT_SLOT + 28, 8, 1},
	};
	uint64_t client = open_session(&original, 1);
	struct operation call = put_call(client, 1, "k", "v");
	ck_assert_int_eq(status_of(&original, &call), KV_OK);
	call = append_call(client, 2, "k", "w");
	ck_assert_int_eq(status_of(&original, &call), KV_OK);
	save(original.service, &saved);
	/* The layout that is written down above, and in state_codec.h. */
	ck_assert_uint_eq(saved.size, AT_SLOT + 36);

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		size_t offset = lies[i].offset;
		uint8_t number[8];
		uint8_t before[8];
		le_put64(number, lies[i].number);
		memcpy(before, saved.data + offset, lies[i].size);
		ck_assert_msg(memcmp(before, number, lies[i].size) != 0, "%s", lies[i].what);
		memcpy(saved.data + offset, number, lies[i].size);
		ck_assert_msg(load_damaged(&saved) == STATE_INVALID, "%s", lies[i].what);
		memcpy(saved.data + offset, before, lies[i].size);
	}
	ck_assert_int_eq(load_damaged(&saved), STATE_DONE);
}

TEST(nothing_is_allocated_for_bytes_that_are_not_there) {
	uint8_t size[4];

	set(&original, "k", text("vw"));
	save(original.service, &saved);
	le_put32(size, VALUE_MAX);
	memcpy(saved.data + AT_VALUE_SIZE, size, sizeof(size));
	service_free(copy.service);
	copy.service = another(original.service);
	service_memory(copy.service)->fail_in = 1;
	/* Asking for memory would be noticed. */
	ck_assert_int_eq(load(copy.service, &saved), STATE_INVALID);
}

/* Copies what stands at one place to another, and then it is no state any more. */
static void assert_refused_with(size_t from, size_t to, size_t size) {
	uint8_t before[16];

	memcpy(before, saved.data + to, size);
	ck_assert(memcmp(before, saved.data + from, size) != 0);
	memcpy(saved.data + to, saved.data + from, size);
	ck_assert_int_eq(load_damaged(&saved), STATE_INVALID);
	memcpy(saved.data + to, before, size);
	ck_assert_int_eq(load_damaged(&saved), STATE_DONE);
}

TEST(whatever_stands_twice_is_refused) {
	enum { KEY = 40, SESSION = 76, SLOT = SESSION + 2 * 35 };

	set(&original, "x", text("1"));
	set(&original, "y", text("2"));
	(void)open_session(&original, 1);
	uint64_t client = open_session(&original, 2);
	for (uint32_t i = 0; i < 2; i++) {
		struct operation call = put_call(client, 1, "x", "1");
		call.slot = i;
		ck_assert_int_eq(status_of(&original, &call), KV_OK);
	}
	save(original.service, &saved);
	assert_refused_with(KEY, KEY + 18, 1);
	assert_refused_with(SESSION, SESSION + 35, 8);
	assert_refused_with(SLOT, SLOT + 36, 1);
}

TEST(sessions_in_another_order_are_refused) {
	enum { ACTIVE = 48 };

	(void)open_session(&original, 1);
	original.now_ms = 9;
	(void)open_session(&original, 2);
	save(original.service, &saved);
	ck_assert_uint_eq(le_get64(saved.data + ACTIVE), 1);
	le_put64(saved.data + ACTIVE + 35, 8);
	ck_assert_int_eq(load_damaged(&saved), STATE_DONE);
	le_put64(saved.data + ACTIVE, 9);
	ck_assert_int_eq(load_damaged(&saved), STATE_INVALID);
}

static void damage(struct bytes *bytes) {
	static const uint64_t numbers[] = {0, 1, 2, 64, 65, 1024, 1025, UINT32_MAX, UINT64_MAX};
	size_t at = below(bytes->size);
	size_t size = 1ul << below(4);
	uint8_t number[8];

	switch (below(4)) {
	case 0:
		bytes->data[at] ^= (uint8_t)(1 << below(8));
		break;
	case 1:
		le_put64(number, numbers[below(sizeof(numbers) / sizeof(numbers[0]))]);
		memcpy(bytes->data + at, number, size < bytes->size - at ? size : bytes->size - at);
		break;
	case 2:
		bytes->data[at] = (uint8_t)below(256);
		break;
	case 3:
		memmove(bytes->data + at, bytes->data + below(at + 1), bytes->size - at);
		break;
	}
}

TEST(damaged_bytes_are_refused_or_make_another_state) {
	struct bytes again = {0};
	size_t loaded = 0;

	save_small();
	uint8_t *right = malloc(saved.size);
	ck_assert_ptr_nonnull(right);
	memcpy(right, saved.data, saved.size);
	for (uint64_t i = 0; i < steps; i++) {
		memcpy(saved.data, right, saved.size);
		for (uint64_t j = 1 + below(3); j > 0; j--)
			damage(&saved);
		enum state_result answer = load_damaged(&saved);
		ck_assert_int_ne(answer, STATE_NO_MEMORY);
		/* No more than 64 KiB for some hundred bytes, with three tables. */
		ck_assert_uint_lt(used(&copy), 65536);
		if (answer != STATE_DONE)
			continue;
		loaded++;
		save(copy.service, &again);
		ck_assert_int_eq(load_damaged(&again), STATE_DONE);
	}
	printf("figure: %zu damages, of which %zu made another state\n", (size_t)steps, loaded);
	ck_assert(steps < USUAL_STEPS || (loaded > 0 && loaded < steps));
	free(right);
	bytes_free(&again);
}

BEFORE_ALL {
	seed = test_seed();
	steps = test_number("STEPS", steps);
}

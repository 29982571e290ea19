/* SPDX-License-Identifier: BSD-3-Clause */
/* The ordered index: it agrees with a sorted array, and its nodes come and go with the keys. */
#include "core/key_index.h"
#include "fixture.h"
#include "test.h"

enum {
	MANY = 20000,
	KEY_SIZE_MAX = 40,
	STEPS = 40000,
};

struct element {
	uint16_t size;
	unsigned char key[KEY_SIZE_MAX];
};

static struct mem_account memory;
static struct key_index keys;
static struct element elements[MANY];
static struct element *present[MANY]; /* in no order */
static size_t present_count;
static uint64_t random_state;

static struct kv_bytes key_of(const void *element) {
	const struct element *read = element;

	return (struct kv_bytes){read->key, read->size};
}

static void start(void) {
	memory = (struct mem_account){.limit = SIZE_MAX};
	ck_assert(key_index_init(&keys, &memory, key_of));
}

static void nothing_is_left(void) {
	key_index_destroy(&keys);
	ck_assert_uint_eq(memory.used, 0);
}

static size_t below(size_t limit) {
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

static int in_order(const void *one, const void *other) {
	struct kv_bytes a = key_of(*(struct element *const *)one);
	struct kv_bytes b = key_of(*(struct element *const *)other);
	int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void insert(struct element *element) {
	ck_assert(key_index_reserve_one(&keys, key_of(element)));
	key_index_insert(&keys, element);
}

static void number(struct element *element, unsigned value) {
	element->size = (uint16_t)snprintf((char *)element->key, KEY_SIZE_MAX, "key/%08u", value);
}

/* The elements that key_index_foreach() must show, and where it is. */
struct expected {
	struct element **sorted;
	size_t at;
	size_t count;
};

static bool is_next(void *context, void *element) {
	struct expected *expected = context;

	ck_assert_uint_lt(expected->at, expected->count);
	ck_assert_ptr_eq(expected->sorted[expected->at], element);
	expected->at++;
	return true;
}

static void agrees(void) {
	static struct element *sorted[MANY];
	struct expected all = {.sorted = sorted, .count = present_count};

	memcpy(sorted, present, present_count * sizeof(sorted[0]));
	qsort(sorted, present_count, sizeof(sorted[0]), in_order);
	ck_assert_uint_eq(keys.count, present_count);
	ck_assert(key_index_foreach(&keys, (struct kv_bytes){0}, false, is_next, &all));
	ck_assert_uint_eq(all.at, present_count);
	for (int i = 0; i < 20 && present_count > 0; i++) {
		size_t at = below(present_count);
		bool is_after = i % 2 != 0;
		struct expected rest = {
		    .sorted = sorted, .at = at + is_after, .count = present_count};

		ck_assert(key_index_foreach(&keys, key_of(sorted[at]), is_after, is_next, &rest));
		ck_assert_uint_eq(rest.at, present_count);
	}
}

static bool is_present(const struct element *wanted) {
	for (size_t i = 0; i < present_count; i++)
		if (present[i]->size == wanted->size &&
		    memcmp(present[i]->key, wanted->key, wanted->size) == 0)
			return true;
	return false;
}

/* Few letters and zeros, so that keys begin alike and are prefixes of others. */
static void random_key(struct element *element, unsigned letters) {
	size_t begin = below(3) == 0 ? 8 : 0;

	memcpy(element->key, "prefix:/", 8);
	element->size = (uint16_t)(begin + 1 + below(24));
	for (size_t i = begin; i < element->size; i++)
		element->key[i] = (unsigned char)(below(letters + 1) + (below(9) == 0 ? 0 : 'a'));
}

CASE(key_index, .setup = start, .teardown = nothing_is_left);

LOOP_TEST(it_agrees_with_a_sorted_array_as_keys_come_and_go, 0, 6) {
	static struct element *unused[MANY];
	size_t unused_count = MANY;

	random_state = (uint64_t)_i * 7919 + 88172645463325252;
	for (size_t i = 0; i < MANY; i++)
		unused[i] = &elements[i];
	for (unsigned step = 0; step < STEPS; step++) {
		bool grows = step / 4000 % 2 == 0;

		if (present_count == 0 || below(100) < (grows ? 75 : 20)) {
			struct element *element = unused[unused_count - 1];

			random_key(element, (unsigned)_i + 1);
			if (is_present(element))
				continue;
			insert(element);
			present[present_count++] = element;
			unused_count--;
		} else {
			size_t at = below(present_count);

			key_index_remove(&keys, present[at]);
			unused[unused_count++] = present[at];
			present[at] = present[--present_count];
		}
		if (step % 1999 == 0)
			agrees();
	}
	while (present_count > 0)
		key_index_remove(&keys, present[--present_count]);
	ck_assert_uint_eq(keys.count, 0);
	ck_assert_uint_eq(keys.height, 0);
}

TEST(keys_in_order_fill_the_leaves) {
	size_t before = memory.used;

	for (unsigned i = 0; i < MANY; i++) {
		number(&elements[i], i);
		insert(&elements[i]);
	}
	printf("figure: %.2f bytes a key, in order\n", (double)(memory.used - before) / MANY);
	ck_assert_uint_lt((memory.used - before) / MANY, 11);
}

TEST(keys_in_no_order_take_little_more) {
	for (unsigned i = 0; i < MANY; i++) {
		number(&elements[i], (unsigned)((uint64_t)i * 7919 % 99999989));
		insert(&elements[i]);
	}
	printf("figure: %.2f bytes a key, in no order\n", (double)memory.used / MANY);
	ck_assert_uint_lt(memory.used / MANY, 13);
}

TEST(an_element_takes_the_place_of_another_with_its_key) {
	struct element other;
	struct expected one = {.sorted = (struct element *[]){&other}, .count = 1};

	number(&elements[0], 1);
	other = elements[0];
	insert(&elements[0]);
	key_index_replace(&keys, &elements[0], &other);
	ck_assert(key_index_foreach(&keys, (struct kv_bytes){0}, false, is_next, &one));
	ck_assert_uint_eq(one.at, 1);
	key_index_remove(&keys, &other);
}

static bool stop_at_once(void *context, void *element) {
	(void)element;
	++*(unsigned *)context;
	return false;
}

TEST(a_walk_ends_when_it_is_told_to) {
	unsigned shown = 0;

	for (unsigned i = 0; i < 1000; i++) {
		number(&elements[i], i);
		insert(&elements[i]);
	}
	ck_assert(!key_index_foreach(&keys, (struct kv_bytes){0}, false, stop_at_once, &shown));
	ck_assert_uint_eq(shown, 1);
}

TEST(without_memory_a_reserve_fails_and_the_next_one_goes_on) {
	unsigned refused = 0;

	for (unsigned i = 0; i < 4000; i++) {
		number(&elements[i], i * 7919 % 99991);
		for (unsigned fail = 1;; fail++) {
			memory.fail_in = fail;
			if (key_index_reserve_one(&keys, key_of(&elements[i])))
				break;
			refused++;
		}
		memory.fail_in = 0;
		key_index_insert(&keys, &elements[i]);
		present[present_count++] = &elements[i];
	}
	ck_assert_uint_gt(refused, 0);
	agrees();
}

TEST(an_index_that_was_large_takes_no_more_than_an_empty_one) {
	size_t empty = memory.used;

	for (unsigned i = 0; i < MANY; i++) {
		number(&elements[i], i * 7919U % MANY);
		insert(&elements[i]);
	}
	for (unsigned i = 0; i < MANY; i++)
		key_index_remove(&keys, &elements[i]);
	ck_assert_uint_eq(memory.used, empty);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash table: it finds what is in it, and grows and shrinks in small steps. */
#include "core/hash_table.h"
#include "fixture.h"
#include "test.h"

enum { MANY = 100000 };

struct element {
	uint64_t number;
};

static struct mem_account memory;
static struct hash_table table;
static struct element elements[MANY];
static size_t hashes; /* asked for */

static size_t looks; /* at elements, to compare them */

static uint64_t hash_number(uint64_t seed, const void *element) {
	hashes++;
	return hash_bytes(seed, &((const struct element *)element)->number, sizeof(uint64_t));
}

static uint64_t hash_all_alike(uint64_t seed, const void *element) {
	(void)seed;
	(void)element;
	return 12345;
}

static bool is_same(const void *element, const void *wanted) {
	looks++;
	return element == wanted;
}

static void start(void) {
	memory = (struct mem_account){.limit = SIZE_MAX};
	for (size_t i = 0; i < MANY; i++)
		elements[i] = (struct element){.number = i * 3};
	ck_assert(hash_table_init(&table, &memory, hash_number, 99));
}

static void nothing_is_left(void) {
	hash_table_destroy(&table);
	ck_assert_uint_eq(memory.used, 0);
}

static void insert(size_t index) {
	ck_assert(hash_table_reserve_one(&table));
	hash_table_insert(&table, &elements[index]);
}

static bool found(size_t index) {
	uint64_t hash = hash_number(table.seed, &elements[index]);

	return hash_table_find(&table, hash, is_same, &elements[index]) == &elements[index];
}

CASE(hash_table, .setup = start, .teardown = nothing_is_left);

TEST(what_was_inserted_is_found_at_every_size) {
	for (size_t i = 0; i < MANY; i++) {
		ck_assert(!found(i));
		insert(i);
		ck_assert(found(i) && found(i / 2) && found(i / 3));
	}
	for (size_t i = 0; i < MANY; i++)
		ck_assert(found(i));
	ck_assert_uint_eq(table.count, MANY);
}

TEST(what_was_removed_is_gone_and_the_others_are_found_at_every_size) {
	for (size_t i = 0; i < MANY; i++)
		insert(i);
	for (size_t i = 0; i < MANY; i++) {
		hash_table_remove(&table, &elements[i]);
		ck_assert(!found(i));
		ck_assert(i + 1 == MANY || (found(i + 1) && found((i + MANY) / 2)));
	}
	ck_assert_uint_eq(table.count, 0);
}

TEST(an_empty_table_is_as_small_as_a_new_one) {
	size_t before = memory.used;

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < MANY; i++)
			insert(i);
		ck_assert_uint_gt(memory.used, before + MANY * 13);
		ck_assert_uint_lt(memory.used, before + MANY * 15);
		for (size_t i = 0; i < MANY; i++)
			hash_table_remove(&table, &elements[i]);
		ck_assert_uint_eq(memory.used, before);
	}
}

TEST(no_insert_and_no_removal_looks_at_many) {
	size_t most = 0;

	for (size_t i = 0; i < MANY; i++) {
		hashes = 0;
		insert(i);
		most = hashes > most ? hashes : most;
	}
	for (size_t i = 0; i < MANY; i++) {
		hashes = 0;
		hash_table_remove(&table, &elements[i]);
		most = hashes > most ? hashes : most;
	}
	ck_assert_uint_lt(most, 40);
}

TEST(what_is_found_is_as_good_as_always_the_first_that_is_looked_at) {
	for (size_t i = 0; i < MANY; i++)
		insert(i);
	looks = 0;
	for (size_t i = 0; i < MANY; i++)
		ck_assert(found(i));
	ck_assert_uint_ge(looks, MANY);
	ck_assert_uint_lt(looks, MANY + MANY / 50);
}

TEST(what_took_the_place_of_another_is_found_instead_of_it) {
	static struct element others[MANY];

	for (size_t i = 0; i < MANY; i++)
		insert(i);
	for (size_t i = 0; i < MANY; i += 3) {
		uint64_t hash = hash_number(table.seed, &elements[i]);
		others[i] = elements[i];
		hash_table_replace(&table, hash, &elements[i], &others[i]);
		ck_assert(!found(i));
		ck_assert_ptr_eq(hash_table_find(&table, hash, is_same, &others[i]), &others[i]);
		ck_assert(found(i + 1 < MANY ? i + 1 : 1));
	}
	ck_assert_uint_eq(table.count, MANY);
}

TEST(after_reserve_an_insert_needs_no_memory) {
	for (size_t i = 0; i < MANY; i++) {
		size_t growth = hash_table_reserve_cost(&table);
		size_t before = memory.used;
		ck_assert(hash_table_reserve_one(&table));
		ck_assert(hash_table_reserve_one(&table));
		ck_assert_uint_eq(memory.used, before + growth);
		memory.fail_in = 1;
		hash_table_insert(&table, &elements[i]);
		ck_assert_uint_eq(memory.fail_in, 1);
		memory.fail_in = 0;
	}
}

TEST(without_memory_reserve_fails_and_the_table_is_as_it_was) {
	size_t failures = 0;

	for (size_t i = 0; i < MANY; i++) {
		size_t before = memory.used;
		memory.fail_in = 1;
		if (!hash_table_reserve_one(&table)) {
			failures++;
			ck_assert_uint_eq(memory.used, before);
			ck_assert(i == 0 || found(i - 1));
		}
		memory.fail_in = 0;
		insert(i);
	}
	ck_assert_uint_gt(failures, 50);
}

TEST(elements_of_one_hash_are_all_found) {
	struct hash_table alike;

	ck_assert(hash_table_init(&alike, &memory, hash_all_alike, 1));
	for (size_t i = 0; i < 2000; i++) {
		ck_assert(hash_table_reserve_one(&alike));
		hash_table_insert(&alike, &elements[i]);
	}
	for (size_t i = 0; i < 2000; i += 2)
		hash_table_remove(&alike, &elements[i]);
	for (size_t i = 0; i < 2000; i++)
		ck_assert((hash_table_find(&alike, 12345, is_same, &elements[i]) != NULL) ==
			  (i % 2));
	ck_assert_uint_eq(alike.count, 1000);
	hash_table_destroy(&alike);
}

static void mark(void *context, void *element) {
	(*(size_t *)context)++;
	*(struct element *)element = (struct element){.number = UINT64_MAX};
}

TEST(drain_hands_each_element_over_once) {
	size_t count = 0;

	for (size_t i = 0; i < MANY; i++)
		insert(i);
	hash_table_clear(&table, &count, mark);
	ck_assert_uint_eq(count, MANY);
	for (size_t i = 0; i < MANY; i++)
		ck_assert_uint_eq(elements[i].number, UINT64_MAX);
	ck_assert_uint_eq(table.count, 0);
}

TEST(a_presized_table_is_as_large_as_one_that_grew) {
	static const size_t counts[] = {0, 1, 639, 640, 641, 5000, MANY};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		nothing_is_left();
		start();
		ck_assert(hash_table_reserve_total(&table, counts[i]));
		size_t presized = memory.used;
		size_t buckets = table.buckets;
		for (size_t j = 0; j < counts[i]; j++)
			insert(j);
		/* More lines for crowded buckets, and nothing else. */
		ck_assert_uint_le(memory.used, presized + counts[i] * 5);
		ck_assert_uint_eq(table.buckets, buckets);
		size_t grown = memory.used;
		for (size_t j = 0; j < counts[i]; j++)
			ck_assert(found(j));
		nothing_is_left();
		start();
		for (size_t j = 0; j < counts[i]; j++)
			insert(j);
		ck_assert_uint_eq(memory.used, grown);
		ck_assert_uint_eq(table.buckets, buckets);
	}
}

TEST(without_memory_presize_fails_and_the_table_can_be_used) {
	for (unsigned fail_in = 1; fail_in < 8; fail_in++) {
		memory.fail_in = fail_in;
		ck_assert(!hash_table_reserve_total(&table, MANY));
	}
	memory.fail_in = 0;
	for (size_t i = 0; i < MANY; i++)
		insert(i);
	for (size_t i = 0; i < MANY; i++)
		ck_assert(found(i));
}

static bool count_up_to(void *context, void *element) {
	size_t *left = context;

	ck_assert(((const struct element *)element)->number % 3 == 0);
	return --*left > 0;
}

TEST(each_element_is_shown_once_until_the_visitor_has_enough) {
	size_t left = MANY + 1;

	for (size_t i = 0; i < MANY; i++)
		insert(i);
	ck_assert(hash_table_foreach(&table, &left, count_up_to));
	ck_assert_uint_eq(left, 1);
	left = 10;
	ck_assert(!hash_table_foreach(&table, &left, count_up_to));
	ck_assert_uint_eq(left, 0);
}

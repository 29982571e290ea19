/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers and views: bytes that others share stay what they were. */
#include <malloc.h>

#include "core_world.h"

static struct memory memory;

static void start(void) {
	memory = (struct memory){.limit = SIZE_MAX};
}

static void nothing_is_left(void) {
	ck_assert_uint_eq(memory.used, 0);
}

static struct view made(struct kv_bytes bytes) {
	struct view view;

	ck_assert(view_make(&memory, bytes, &view));
	return view;
}

static void append(struct view *view, struct kv_bytes bytes) {
	ck_assert(view_reserve(&memory, view, bytes.size));
	view_append(view, bytes);
}

START_TEST(a_view_sees_a_copy_of_its_bytes) {
	char bytes[] = "abc";
	struct view view = made(text(bytes));

	bytes[0] = 'x';
	ck_assert(is_text(view, "abc"));
	view_drop(&memory, &view);
	ck_assert_ptr_null(view.buffer);
	ck_assert_uint_eq(view.size, 0);
}
END_TEST

START_TEST(no_bytes_take_no_buffer) {
	struct view view = made(text(""));

	ck_assert_ptr_null(view.buffer);
	ck_assert_uint_eq(memory.used, 0);
	ck_assert_uint_eq(view_bytes(view).size, 0);
	append(&view, text(""));
	ck_assert_ptr_null(view.buffer);
	view_drop(&memory, &view);
}
END_TEST

START_TEST(an_empty_view_gets_a_buffer_when_bytes_are_appended) {
	struct view view = made(text(""));

	append(&view, text("abc"));
	ck_assert(is_text(view, "abc"));
	view_drop(&memory, &view);
}
END_TEST

START_TEST(a_view_of_no_bytes_keeps_no_buffer_alive) {
	struct view view = made(text(""));

	ck_assert(view_reserve(&memory, &view, 100));
	struct view held = view_hold(view);
	view_drop(&memory, &view);
	ck_assert_uint_eq(memory.used, 0);
	view_drop(&memory, &held);
}
END_TEST

START_TEST(the_last_view_frees_the_buffer) {
	struct view first = made(zeros(5000));
	struct view second = view_hold(first);
	size_t before = memory.used;

	view_drop(&memory, &first);
	ck_assert_uint_eq(memory.used, before);
	view_drop(&memory, &second);
	ck_assert_uint_eq(memory.used, 0);
}
END_TEST

/* Through every place that the bytes can be in, with an old view of each length. */
START_TEST(an_old_view_stays_what_it_was_whatever_is_appended) {
	enum { STEPS = 3000 };
	static struct view old[STEPS];
	struct view view = made(text(""));
	char expected[STEPS];

	for (size_t i = 0; i < STEPS; i++) {
		char letter = (char)('a' + i % 26);
		expected[i] = letter;
		old[i] = view_hold(view);
		append(&view, (struct kv_bytes){.data = &letter, .size = 1});
	}
	for (size_t i = 0; i < STEPS; i++) {
		struct kv_bytes bytes = view_bytes(old[i]);
		ck_assert_uint_eq(bytes.size, i);
		ck_assert(i == 0 || memcmp(bytes.data, expected, i) == 0);
		view_drop(&memory, &old[i]);
	}
	view_drop(&memory, &view);
}
END_TEST

START_TEST(appending_byte_by_byte_moves_a_few_times_the_bytes) {
	enum { BYTES = 1000000 };
	struct view view = made(text("x"));
	size_t moves = 0;
	size_t moved = 0;

	for (size_t i = 0; i < BYTES; i++) {
		if (view_growth(view, 1) > 0) {
			moves++;
			moved += view.size;
		}
		append(&view, text("y"));
	}
	ck_assert_uint_lt(moves, 60);
	ck_assert_uint_lt(moved, 4 * BYTES);
	view_drop(&memory, &view);
}
END_TEST

START_TEST(a_thousand_appends_of_a_thousand_bytes_take_less_than_twice_as_much) {
	struct view view = made(text(""));

	for (size_t i = 0; i < 1000; i++)
		append(&view, zeros(1000));
	ck_assert_uint_lt(memory.used, 2000000);
	view_drop(&memory, &view);
}
END_TEST

static const size_t sizes[] = {0,    1,	   15,	 16,   17,   31,    32,	    33,	    100,
			       1000, 1023, 1024, 1025, 4096, 10000, 100000, 1000000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

START_TEST(what_a_view_costs_is_known_before_it_is_made) {
	for (size_t i = 0; i < SIZES; i++) {
		struct view view = made(zeros(sizes[i]));
		ck_assert_uint_eq(memory.used, view_cost(sizes[i]));
		view_drop(&memory, &view);
		ck_assert_uint_eq(memory.used, 0);
	}
}
END_TEST

START_TEST(what_room_costs_is_known_before_it_is_made) {
	for (size_t i = 0; i < SIZES; i++) {
		for (size_t j = 0; j < SIZES; j++) {
			for (int is_shared = 0; is_shared < 2; is_shared++) {
				struct view view = made(zeros(sizes[i]));
				struct view other = {0};
				if (is_shared)
					other = view_hold(view);
				size_t before = memory.used;
				size_t growth = view_growth(view, sizes[j]);
				ck_assert(view_reserve(&memory, &view, sizes[j]));
				ck_assert_uint_eq(memory.used, before + growth);
				ck_assert_uint_eq(view_growth(view, sizes[j]), 0);
				view_append(&view, zeros(sizes[j]));
				ck_assert_uint_eq(view_bytes(view).size, sizes[i] + sizes[j]);
				ck_assert_uint_eq(view_bytes(other).size, is_shared ? sizes[i] : 0);
				view_drop(&memory, &other);
				view_drop(&memory, &view);
				ck_assert_uint_eq(memory.used, 0);
			}
		}
	}
}
END_TEST

START_TEST(what_a_drop_frees_is_known_and_nothing_if_others_hold_it) {
	for (size_t i = 0; i < SIZES; i++) {
		struct view view = made(zeros(sizes[i]));
		append(&view, zeros(77));
		struct view other = view_hold(view);
		ck_assert_uint_eq(view_sole_bytes(view), 0);
		view_drop(&memory, &other);
		ck_assert_uint_eq(view_sole_bytes(view), memory.used);
		view_drop(&memory, &view);
	}
}
END_TEST

START_TEST(without_memory_nothing_is_made_and_nothing_changed) {
	struct view view = {.size = 7};

	memory.fail_in = 1;
	ck_assert(!view_make(&memory, text("abc"), &view));
	ck_assert_uint_eq(view.size, 7);
	memory.fail_in = 2;
	ck_assert(!view_make(&memory, zeros(5000), &view));
	ck_assert_uint_eq(memory.used, 0);

	for (size_t i = 0; i < SIZES; i++) {
		for (int is_shared = 0; is_shared < 2; is_shared++) {
			view = made(zeros(sizes[i]));
			struct view other = {0};
			if (is_shared)
				other = view_hold(view);
			size_t before = memory.used;
			memory.fail_in = 1;
			ck_assert(!view_reserve(&memory, &view, 100000));
			ck_assert_uint_eq(memory.used, before);
			ck_assert_uint_eq(view_bytes(view).size, sizes[i]);
			append(&view, zeros(100000));
			view_drop(&memory, &other);
			view_drop(&memory, &view);
		}
	}
}
END_TEST

/* The count is of glibc's blocks; elsewhere, and under a sanitizer, it may be above the truth. */
START_TEST(a_block_counts_what_malloc_takes_for_it) {
	for (size_t size = 1; size < 3000; size++) {
		void *block = malloc(size);
		ck_assert_uint_le(malloc_usable_size(block) + MEMORY_HEADER, memory_cost(size));
		free(block);
		ck_assert_uint_eq(memory_cost(memory_round(size)), memory_cost(size));
		ck_assert_uint_ge(memory_round(size), size);
	}
}
END_TEST

static void add(TCase *tests) {
	tcase_add_checked_fixture(tests, start, nothing_is_left);
	tcase_add_test(tests, a_view_sees_a_copy_of_its_bytes);
	tcase_add_test(tests, no_bytes_take_no_buffer);
	tcase_add_test(tests, an_empty_view_gets_a_buffer_when_bytes_are_appended);
	tcase_add_test(tests, a_view_of_no_bytes_keeps_no_buffer_alive);
	tcase_add_test(tests, the_last_view_frees_the_buffer);
	tcase_add_test(tests, an_old_view_stays_what_it_was_whatever_is_appended);
	tcase_add_test(tests, appending_byte_by_byte_moves_a_few_times_the_bytes);
	tcase_add_test(tests, a_thousand_appends_of_a_thousand_bytes_take_less_than_twice_as_much);
	tcase_add_test(tests, what_a_view_costs_is_known_before_it_is_made);
	tcase_add_test(tests, what_room_costs_is_known_before_it_is_made);
	tcase_add_test(tests, what_a_drop_frees_is_known_and_nothing_if_others_hold_it);
	tcase_add_test(tests, without_memory_nothing_is_made_and_nothing_changed);
	tcase_add_test(tests, a_block_counts_what_malloc_takes_for_it);
}

int main(void) {
	return run_suite("buffer", add);
}

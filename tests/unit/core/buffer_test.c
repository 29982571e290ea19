/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers and views: bytes that others share stay what they were. */
#include <malloc.h>

#include "fixture.h"
#include "test.h"

static struct mem_account memory;

static void start(void) {
	memory = (struct mem_account){.limit = SIZE_MAX};
}

static void nothing_is_left(void) {
	ck_assert_uint_eq(memory.used, 0);
}

/* A head like an entry's: it does not end where numbers may begin. */
enum { HEAD_SIZE = sizeof(struct buffer) + 29 };

static struct view made(struct kv_bytes bytes) {
	struct buffer *buffer = buffer_make(&memory, HEAD_SIZE, bytes.size);

	ck_assert_ptr_nonnull(buffer);
	memset(buffer + 1, 'h', HEAD_SIZE - sizeof(*buffer));
	buffer_overwrite(buffer, bytes);
	return view_all(buffer);
}

static void append(struct view *view, struct kv_bytes bytes) {
	ck_assert(buffer_reserve(&memory, view->buffer, bytes.size));
	buffer_append(view->buffer, bytes);
	*view = view_all(view->buffer);
}

static void assert_head(const struct buffer *buffer) {
	const char *head = (const char *)(buffer + 1);

	for (size_t i = 0; i < HEAD_SIZE - sizeof(*buffer); i++)
		ck_assert_int_eq(head[i], 'h');
}

CASE(buffer, .setup = start, .teardown = nothing_is_left);

TEST(a_view_sees_a_copy_of_its_bytes) {
	char bytes[] = "abc";
	struct view view = made(text(bytes));

	bytes[0] = 'x';
	ck_assert(is_text(view, "abc"));
	view_unref(&memory, &view);
	ck_assert_ptr_null(view.buffer);
	ck_assert_uint_eq(view.size, 0);
}

TEST(a_view_of_no_bytes_keeps_no_buffer_alive) {
	struct view view = made(text(""));

	ck_assert(buffer_reserve(&memory, view.buffer, 100));
	struct view held = view_ref(view);
	ck_assert_ptr_null(held.buffer);
	view_unref(&memory, &view);
	ck_assert_uint_eq(memory.used, 0);
	view_unref(&memory, &held);
}

TEST(the_last_view_frees_the_buffer) {
	struct view first = made(zeros(5000));
	struct view second = view_ref(first);
	size_t before = memory.used;

	view_unref(&memory, &first);
	ck_assert_uint_eq(memory.used, before);
	view_unref(&memory, &second);
	ck_assert_uint_eq(memory.used, 0);
}

/* Through every place that the bytes can be in, with an old view of each length. */
TEST(an_old_view_stays_what_it_was_whatever_is_appended) {
	enum { STEPS = 3000 };
	static struct view old[STEPS];
	struct view view = made(text(""));
	char expected[STEPS];

	for (size_t i = 0; i < STEPS; i++) {
		char letter = (char)('a' + i % 26);
		expected[i] = letter;
		old[i] = view_ref(view);
		append(&view, (struct kv_bytes){.data = &letter, .size = 1});
	}
	for (size_t i = 0; i < STEPS; i++) {
		struct kv_bytes bytes = view_bytes(old[i]);
		ck_assert_uint_eq(bytes.size, i);
		ck_assert(i == 0 || memcmp(bytes.data, expected, i) == 0);
		view_unref(&memory, &old[i]);
	}
	assert_head(view.buffer);
	view_unref(&memory, &view);
}

TEST(appending_byte_by_byte_moves_a_few_times_the_bytes) {
	enum { BYTES = 1000000 };
	struct view view = made(text("x"));
	size_t moves = 0;
	size_t moved = 0;

	for (size_t i = 0; i < BYTES; i++) {
		if (buffer_growth(view.buffer, 1) > 0) {
			moves++;
			moved += view.size;
		}
		append(&view, text("y"));
	}
	ck_assert_uint_lt(moves, 60);
	ck_assert_uint_lt(moved, 4 * BYTES);
	view_unref(&memory, &view);
}

TEST(a_thousand_appends_of_a_thousand_bytes_take_less_than_twice_as_much) {
	struct view view = made(text(""));

	for (size_t i = 0; i < 1000; i++)
		append(&view, zeros(1000));
	ck_assert_uint_lt(memory.used, 2000000);
	view_unref(&memory, &view);
}

static const size_t sizes[] = {0,    1,	   15,	 16,   17,   31,    32,	    33,	    100,
			       1000, 1023, 1024, 1025, 4096, 10000, 100000, 1000000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

TEST(what_a_buffer_costs_is_known_before_it_is_made) {
	for (size_t i = 0; i < SIZES; i++) {
		struct view view = made(zeros(sizes[i]));
		ck_assert_uint_eq(memory.used, buffer_cost(HEAD_SIZE, sizes[i]));
		view_unref(&memory, &view);
		ck_assert_uint_eq(memory.used, 0);
	}
}

TEST(what_room_costs_is_known_before_it_is_made) {
	for (size_t i = 0; i < SIZES; i++) {
		for (size_t j = 0; j < SIZES; j++) {
			for (int is_shared = 0; is_shared < 2; is_shared++) {
				struct view view = made(zeros(sizes[i]));
				struct view other = {0};
				if (is_shared)
					other = view_ref(view);
				size_t before = memory.used;
				size_t growth = buffer_growth(view.buffer, sizes[j]);
				ck_assert(buffer_reserve(&memory, view.buffer, sizes[j]));
				ck_assert_uint_eq(memory.used, before + growth);
				ck_assert_uint_eq(buffer_growth(view.buffer, sizes[j]), 0);
				buffer_append(view.buffer, zeros(sizes[j]));
				view = view_all(view.buffer);
				ck_assert_uint_eq(view_bytes(view).size, sizes[i] + sizes[j]);
				ck_assert_uint_eq(view_bytes(other).size, is_shared ? sizes[i] : 0);
				view_unref(&memory, &other);
				view_unref(&memory, &view);
				ck_assert_uint_eq(memory.used, 0);
			}
		}
	}
}

TEST(what_a_drop_frees_is_known_and_nothing_if_others_hold_it) {
	for (size_t i = 0; i < SIZES; i++) {
		struct view view = made(zeros(sizes[i]));
		append(&view, zeros(77));
		struct view other = view_ref(view);
		ck_assert_uint_eq(buffer_exclusive_bytes(view.buffer), 0);
		view_unref(&memory, &other);
		ck_assert_uint_eq(buffer_exclusive_bytes(view.buffer), memory.used);
		view_unref(&memory, &view);
	}
}

TEST(a_value_is_overwritten_if_it_has_no_other_view_and_another_would_take_as_much) {
	for (size_t i = 0; i < SIZES; i++) {
		for (size_t j = 0; j < SIZES; j++) {
			struct view view = made(zeros(sizes[i]));
			bool is_same =
			    buffer_cost(HEAD_SIZE, sizes[i]) == buffer_cost(HEAD_SIZE, sizes[j]);
			ck_assert(buffer_fits_exactly(view.buffer, sizes[j]) == is_same);
			struct view other = view_ref(view);
			ck_assert(other.buffer == NULL ||
				  !buffer_fits_exactly(view.buffer, sizes[j]));
			view_unref(&memory, &other);
			if (is_same)
				buffer_overwrite(view.buffer, zeros(sizes[j]));
			ck_assert_uint_eq(view.buffer->size, sizes[is_same ? j : i]);
			ck_assert_uint_eq(memory.used, buffer_cost(HEAD_SIZE, sizes[i]));
			assert_head(view.buffer);
			view_unref(&memory, &view);
		}
	}
}

TEST(a_value_that_grew_is_not_rewritten_in_room_that_it_does_not_need) {
	for (size_t i = 0; i < SIZES; i++) {
		struct view view = made(zeros(sizes[i]));
		append(&view, zeros(5000));
		append(&view, zeros(5000));
		ck_assert(!buffer_fits_exactly(view.buffer, sizes[i]));
		view_unref(&memory, &view);
	}
}

TEST(without_memory_nothing_is_made_and_nothing_changed) {
	struct view view;

	memory.fail_in = 1;
	ck_assert_ptr_null(buffer_make(&memory, HEAD_SIZE, 3));
	memory.fail_in = 2;
	ck_assert_ptr_null(buffer_make(&memory, HEAD_SIZE, 5000));
	ck_assert_uint_eq(memory.used, 0);

	for (size_t i = 0; i < SIZES; i++) {
		for (int is_shared = 0; is_shared < 2; is_shared++) {
			view = made(zeros(sizes[i]));
			struct view other = {0};
			if (is_shared)
				other = view_ref(view);
			size_t before = memory.used;
			memory.fail_in = 1;
			ck_assert(!buffer_reserve(&memory, view.buffer, 100000));
			ck_assert_uint_eq(memory.used, before);
			ck_assert_uint_eq(view_bytes(view).size, sizes[i]);
			append(&view, zeros(100000));
			view_unref(&memory, &other);
			view_unref(&memory, &view);
		}
	}
}

/* --- Values that stay where they came ------------------------------------------------------ */

enum { AHEAD = 70, BEHIND = 5 }; /* bytes beside the value in its block */

static struct owned_block block_for(size_t size, struct kv_bytes *value) {
	struct owned_block block = {.data = malloc(AHEAD + size + BEHIND),
				    .size = AHEAD + size + BEHIND};
	unsigned char *bytes = (unsigned char *)block.data + AHEAD;

	ck_assert_ptr_nonnull(block.data);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(i % 251);
	*value = (struct kv_bytes){bytes, size};
	return block;
}

static bool is_as_it_came(struct view view) {
	struct kv_bytes bytes = view_bytes(view);

	for (size_t i = 0; i < bytes.size; i++)
		if (((const unsigned char *)bytes.data)[i] != i % 251)
			return false;
	return true;
}

static const size_t large_sizes[] = {16384, 20000, 65536, 1000000};
enum { LARGE_SIZES = sizeof(large_sizes) / sizeof(large_sizes[0]) };

static struct view adopted(size_t size) {
	struct kv_bytes value;
	struct owned_block block = block_for(size, &value);
	struct buffer *buffer = buffer_make(&memory, HEAD_SIZE, 0);

	ck_assert_ptr_nonnull(buffer);
	memset(buffer + 1, 'h', HEAD_SIZE - sizeof(*buffer));
	ck_assert(buffer_can_adopt(&block, value));
	buffer_adopt(&memory, buffer, &block, value);
	ck_assert_ptr_null(block.data);
	ck_assert_ptr_eq(buffer_bytes(buffer), value.data);
	return view_all(buffer);
}

TEST(a_large_value_can_stay_in_the_block_in_which_it_came) {
	for (size_t i = 0; i < LARGE_SIZES; i++) {
		struct view view = adopted(large_sizes[i]);

		ck_assert_uint_eq(view.size, large_sizes[i]);
		ck_assert_uint_eq(memory.used,
				  buffer_cost(HEAD_SIZE, 0) +
				      mem_account_cost(AHEAD + large_sizes[i] + BEHIND));
		ck_assert_uint_eq(buffer_exclusive_bytes(view.buffer), memory.used);
		ck_assert(is_as_it_came(view));
		assert_head(view.buffer);
		view_unref(&memory, &view);
		ck_assert_uint_eq(memory.used, 0);
	}
}

TEST(such_a_value_grows_as_any_other) {
	static const size_t more[] = {1, BEHIND, BEHIND + 1, 100, 100000};

	for (size_t i = 0; i < LARGE_SIZES; i++)
		for (size_t k = 0; k < sizeof(more) / sizeof(more[0]); k++) {
			struct view view = adopted(large_sizes[i]);
			struct view old = view_ref(view);
			size_t before = memory.used;
			size_t growth = buffer_growth(view.buffer, more[k]);

			memory.fail_in = 1;
			ck_assert(buffer_reserve(&memory, view.buffer, more[k]) == (growth == 0));
			memory.fail_in = 0;
			ck_assert_uint_eq(memory.used, before);
			append(&view, zeros(more[k]));
			ck_assert_uint_eq(memory.used, before + growth);
			ck_assert_uint_eq(view.size, large_sizes[i] + more[k]);
			ck_assert_uint_eq(old.size, large_sizes[i]);
			ck_assert(is_as_it_came(old));
			view_unref(&memory, &old);
			ck_assert_uint_eq(buffer_exclusive_bytes(view.buffer), memory.used);
			view_unref(&memory, &view);
			ck_assert_uint_eq(memory.used, 0);
		}
}

TEST(a_small_value_or_one_in_a_block_much_larger_cannot_stay_there) {
	struct kv_bytes value;
	struct owned_block block = block_for(4 << 20, &value);
	struct owned_block taken = {.data = NULL, .size = block.size};

	ck_assert(buffer_can_adopt(&block, value));
	ck_assert(!buffer_can_adopt(&taken, value));
	value.size -= value.size / 8;
	ck_assert(!buffer_can_adopt(&block, value));
	/* Its last bytes: so far from the beginning nothing is expected. */
	value = (struct kv_bytes){(char *)block.data + 65536, block.size - 65536};
	ck_assert(!buffer_can_adopt(&block, value));
	free(block.data);
	block = block_for(16383, &value);
	ck_assert(!buffer_can_adopt(&block, value));
	free(block.data);
}

/* The count is of glibc's blocks; elsewhere, and under a sanitizer, it may be above the truth. */
TEST(a_block_counts_what_malloc_takes_for_it) {
	for (size_t size = SLAB_BLOCK_MAX + 1; size < 3000; size++) {
		void *block = malloc(size);
		ck_assert_uint_le(malloc_usable_size(block) + MEMORY_HEADER,
				  mem_account_cost(size));
		free(block);
	}
	for (size_t size = 1; size < 3000; size++) {
		ck_assert_uint_ge(mem_account_cost(size), size);
		ck_assert_uint_eq(mem_account_cost(mem_account_round_up(size)),
				  mem_account_cost(size));
		ck_assert_uint_ge(mem_account_round_up(size), size);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Records are put together from whatever pieces a stream hands out. */
#include <stdlib.h>
#include <string.h>

#include "record_marking.h"
#include "test.h"

enum {
	ROOM = 4096,
	SIZE_MAX_HERE = 1000,
	ANY = 1 << 20,
};

static uint8_t *stream; /* ROOM bytes, aligned */
static size_t end;	/* of what was put there */
static struct record record;

static void set_up(void) {
	stream = calloc(1, ROOM);
	ck_assert_ptr_nonnull(stream);
	end = 0;
	record = (struct record){0};
}

static void tear_down(void) {
	record_reset(&record);
	free(stream);
}

static void put_fragment(size_t size, bool is_last, uint8_t fill) {
	record_mark(stream + end, size);
	if (!is_last)
		stream[end] &= 0x7f;
	memset(stream + end + RECORD_MARK_SIZE, fill, size);
	end += RECORD_MARK_SIZE + size;
	ck_assert_uint_le(end, ROOM);
}

static void put_records(void) {
	put_fragment(8, true, 'a');
	put_fragment(4, false, 'b');
	put_fragment(0, false, 0);
	put_fragment(9, true, 'c');
	put_fragment(40, true, 'd');
	put_fragment(3, true, 'e'); /* and so the next one is not aligned */
	put_fragment(12, true, 'f');
}

static void check_record(unsigned number, struct kv_bytes whole) {
	static const char *const expected[] = {"aaaaaaaa", "bbbbccccccccc",
					       "dddddddddddddddddddddddddddddddddddddddd", "eee",
					       "ffffffffffff"};

	ck_assert_uint_lt(number, sizeof(expected) / sizeof(expected[0]));
	ck_assert_uint_eq(whole.size, strlen(expected[number]));
	ck_assert_mem_eq(whole.data, expected[number], whole.size);
	ck_assert_uint_eq((uintptr_t)whole.data % RECORD_ALIGNMENT, 0);
}

/* Takes all records from a piece; answers how many there were before, and these. */
static unsigned take(unsigned number, const uint8_t *piece, size_t size) {
	struct kv_bytes whole;

	for (;;) {
		switch (record_feed(&record, &piece, &size, ANY, &whole)) {
		case RECORD_MORE:
			ck_assert_uint_eq(size, 0);
			return number;
		case RECORD_COMPLETE:
			check_record(number++, whole);
			record_reset(&record);
			break;
		case RECORD_INVALID:
		case RECORD_NOMEM:
		case RECORD_HEAD_ONLY:
			ck_abort_msg("refused");
		}
	}
}

CASE(all, .setup = set_up, .teardown = tear_down);

TEST(records_are_the_same_however_the_stream_is_cut) {
	put_records();
	for (size_t first = 0; first <= end; first++)
		for (size_t second = first; second <= end; second++) {
			unsigned number = take(0, stream, first);

			number = take(number, stream + first, second - first);
			number = take(number, stream + second, end - second);
			ck_assert_uint_eq(number, 5);
			ck_assert(!record_is_partial(&record));
		}
}

TEST(a_record_in_one_piece_is_not_copied) {
	const uint8_t *bytes = stream;
	struct kv_bytes whole;

	put_fragment(8, true, 'a');
	put_fragment(12, true, 'b');
	for (size_t at = 0; end > 0; at += RECORD_MARK_SIZE + whole.size) {
		ck_assert_int_eq(record_feed(&record, &bytes, &end, ANY, &whole), RECORD_COMPLETE);
		ck_assert_ptr_eq(whole.data, stream + at + RECORD_MARK_SIZE);
		ck_assert_ptr_null(record.data);
	}
	ck_assert_ptr_eq(bytes, stream + 8 + 12 + 2 * RECORD_MARK_SIZE);
}

TEST(a_record_above_the_limit_is_invalid_before_it_takes_memory) {
	const size_t sizes[] = {SIZE_MAX_HERE, SIZE_MAX_HERE + 1, 0x7fffffff};

	for (size_t i = 0; i < 3; i++)
		for (int is_last = 0; is_last <= 1; is_last++) {
			const uint8_t *bytes = stream;
			struct kv_bytes whole;
			size_t size;

			/* All of the first two, and the beginning of the last. */
			end = 0;
			put_fragment(i < 2 ? sizes[i] : SIZE_MAX_HERE, is_last == 1, 'x');
			record_mark(stream, sizes[i]);
			stream[0] &= is_last == 1 ? 0xff : 0x7f;
			size = end;
			ck_assert_int_eq(record_feed(&record, &bytes, &size, SIZE_MAX_HERE, &whole),
					 i > 0		? RECORD_INVALID
					 : is_last == 1 ? RECORD_COMPLETE
							: RECORD_MORE);
			ck_assert(i == 0 || record.data == NULL);
			record_reset(&record);
		}
}

TEST(fragments_above_the_limit_together_are_invalid) {
	const uint8_t *bytes = stream;
	struct kv_bytes whole;

	put_fragment(SIZE_MAX_HERE - 1, false, 'x');
	put_fragment(2, true, 'y');
	ck_assert_int_eq(record_feed(&record, &bytes, &end, SIZE_MAX_HERE, &whole), RECORD_INVALID);
}

TEST(empty_fragments_without_end_are_invalid) {
	enum record_state state = RECORD_MORE;
	int count;

	for (count = 0; state == RECORD_MORE && count <= RECORD_EMPTY_FRAGMENTS_MAX; count++) {
		const uint8_t *bytes = stream;
		struct kv_bytes whole;

		end = 0;
		put_fragment(0, false, 0);
		state = record_feed(&record, &bytes, &end, ANY, &whole);
	}
	ck_assert_int_eq(state, RECORD_INVALID);
	ck_assert_int_eq(count, RECORD_EMPTY_FRAGMENTS_MAX + 1);
}

/* Feeds a record, piece by piece, as a transport does. */
static void feed(size_t size, bool is_last, size_t piece_max) {
	uint8_t mark[RECORD_MARK_SIZE];
	const uint8_t *bytes = mark;
	size_t left = sizeof(mark);
	struct kv_bytes whole;
	size_t arrived = 0;

	record_mark(mark, size);
	if (!is_last)
		mark[0] &= 0x7f;
	ck_assert_int_eq(record_feed(&record, &bytes, &left, ANY, &whole), RECORD_MORE);
	while (arrived < size) {
		size_t room;
		uint8_t *place;

		ck_assert(record_direct_buffer(&record, &place, &room));
		left = size - arrived < piece_max ? size - arrived : piece_max;
		if (room > 0) {
			left = left < room ? left : room;
			memset(place, 'x', left);
			record_direct_filled(&record, left);
			arrived += left;
			left = 0;
		} else {
			left = left < ROOM ? left : ROOM;
			memset(stream, 'x', left);
			arrived += left;
		}
		bytes = stream;
		ck_assert_int_eq(record_feed(&record, &bytes, &left, ANY, &whole),
				 arrived == size && is_last ? RECORD_COMPLETE : RECORD_MORE);
		/* What record_direct_buffer() asks for at once is not in proportion. */
		ck_assert_uint_le(record.capacity, 6 * (arrived + RECORD_DIRECT_LEAST));
		ck_assert(record.capacity >= arrived);
	}
	ck_assert(!is_last || record.capacity == size);
	if (is_last)
		ck_assert(((const char *)whole.data)[0] == 'x' &&
			  memcmp(whole.data, (const char *)whole.data + 1, size - 1) == 0);
	record_reset(&record);
}

TEST(memory_follows_what_arrived_and_ends_with_the_record) {
	static const size_t sizes[] = {100, ROOM, 64 * 1024, 256 * 1024, 256 * 1024 + 1, ANY};
	static const size_t pieces[] = {1000, 64 * 1024, ANY};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
			feed(sizes[i], true, pieces[k]);
			feed(sizes[i], false, pieces[k]);
		}
}

TEST(an_empty_record_is_one) {
	const uint8_t *bytes = stream;
	struct kv_bytes whole = {stream, 1};

	put_fragment(0, true, 0);
	ck_assert_int_eq(record_feed(&record, &bytes, &end, ANY, &whole), RECORD_COMPLETE);
	ck_assert_uint_eq(whole.size, 0);
}

/* As after there was no memory for more than `before` bytes of it. */
static void discard_after(size_t before, size_t size, bool is_in_fragments) {
	uint8_t bytes[ROOM];
	uint8_t mark[RECORD_MARK_SIZE];
	struct kv_bytes whole;
	enum record_state state = RECORD_MORE;
	size_t taken = 0;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	while (state == RECORD_MORE) {
		size_t part = is_in_fragments && size - taken > 100 ? 100 : size - taken;
		const uint8_t *at = mark;
		size_t left = sizeof(mark);

		ck_assert_uint_lt(taken, size);
		record_mark(mark, part);
		if (part < size - taken)
			mark[0] &= 0x7f;
		ck_assert_int_eq(record_feed(&record, &at, &left, ANY, &whole), RECORD_MORE);
		if (taken >= before && !record.is_discarding)
			ck_assert(record_discard(&record));
		for (at = bytes + taken; at < bytes + taken + part && state == RECORD_MORE;) {
			left = 1 + (size_t)(bytes + taken + part - at) / 2;
			state = record_feed(&record, &at, &left, ANY, &whole);
		}
		taken += part;
	}
	ck_assert_int_eq(state, record.is_discarding ? RECORD_HEAD_ONLY : RECORD_COMPLETE);
	ck_assert_uint_eq(whole.size, size < RECORD_HEAD_MAX ? size : RECORD_HEAD_MAX);
	ck_assert_mem_eq(whole.data, bytes, whole.size);
	ck_assert_uint_eq(record.capacity, RECORD_HEAD_MAX);
	record_reset(&record);
	ck_assert(!record_is_partial(&record) && !record.is_discarding);
}

TEST(of_a_record_that_finds_no_memory_the_head_is_kept) {
	static const size_t sizes[] = {200, 1023, 1024, 1025, 3000, ROOM};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		discard_after(0, sizes[i], false);
		for (size_t before = 0; before + 100 < sizes[i]; before += 100)
			discard_after(before, sizes[i], true);
	}
}

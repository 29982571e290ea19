/* SPDX-License-Identifier: BSD-3-Clause */
/* The slabs: blocks are apart and aligned, and memory goes back when its last block is freed. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/slab.h"
#include "prng.h"
#include "test.h"

enum { MANY = 20000 };

static struct slabs slabs;
static unsigned char *blocks[MANY];
static size_t sizes[MANY];

static bool is_empty(void) {
	for (size_t i = 0; i < SLAB_CLASSES; i++)
		if (slabs.available[i] != NULL)
			return false;
	return true;
}

static void start(void) {
	slabs = (struct slabs){0};
}

static void nothing_is_left(void) {
	ck_assert(is_empty());
	ck_assert_uint_eq(slabs.own.count, 0);
}

/* Fills it with what its number says, as check_block() will look for. */
static void make_block(size_t i, size_t size) {
	sizes[i] = size;
	blocks[i] = slab_alloc(&slabs, size);
	ck_assert_ptr_nonnull(blocks[i]);
	ck_assert_uint_eq((uintptr_t)blocks[i] % SLAB_STEP, 0);
	if (size % SLAB_LINE == 0)
		ck_assert_uint_eq((uintptr_t)blocks[i] % SLAB_LINE, 0);
	memset(blocks[i], (int)(i % 251), size);
}

static void free_block(size_t i) {
	size_t same = 0;

	while (same < sizes[i] && blocks[i][same] == i % 251)
		same++;
	ck_assert_uint_eq(same, sizes[i]);
	slab_free(&slabs, blocks[i], sizes[i]);
	blocks[i] = NULL;
}

CASE(slab, .setup = start, .teardown = nothing_is_left);

TEST(blocks_of_every_size_are_apart) {
	for (size_t i = 0; i < MANY; i++)
		make_block(i, 1 + i % SLAB_BLOCK_MAX);
	for (size_t i = 0; i < MANY; i++)
		free_block(i);
}

TEST(blocks_are_freed_and_made_in_any_order) {
	struct prng prng = {1};

	for (int step = 0; step < 5 * MANY; step++) {
		size_t i = prng_below(&prng, MANY);

		if (blocks[i] != NULL)
			free_block(i);
		else
			make_block(i, 1 + prng_below(&prng, SLAB_BLOCK_MAX));
	}
	for (size_t i = 0; i < MANY; i++)
		if (blocks[i] != NULL)
			free_block(i);
}

static size_t slabs_of(size_t count) {
	size_t slabs_seen = 1;

	for (size_t i = 1; i < count; i++)
		slabs_seen += regions_slab_of(blocks[i]) != regions_slab_of(blocks[i - 1]);
	return slabs_seen;
}

TEST(a_block_takes_little_more_than_its_bytes) {
	for (size_t i = 0; i < MANY; i++)
		make_block(i, 140);
	if (!SLAB_IS_MALLOC)
		ck_assert_uint_eq(slabs_of(MANY), (MANY + 226) / 227);
	for (size_t i = 0; i < MANY; i++)
		free_block(i);
}

TEST(a_block_that_is_freed_is_the_next_one_made) {
	make_block(0, 140);
	make_block(1, 140);
	unsigned char *first = blocks[0];
	free_block(0);
	make_block(2, 137);
	if (!SLAB_IS_MALLOC)
		ck_assert_ptr_eq(blocks[2], first);
	/* Of another class. */
	make_block(0, 136);
	ck_assert_ptr_ne(blocks[0], first);
	for (size_t i = 0; i < 3; i++)
		free_block(i);
}

TEST(a_block_takes_at_most_an_eighth_more_than_its_bytes) {
	for (size_t size = 1; size <= SLAB_BLOCK_MAX; size++) {
		size_t block_size = slab_block_size(size);

		ck_assert_uint_ge(block_size, size);
		ck_assert_uint_eq(slab_block_size(block_size), block_size);
		ck_assert_uint_lt(block_size - size,
				  size <= SLAB_SMALL_MAX ? SLAB_STEP : size / 8 + 1);
	}
	ck_assert_uint_eq(slab_block_size(SLAB_BLOCK_MAX), SLAB_BLOCK_MAX);
}

TEST(slabs_may_share_the_regions_of_others) {
	struct slabs other = {.shared = slab_regions(&slabs)};
	void *block;

	make_block(0, 140);
	block = slab_alloc(&other, 140);
	ck_assert_ptr_nonnull(block);
	if (!SLAB_IS_MALLOC) {
		ck_assert_uint_eq(slabs.own.count, 1);
		ck_assert_ptr_ne(regions_slab_of(block), regions_slab_of(blocks[0]));
	}
	slab_free(&other, block, 140);
	free_block(0);
}

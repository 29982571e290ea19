/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions: what is not needed goes back to the system, in slices that are counted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/regions.h"
#include "test.h"

enum {
	REGIONS = 5,
	SLABS = REGIONS * REGION_SLABS,
	ALL = 1000000, /* calls */
};

static unsigned mapped, unmapped, discards, refills;
static size_t discarded; /* bytes */
static bool is_exhausted;
static bool has_huge_pages;

static void *map(void *context, bool *is_whole) {
	void *region;

	(void)context;
	*is_whole = has_huge_pages;
	if (is_exhausted || posix_memalign(&region, REGION_SIZE, REGION_SIZE) != 0)
		return NULL;
	mapped++;
	return region;
}

static void unmap(void *context, void *region) {
	(void)context;
	free(region);
	unmapped++;
}

static void discard(void *context, void *bytes, size_t size) {
	(void)context;
	/* As the kernel does it. */
	memset(bytes, 0, size);
	discarded += size;
	discards++;
}

static void refill(void *context, void *region) {
	(void)context;
	ck_assert_uint_eq((uintptr_t)region % REGION_SIZE, 0);
	refills++;
}

static const struct region_source source = {
    .map = map, .unmap = unmap, .discard = discard, .refill = refill};

static struct regions regions;
static struct slab *slabs[SLABS];
static uint64_t now_ms;

static unsigned calls(void) {
	return unmapped + discards;
}

static void take(unsigned from, unsigned to) {
	for (unsigned i = from; i < to; i++) {
		slabs[i] = regions_take_slab(&regions);
		ck_assert_ptr_nonnull(slabs[i]);
		ck_assert_ptr_eq(regions_slab_of(slabs[i]->fresh), slabs[i]);
		ck_assert_ptr_eq(regions_slab_of(slabs[i]->end - 1), slabs[i]);
		memset(slabs[i]->fresh, (int)(i % 251), (size_t)(slabs[i]->end - slabs[i]->fresh));
	}
}

static void give(unsigned from, unsigned to) {
	for (unsigned i = from; i < to; i++) {
		/* No other slab has written into it, and no slab that went back was it. */
		ck_assert_uint_eq(slabs[i]->fresh[0], i % 251);
		ck_assert_uint_eq(slabs[i]->end[-1], i % 251);
		regions_return_slab(&regions, slabs[i]);
		slabs[i] = NULL;
	}
}

/* Until what is free now was free for a period. */
static void pass_period(void) {
	(void)regions_give_back(&regions, 0, now_ms += REGIONS_PERIOD_MS);
	(void)regions_give_back(&regions, 0, now_ms += REGIONS_PERIOD_MS);
}

static void start(void) {
	mapped = unmapped = discards = refills = 0;
	discarded = 0;
	is_exhausted = has_huge_pages = false;
	now_ms = 1;
	regions = (struct regions){.source = &source};
}

static void stop(void) {
	regions_destroy(&regions);
	ck_assert_uint_eq(regions.count, 0);
	ck_assert_uint_eq(mapped, unmapped);
}

CASE(regions, .setup = start, .teardown = stop);

TEST(regions_that_are_empty_for_a_period_go_back) {
	take(0, SLABS);
	ck_assert_uint_eq(mapped, REGIONS);
	ck_assert_uint_eq(regions_give_back(&regions, ALL, now_ms), UINT64_MAX);
	give(0, SLABS);
	ck_assert_uint_eq(regions_give_back(&regions, ALL, now_ms), REGIONS_PERIOD_MS);
	ck_assert_uint_eq(regions_give_back(&regions, ALL, now_ms += REGIONS_PERIOD_MS - 1), 1);
	ck_assert_uint_eq(unmapped, 0);
	/* The period in which they became empty ends, and then a whole one. */
	(void)regions_give_back(&regions, ALL, now_ms += 1);
	ck_assert_uint_eq(regions_give_back(&regions, ALL, now_ms += REGIONS_PERIOD_MS),
			  UINT64_MAX);
	ck_assert_uint_eq(unmapped, REGIONS);
	ck_assert_uint_eq(regions.count, 0);
}

TEST(a_slice_has_at_most_so_many_calls_however_much_there_is) {
	take(0, SLABS);
	give(0, SLABS);
	pass_period();
	for (unsigned done = 1; done < REGIONS; done++) {
		ck_assert_uint_eq(regions_give_back(&regions, 1, now_ms), 0);
		ck_assert_uint_eq(calls(), done);
	}
	ck_assert_uint_eq(regions_give_back(&regions, 1, now_ms), UINT64_MAX);
	ck_assert_uint_eq(calls(), REGIONS);
}

TEST(what_was_needed_in_the_period_stays) {
	take(0, SLABS);
	give(0, SLABS);
	(void)regions_give_back(&regions, ALL, now_ms += REGIONS_PERIOD_MS);
	/* Four of the five regions are needed for a moment. */
	take(0, 4 * REGION_SLABS);
	give(0, 4 * REGION_SLABS);
	(void)regions_give_back(&regions, ALL, now_ms += REGIONS_PERIOD_MS);
	ck_assert_uint_eq(unmapped, 1);
	ck_assert_uint_eq(mapped, REGIONS);
}

TEST(what_became_free_in_the_period_stays) {
	take(0, SLABS);
	give(0, REGION_SLABS);
	pass_period();
	give(REGION_SLABS, SLABS);
	while (regions_give_back(&regions, ALL, now_ms) == 0)
		;
	ck_assert_uint_eq(unmapped, 1);
	pass_period();
	(void)regions_give_back(&regions, ALL, now_ms);
	ck_assert_uint_eq(unmapped, REGIONS);
}

TEST(free_slabs_of_a_sparse_region_are_discarded) {
	take(0, REGION_SLABS);
	/* One in the middle stays. */
	give(0, 20);
	give(21, REGION_SLABS);
	pass_period();
	ck_assert_uint_eq(regions_give_back(&regions, 1, now_ms), 0);
	ck_assert_uint_eq(discards, 1);
	ck_assert_uint_eq(regions_give_back(&regions, 1, now_ms), UINT64_MAX);
	ck_assert_uint_eq(discards, 2);
	ck_assert_uint_eq(discarded, REGION_SIZE - REGION_HEAD_SIZE - REGION_SLAB_SIZE);
	give(20, 21);
	pass_period();
	(void)regions_give_back(&regions, ALL, now_ms);
	ck_assert_uint_eq(unmapped, 1);
}

TEST(a_region_that_is_more_than_half_in_use_stays_whole) {
	take(0, REGION_SLABS);
	give(0, REGION_SLABS - REGIONS_SPARSE_MAX - 1);
	pass_period();
	ck_assert_uint_eq(regions_give_back(&regions, ALL, now_ms), UINT64_MAX);
	ck_assert_uint_eq(calls(), 0);
	give(REGION_SLABS - REGIONS_SPARSE_MAX - 1, REGION_SLABS - REGIONS_SPARSE_MAX);
	pass_period();
	(void)regions_give_back(&regions, ALL, now_ms);
	ck_assert_uint_eq(discards, 1);
	give(REGION_SLABS - REGIONS_SPARSE_MAX, REGION_SLABS);
}

TEST(slabs_that_were_discarded_are_used_again_and_the_region_is_refilled_once) {
	take(0, REGION_SLABS);
	give(1, REGION_SLABS);
	pass_period();
	(void)regions_give_back(&regions, ALL, now_ms);
	ck_assert_uint_eq(discards, 1);
	take(1, REGION_SLABS - 1);
	ck_assert_uint_eq(refills, 0);
	take(REGION_SLABS - 1, REGION_SLABS);
	ck_assert_uint_eq(refills, 1);
	ck_assert_uint_eq(mapped, 1);
	give(5, 6);
	take(5, 6);
	ck_assert_uint_eq(refills, 1);
	give(0, REGION_SLABS);
}

TEST(slabs_of_a_huge_page_that_were_never_used_are_discarded_as_well) {
	has_huge_pages = true;
	take(0, 1);
	pass_period();
	(void)regions_give_back(&regions, ALL, now_ms);
	ck_assert_uint_eq(discards, 1);
	ck_assert_uint_eq(discarded, REGION_SIZE - REGION_SLAB_SIZE);
	give(0, 1);
}

TEST(a_slab_comes_from_a_region_in_use_before_an_empty_one) {
	take(0, 2 * REGION_SLABS);
	give(0, REGION_SLABS);
	give(REGION_SLABS, REGION_SLABS + 1);
	take(0, 1);
	/* So the empty one may still go back. */
	pass_period();
	(void)regions_give_back(&regions, ALL, now_ms);
	ck_assert_uint_eq(unmapped, 1);
	give(0, 1);
	give(REGION_SLABS + 1, 2 * REGION_SLABS);
}

TEST(without_memory_there_is_no_slab_and_nothing_is_lost) {
	is_exhausted = true;
	ck_assert_ptr_null(regions_take_slab(&regions));
	is_exhausted = false;
	take(0, 1);
	is_exhausted = true;
	take(1, REGION_SLABS);
	ck_assert_ptr_null(regions_take_slab(&regions));
	give(0, REGION_SLABS);
}

TEST(without_a_source_an_empty_region_is_freed_at_once) {
	regions.source = NULL;
	take(0, REGION_SLABS + 1);
	ck_assert_uint_eq(regions.count, 2);
	give(0, REGION_SLABS + 1);
	ck_assert_uint_eq(regions.count, 0);
	ck_assert_uint_eq(regions_give_back(&regions, ALL, now_ms), UINT64_MAX);
}

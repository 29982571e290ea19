/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: malloc calloc realloc */
/*
 * An error at every call of the disk, and a refusal of every allocation: while kvd writes, takes
 * snapshots, stops, and starts again. It refuses or stops, or does without; and then, whatever the
 * power leaves, all that was answered is there once, with its reply.
 */
#include <errno.h>

#include "crash_run.h"
#include "refuse_memory.h"
#include "test.h"

enum {
	SEED = 5,
	SMALL_SEGMENT = SEGMENT_HEADER_SIZE + 2048,
	STEPS = 60,
};

/* --- Memory: the linker sends all calls here (the fake disk asks a second time) --------------- */

static unsigned depth; /* of kvd's own code */
static uint64_t allocations;
static uint64_t refuse_at; /* this one; 0: none */
static bool has_refused;

static bool is_refused(void) {
	if (depth == 0 || ++allocations != refuse_at)
		return false;
	has_refused = true;
	return true;
}

static bool in_product(bool begins) {
	if (begins)
		depth++;
	else
		depth--;
	return has_refused;
}

static void refuse(uint64_t allocation) {
	allocations = 0;
	has_refused = false;
	refuse_at = allocation;
}

/* --- Lives ---------------------------------------------------------------------------------- */

/* What happens to the disk, or to memory, in a life. */
struct trouble {
	struct fake_plan plan;
	uint64_t refuse_at;
};

/*
 * From nothing, or from what `from` left, as far as it goes: a clean stop at the end. NULL: it did
 * not start; the disk is in *left then, else it is the run's.
 */
static struct run *live(const struct run *from, const struct trouble *trouble,
			struct fake_disk **left) {
	struct fake_disk *disk = fake_disk_copy(from->journal.disk);
	struct run *run;
	bool goes_on;

	fake_disk_kill(disk);
	fake_disk_plan(disk, &trouble->plan);
	refuse(trouble->refuse_at);
	run = run_take_up(from, disk, "with trouble");
	goes_on = run != NULL && run_go_on(run, STEPS);
	if (run != NULL)
		run_stop(run, goes_on);
	refuse_at = 0;
	*left = run == NULL ? disk : NULL;
	return run;
}

static bool keep_by_mask(void *context, size_t thing) {
	const uint64_t *mask = context;

	return (*mask >> thing % 64 & 1) != 0;
}

/* The machine lived, or its power was lost; the next start is a good one. */
static void assert_survives(const struct run *run, const struct fake_disk *disk,
			    const char *complain) {
	static const uint64_t masks[] = {0, UINT64_MAX, 0x5555555555555555, 0xccc00fff0f333300};

	refuse(0);
	for (size_t i = 0; i <= sizeof(masks) / sizeof(masks[0]); i++) {
		struct fake_disk *copy = fake_disk_copy(disk);
		struct run *next;

		if (i == 0)
			fake_disk_kill(copy);
		else
			fake_disk_lose_power(copy, keep_by_mask, (void *)&masks[i - 1]);
		next = run_take_up(run, copy, complain);
		must(next != NULL && run_go_on(next, RUN_FEW_STEPS), complain);
		run_stop(next, true);
		run_free(next);
	}
}

/* Runs a life and what comes after it. True: it was cut short. */
static bool try(const struct run *from, const struct trouble *trouble, const char *complain) {
	struct fake_disk *left;
	struct run *run = live(from, trouble, &left);
	bool is_cut_short = run == NULL || run->has_failed;

	if (run != NULL)
		ck_assert_uint_eq(fake_disk_open_files(run->journal.disk), 0);
	assert_survives(run == NULL ? from : run, run == NULL ? left : run->journal.disk, complain);
	fake_disk_free(left);
	run_free(run);
	return is_cut_short;
}

/* How many calls of the disk, and allocations, such a life has. */
static void count(const struct run *from, uint64_t *calls, uint64_t *needed) {
	const struct trouble none = {.refuse_at = 0};
	struct fake_disk *left;
	struct run *run = live(from, &none, &left);

	ck_assert_ptr_nonnull(run);
	ck_assert_uint_gt(run->snapshots.published, 0);
	*calls = fake_disk_calls(run->journal.disk);
	*needed = allocations;
	run_free(run);
}

static void fail_all_calls(const struct run *from) {
	static const int errors[] = {-EIO, -ENOSPC, -EACCES};
	uint64_t calls;
	uint64_t needed;
	size_t cut = 0;

	count(from, &calls, &needed);
	for (uint64_t at = 1; at <= calls; at++)
		for (unsigned i = 0; i < 12; i++) {
			const struct trouble trouble = {.plan = {.fail_at = at,
								 .error = errors[i % 3],
								 .is_lasting = i / 3 % 2 == 1,
								 .does_nothing = i / 6 == 1}};
			char complain[64];

			(void)snprintf(complain, sizeof(complain), "error %d at call %llu, way %u",
				       -errors[i % 3], (unsigned long long)at, i);
			cut += try(from, &trouble, complain);
		}
	printf("figure: %llu calls, %llu errors: %zu refused or stopped it\n",
	       (unsigned long long)calls, (unsigned long long)(12 * calls), cut);
	ck_assert_uint_gt(calls, 100);
	ck_assert(cut > 0 && cut < 12 * calls);
}

static void refuse_all_allocations(const struct run *from) {
	uint64_t calls;
	uint64_t needed;
	size_t cut = 0;

	count(from, &calls, &needed);
	for (uint64_t at = 1; at <= needed; at++) {
		const struct trouble trouble = {.refuse_at = at};
		char complain[64];

		(void)snprintf(complain, sizeof(complain), "allocation %llu",
			       (unsigned long long)at);
		cut += try(from, &trouble, complain);
	}
	printf("figure: %llu allocations, each refused once: %zu refused or stopped it\n",
	       (unsigned long long)needed, cut);
	ck_assert_uint_gt(cut, 5);
}

/* Nothing yet: a run that sent no replies, and its empty disk. */
static struct run *begin(void) {
	struct run *run = run_new(SEED, SMALL_SEGMENT);

	run->product = in_product;
	return run;
}

/* A kvd with some of everything, killed in the middle of it. */
static struct run *begin_in_the_middle(void) {
	struct run *run = begin();

	ck_assert(run_go_on(run, STEPS));
	ck_assert_uint_gt(run->snapshots.published, 0);
	ck_assert_uint_gt(run->journal.durable, 20);
	return run;
}

TEST(an_error_at_any_call_from_the_first_start_to_a_stop_loses_nothing) {
	struct run *run = begin();

	fail_all_calls(run);
	run_free(run);
}

TEST(an_error_at_any_call_of_a_later_start_loses_nothing) {
	struct run *run = begin_in_the_middle();

	fail_all_calls(run);
	run_free(run);
}

/* Only the journal knows whose store it is, and it is asked before it is read. */
TEST(an_error_at_any_call_of_a_start_without_a_snapshot_makes_no_other_store) {
	struct run *run = begin();
	struct vfs *disk = fake_disk_of(run->journal.disk);
	char name[VFS_NAME_MAX];

	while (run->journal.durable == 0)
		ck_assert(run_go_on(run, 1));
	ck_assert_uint_eq(run->snapshots.published, 0);
	snapshot_name(0, name);
	ck_assert_int_eq(disk->remove(disk->context, name), 0);
	ck_assert_int_eq(disk->sync_names(disk->context), 0);
	fail_all_calls(run);
	run_free(run);
}

TEST(a_refused_allocation_from_the_first_start_to_a_stop_loses_nothing) {
	struct run *run = begin();

	refuse_all_allocations(run);
	run_free(run);
}

TEST(a_refused_allocation_in_a_later_start_loses_nothing) {
	struct run *run = begin_in_the_middle();

	refuse_all_allocations(run);
	run_free(run);
}

BEFORE_ALL {
	run_keep_memory();
}

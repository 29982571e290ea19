/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal with its thread: what was recorded becomes durable in order, the turn is woken, a
 * failure is told, a full disk is waited for.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "journal_process.h"
#include "test.h"

CASE(journal_thread, .setup = start, .teardown = stop);

TEST(what_is_recorded_becomes_durable_in_order) {
	uint64_t durable = 0;

	for (unsigned i = 0; i < 400; i++) {
		uint64_t now;

		for (unsigned j = 0; j <= i % 7; j++)
			while (!put(i % 300))
				turn(); /* a segment's worth is on its way */
		journal_submit(journal);
		now = journal_durable(journal);
		ck_assert(now >= durable && now <= world.tape.count);
		durable = now;
	}
	journal_submit(journal);
	turn_until(world.tape.count);
	ck_assert_uint_eq(journal_last_position(journal), world.tape.count);
	ck_assert(journal_stop(journal));
	assert_found(world.tape.count, true);
}

TEST(one_batch_is_written_while_the_next_gathers) {
	struct journal_counters counters;

	gate_set(true);
	ck_assert(put(10));
	journal_submit(journal);
	gate_await();
	for (unsigned i = 0; i < 5; i++) {
		ck_assert(put(10));
		journal_submit(journal);
	}
	ck_assert_uint_eq(journal_durable(journal), 0);
	journal_get_stats(journal, &counters);
	ck_assert_uint_eq(counters.batches, 0);
	ck_assert_uint_eq(counters.behind, 6 * (OPERATION_HEADER_SIZE + 13));
	gate_set(false);
	turn_until(6);
	journal_get_stats(journal, &counters);
	ck_assert_uint_eq(counters.batches, 2);
	ck_assert_uint_eq(counters.behind, 0);
	ck_assert_uint_gt(counters.bytes, 6 * (OPERATION_HEADER_SIZE + 13));
}

TEST(nothing_is_durable_before_the_sync_is_done) {
	struct fake_disk *now;

	gate_set(true);
	ck_assert(put(10));
	journal_submit(journal);
	gate_await();
	ck_assert_uint_eq(journal_durable(journal), 0);
	/* It was written, but nothing says that the disk has it. */
	now = fake_disk_copy(world.disk);
	ck_assert_uint_gt(fake_disk_pending(now), 0);
	fake_disk_free(now);
	gate_set(false);
	turn_until(1);
}

TEST(a_stop_makes_all_durable_and_marks_the_end) {
	gate_set(true);
	ck_assert(put(10));
	journal_submit(journal);
	gate_await();
	for (unsigned i = 0; i < 50; i++)
		ck_assert(put(100)); /* the turn never ends */
	gate_set(false);
	ck_assert(journal_stop(journal));
	ck_assert_uint_eq(journal_durable(journal), 51);
	assert_found(51, true);
}

TEST(a_stop_without_anything_to_do_is_a_stop) {
	ck_assert(journal_stop(journal));
	ck_assert(journal_stop(journal));
	assert_found(0, false);
}

TEST(a_journal_that_never_began_can_be_stopped) {
	struct journal *another = journal_new();

	ck_assert_ptr_nonnull(another);
	ck_assert(journal_stop(another));
	journal_free(another);
	journal_free(NULL);
}

TEST(a_failed_sync_is_told_and_ends_it) {
	struct fake_plan plan = {.before = pass, .error = -EIO, .does_nothing = true};

	/* More than half a segment, so that another such needs the spare. */
	ck_assert(put(SEGMENT / 2));
	journal_submit(journal);
	await_spare();
	/* The batch is written, then synced. */
	plan.fail_change = 2;
	fake_disk_plan(world.disk, &plan);
	ck_assert(put(10));
	ck_assert_ptr_null(journal_error(journal));
	journal_submit(journal);
	while (journal_error(journal) == NULL)
		turn();
	ck_assert_ptr_nonnull(strstr(journal_error(journal), "journal-0000000000000001"));
	ck_assert_uint_eq(journal_durable(journal), 1);
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert_uint_eq(journal_durable(journal), 1);
	ck_assert(!journal_stop(journal));
	ck_assert_uint_eq(journal_durable(journal), 1);

	/* The cache still shows the last. No mark says that all is well. */
	assert_found(2, false);
}

TEST(when_much_is_not_yet_durable_it_is_behind) {
	stop();
	begin(48 << 20);
	ck_assert(journal_start(journal, world.file, 0));
	world.file = NULL;
	gate_set(true);
	ck_assert(put(10));
	journal_submit(journal);
	gate_await();
	while (!journal_is_backlogged(journal)) {
		struct journal_counters counters;

		ck_assert(put(1 << 20));
		journal_submit(journal);
		journal_get_stats(journal, &counters);
		ck_assert(journal_is_backlogged(journal) == (counters.behind > JOURNAL_BEHIND_MAX));
		ck_assert_uint_lt(world.tape.count, 20);
	}
	gate_set(false);
	turn_while_behind();
	turn_until(world.tape.count);
}

TEST(a_batch_that_cannot_fit_into_a_segment_is_refused) {
	ck_assert(!put(SEGMENT));
	ck_assert(
	    !put(SEGMENT - SEGMENT_HEADER_SIZE - BATCH_HEADER_SIZE - OPERATION_HEADER_SIZE - 2));
	ck_assert(
	    put(SEGMENT - SEGMENT_HEADER_SIZE - BATCH_HEADER_SIZE - OPERATION_HEADER_SIZE - 3));
	ck_assert(!put(1));
	journal_submit(journal);
	turn_until(1);
	/* As soon as there is a spare, the next one. */
	while (!put(1))
		turn();
	journal_submit(journal);
	turn_until(2);
}

TEST(a_full_disk_refuses_and_goes_on_by_itself_when_there_is_room) {
	struct fake_plan full = {.before = pass,
				 .capacity = 2 * SEGMENT + SEGMENT / 8 + MANIFEST_SIZE};
	struct journal_counters counters;
	size_t before;

	/* The segment in use and its spare, and no third. */
	fake_disk_plan(world.disk, &full);
	while (put(1000)) {
		journal_submit(journal);
		turn_until(world.tape.count);
	}
	before = world.tape.count;
	ck_assert_uint_gt(before, 2 * (SEGMENT - SEGMENT_HEADER_SIZE) / 1200);
	do
		journal_get_stats(journal, &counters);
	while (!counters.is_disk_full);
	(void)journal_durable(journal);
	/* A reader does not wait meanwhile. */
	ck_assert(!journal_is_backlogged(journal));
	ck_assert(!put(1000));

	full.capacity = 0;
	fake_disk_plan(world.disk, &full);
	while (!put(1000))
		turn();
	journal_submit(journal);
	turn_until(before + 1);
	journal_get_stats(journal, &counters);
	ck_assert(!counters.is_disk_full);
	ck_assert(journal_stop(journal));
	assert_found(before + 1, true);
}

/* Where zeros written before are no reserve, as on a file system that copies on write. */
TEST(a_batch_that_finds_no_space_is_kept_and_others_are_refused_until_there_is) {
	const struct fake_plan full = {.before = pass,
				       .fail_change = 1,
				       .error = -ENOSPC,
				       .does_nothing = true,
				       .is_lasting = true};
	const struct fake_plan nothing = {.before = pass};
	struct journal_counters counters;
	uint64_t last = 2;

	await_spare();
	ck_assert(put(10));
	turn_until(1);
	fake_disk_plan(world.disk, &full);
	ck_assert(put(10));
	journal_submit(journal);
	while (journal_disk_error(journal) == 0)
		turn();
	ck_assert_int_eq(journal_disk_error(journal), -ENOSPC);
	ck_assert_ptr_null(journal_error(journal));
	/* It may be the segment in reserve that found no space first. */
	for (; put(10); last++)
		turn();
	ck_assert(journal_has_pending(journal));
	journal_get_stats(journal, &counters);
	ck_assert(counters.is_disk_full);
	ck_assert_uint_eq(journal_durable(journal), 1);
	fake_disk_plan(world.disk, &nothing);
	turn_until(last);
	while (!put(10))
		turn();
	turn_until(last + 1);
	ck_assert_int_eq(journal_disk_error(journal), 0);
	ck_assert(journal_stop(journal));
	assert_found(last + 1, true);
}

TEST(a_stop_does_not_wait_for_space) {
	const struct fake_plan full = {.before = pass,
				       .fail_change = 1,
				       .error = -EDQUOT,
				       .does_nothing = true,
				       .is_lasting = true};

	await_spare();
	ck_assert(put(10));
	turn_until(1);
	fake_disk_plan(world.disk, &full);
	ck_assert(put(10));
	journal_submit(journal);
	while (journal_disk_error(journal) == 0)
		turn();
	ck_assert(!journal_stop(journal));
	ck_assert_ptr_nonnull(strstr(journal_error(journal), "cannot write journal-"));
	ck_assert_uint_eq(journal_durable(journal), 1);
	fake_disk_kill(world.disk);
}

TEST(a_failing_disk_is_no_full_one) {
	const struct fake_plan broken = {.before = pass,
					 .fail_change = 1,
					 .error = -EROFS,
					 .does_nothing = true,
					 .is_lasting = true};
	struct journal_counters counters;

	stop();
	begin(SEGMENT);
	fake_disk_plan(world.disk, &broken);
	ck_assert(journal_start(journal, world.file, 0));
	world.file = NULL;
	(void)journal_durable(journal);
	ck_assert_int_eq(journal_disk_error(journal), -EROFS);
	journal_get_stats(journal, &counters);
	ck_assert(!counters.is_disk_full);
	ck_assert(!put(10));
}

TEST(a_removed_segment_is_noticed_though_nothing_is_written) {
	struct vfs *disk = fake_disk_of(world.disk);
	char name[VFS_NAME_MAX];

	await_spare();
	ck_assert(put(10));
	turn_until(1);
	segment_name(1, name);
	ck_assert_int_eq(disk->remove(disk->context, name), 0);
	while (journal_error(journal) == NULL)
		turn();
	ck_assert_ptr_nonnull(strstr(journal_error(journal), "was removed or replaced"));
	ck_assert(!journal_stop(journal));
}

TEST(a_large_segment_is_made_without_pauses_once_there_is_room) {
	struct fake_plan full = {.before = pass, .capacity = 100};
	struct timespec from;
	struct timespec to;

	stop();
	begin(24 << 20);
	fake_disk_plan(world.disk, &full);
	ck_assert(journal_start(journal, world.file, 0));
	world.file = NULL;
	ck_assert(!put(10));
	full.capacity = 0;
	fake_disk_plan(world.disk, &full);
	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	while (!put(10))
		turn();
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	/* A second until it looks again, and not one for each of the 24 pieces. */
	ck_assert_int_lt(to.tv_sec - from.tv_sec, 15);
	journal_submit(journal);
	turn_until(1);
}

TEST(what_a_snapshot_holds_is_forgotten) {
	size_t size = 1;

	while (world.tape.count < 200) {
		while (!put(1000))
			turn(); /* the segment is full, and the spare not yet there */
		journal_submit(journal);
		turn_until(world.tape.count);
	}
	journal_truncate(journal, 200);
	while (!put(1000))
		turn();
	journal_submit(journal);
	turn_until(201);
	ck_assert(journal_stop(journal));
	ck_assert_ptr_null(fake_disk_bytes(world.disk, "journal-0000000000000001", &size));
	fake_disk_kill(world.disk);
	ck_assert(world_read(&world, world.disk, 200, &world.file));
	ck_assert_uint_eq(world.found.last, 201);
}

/* --- Without a thread ---------------------------------------------------------------------------
 */

static void go_on_by_hand(void) {
	stop();
	begin(SEGMENT);
	journal_start_threadless(journal, world.file, world.found.last);
	world.file = NULL;
}

TEST(without_a_thread_it_does_what_each_step_says) {
	unsigned prepared = 0;
	enum journal_work work;

	go_on_by_hand();
	ck_assert_int_eq(journal_step(journal), JOURNAL_IDLE);
	ck_assert(put(10));
	ck_assert_int_eq(journal_step(journal), JOURNAL_IDLE);
	journal_submit(journal);
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert_uint_eq(journal_durable(journal), 0);
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	ck_assert_uint_eq(journal_durable(journal), 1);
	/* The second one was gathered meanwhile; the first has the spare made in between. */
	journal_submit(journal);
	while ((work = journal_step(journal)) == JOURNAL_PREPARED)
		prepared++;
	ck_assert_uint_gt(prepared, 0);
	ck_assert_int_eq(work, JOURNAL_WROTE);
	ck_assert_uint_eq(journal_durable(journal), 2);
	do
		work = journal_step(journal);
	while (work == JOURNAL_PREPARED);
	ck_assert_int_eq(work, JOURNAL_IDLE);
}

TEST(a_spare_that_a_batch_goes_to_is_not_another_one) {
	const size_t large = SEGMENT / 4 * 3;

	go_on_by_hand();
	ck_assert(put(10));
	journal_submit(journal);
	while (journal_step(journal) != JOURNAL_IDLE)
		;
	ck_assert(put(SEGMENT / 4));
	journal_submit(journal);
	/* It goes to the spare, while the one before has the next piece of a spare made. */
	ck_assert(put(large));
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	journal_submit(journal);
	(void)journal_step(journal);
	ck_assert(!put(large));
	while (journal_step(journal) != JOURNAL_IDLE)
		;
	ck_assert(put(large));
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	ck_assert_uint_eq(journal_durable(journal), 4);
}

TEST(without_a_thread_a_stop_makes_all_durable) {
	go_on_by_hand();
	ck_assert(put(10));
	journal_submit(journal);
	for (unsigned i = 0; i < 50; i++)
		ck_assert(put(100));
	ck_assert(journal_stop(journal));
	ck_assert_uint_eq(journal_durable(journal), 51);
	assert_found(51, true);
}

TEST(without_a_thread_a_failure_is_told_and_is_the_end) {
	struct fake_plan plan = {.before = pass, .fail_change = 2, .error = -EIO};

	go_on_by_hand();
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	while (journal_step(journal) == JOURNAL_PREPARED)
		;
	fake_disk_plan(world.disk, &plan);
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_FAILED);
	ck_assert_ptr_nonnull(journal_error(journal));
	ck_assert_int_eq(journal_step(journal), JOURNAL_FAILED);
	ck_assert_uint_eq(journal_durable(journal), 1);
	ck_assert(!journal_stop(journal));
	ck_assert(!journal_stop(journal));
}

TEST(without_a_thread_a_full_disk_is_looked_at_step_by_step) {
	struct fake_plan full = {.capacity = 2 * SEGMENT + SEGMENT / 8 + MANIFEST_SIZE};
	enum journal_work work = JOURNAL_IDLE;

	go_on_by_hand();
	fake_disk_plan(world.disk, &full);
	while (put(1000)) {
		journal_submit(journal);
		do
			work = journal_step(journal);
		while (work == JOURNAL_PREPARED || work == JOURNAL_WROTE);
		ck_assert_uint_eq(journal_durable(journal), world.tape.count);
	}
	ck_assert_int_eq(work, JOURNAL_NO_ROOM);
	ck_assert_int_eq(journal_step(journal), JOURNAL_NO_ROOM);
	full.capacity = 0;
	fake_disk_plan(world.disk, &full);
	ck_assert_int_eq(journal_step(journal), JOURNAL_PREPARED);
	ck_assert(put(1000));
}

TEST(one_that_is_not_stopped_is_left_as_a_crash_leaves_it) {
	go_on_by_hand();
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	ck_assert(put(10));
	journal_free(journal);
	assert_found(1, false);
	journal = journal_new();
}

/* --- A real disk ---------------------------------------------------------------------------- */

static uint64_t live_on(struct vfs *disk, uint64_t more) {
	struct reading reading = {.tape = &world.tape, .next = 1};
	const struct journal_file_options options = {SEGMENT, world_chance};
	struct journal_found found;
	uint8_t store[STORE_ID_SIZE];
	struct journal_file *file;
	char why[JOURNAL_WHY_SIZE];

	memset(store, 0x5a, sizeof(store));
	file = journal_file_open(disk, &options, store, 0, read_back, &reading, &found, why);
	ck_assert_msg(file != NULL && !reading.differs, "%s", why);
	journal = journal_new();
	ck_assert_ptr_nonnull(journal);
	recorder = journal_recorder(journal);
	ck_assert(journal_start(journal, file, found.last));
	for (uint64_t i = 0; i < more; i++) {
		while (!put(100 + i))
			turn();
		if (i % 3 == 0)
			journal_submit(journal);
	}
	ck_assert(journal_stop(journal));
	journal_free(journal);
	return found.last;
}

TEST(it_does_the_same_on_a_real_disk) {
	char path[] = "/tmp/kv-journal.XXXXXX";
	char command[64];
	char why[JOURNAL_WHY_SIZE];
	struct vfs disk;

	stop();
	journal_world_open(&world, SEGMENT, 1);
	ck_assert_ptr_nonnull(mkdtemp(path));
	for (uint64_t last = 0; last <= 600; last += 300) {
		ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
		ck_assert_uint_eq(live_on(&disk, 300), last);
		vfs_close(&disk);
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", path);
	ck_assert_int_eq(system(command), 0);
	journal_world_close(&world);
	start();
}

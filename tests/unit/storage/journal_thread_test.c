/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal with its thread: what was recorded becomes durable in order, the turn is woken, a
 * failure is told, a full disk is waited for.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "journal_live.h"

START_TEST(what_is_recorded_becomes_durable_in_order) {
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
END_TEST

START_TEST(one_batch_is_written_while_the_next_gathers) {
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
	ck_assert_uint_eq(counters.behind, 6 * (CODEC_HEADER_SIZE + 13));
	gate_set(false);
	turn_until(6);
	journal_get_stats(journal, &counters);
	ck_assert_uint_eq(counters.batches, 2);
	ck_assert_uint_eq(counters.behind, 0);
	ck_assert_uint_gt(counters.bytes, 6 * (CODEC_HEADER_SIZE + 13));
}
END_TEST

START_TEST(nothing_is_durable_before_the_sync_is_done) {
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
END_TEST

START_TEST(a_stop_makes_all_durable_and_marks_the_end) {
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
END_TEST

START_TEST(a_stop_without_anything_to_do_is_a_stop) {
	ck_assert(journal_stop(journal));
	ck_assert(journal_stop(journal));
	assert_found(0, false);
}
END_TEST

START_TEST(a_journal_that_never_began_can_be_stopped) {
	struct journal *another = journal_new();

	ck_assert_ptr_nonnull(another);
	ck_assert(journal_stop(another));
	journal_free(another);
	journal_free(NULL);
}
END_TEST

START_TEST(a_failed_sync_is_told_and_ends_it) {
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
END_TEST

START_TEST(when_much_is_not_yet_durable_it_is_behind) {
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
END_TEST

START_TEST(a_batch_that_cannot_fit_into_a_segment_is_refused) {
	ck_assert(!put(SEGMENT));
	ck_assert(!put(SEGMENT - SEGMENT_HEADER_SIZE - BATCH_HEADER_SIZE - CODEC_HEADER_SIZE - 2));
	ck_assert(put(SEGMENT - SEGMENT_HEADER_SIZE - BATCH_HEADER_SIZE - CODEC_HEADER_SIZE - 3));
	ck_assert(!put(1));
	journal_submit(journal);
	turn_until(1);
	/* As soon as there is a spare, the next one. */
	while (!put(1))
		turn();
	journal_submit(journal);
	turn_until(2);
}
END_TEST

START_TEST(a_full_disk_refuses_and_goes_on_by_itself_when_there_is_room) {
	struct fake_plan full = {.before = pass, .capacity = 2 * SEGMENT + SEGMENT / 8};
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
	/* Whoever wants to read is not kept waiting. */
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
END_TEST

START_TEST(a_large_segment_is_made_without_pauses_once_there_is_room) {
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
END_TEST

START_TEST(what_a_snapshot_holds_is_forgotten) {
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
END_TEST

/* --- Without a thread ---------------------------------------------------------------------------
 */

static void go_on_by_hand(void) {
	stop();
	begin(SEGMENT);
	journal_start_threadless(journal, world.file, world.found.last);
	world.file = NULL;
}

START_TEST(without_a_thread_it_does_what_each_step_says) {
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
END_TEST

START_TEST(a_spare_that_a_batch_goes_to_is_not_another_one) {
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
END_TEST

START_TEST(without_a_thread_a_stop_makes_all_durable) {
	go_on_by_hand();
	ck_assert(put(10));
	journal_submit(journal);
	for (unsigned i = 0; i < 50; i++)
		ck_assert(put(100));
	ck_assert(journal_stop(journal));
	ck_assert_uint_eq(journal_durable(journal), 51);
	assert_found(51, true);
}
END_TEST

START_TEST(without_a_thread_a_failure_is_told_and_is_the_end) {
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
END_TEST

START_TEST(without_a_thread_a_full_disk_is_looked_at_step_by_step) {
	struct fake_plan full = {.capacity = 2 * SEGMENT + SEGMENT / 8};
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
END_TEST

START_TEST(one_that_is_not_stopped_is_left_as_a_crash_leaves_it) {
	go_on_by_hand();
	ck_assert(put(10));
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	ck_assert(put(10));
	journal_free(journal);
	assert_found(1, false);
	journal = journal_new();
}
END_TEST

/* --- A real disk ---------------------------------------------------------------------------- */

static uint64_t live_on(struct disk *disk, uint64_t more) {
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

START_TEST(it_does_the_same_on_a_real_disk) {
	char path[] = "/tmp/kv-journal.XXXXXX";
	char command[64];
	char why[JOURNAL_WHY_SIZE];
	struct disk disk;

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
END_TEST

static void add(TCase *tests) {
	tcase_add_checked_fixture(tests, start, stop);
	tcase_add_test(tests, what_is_recorded_becomes_durable_in_order);
	tcase_add_test(tests, one_batch_is_written_while_the_next_gathers);
	tcase_add_test(tests, nothing_is_durable_before_the_sync_is_done);
	tcase_add_test(tests, a_stop_makes_all_durable_and_marks_the_end);
	tcase_add_test(tests, a_stop_without_anything_to_do_is_a_stop);
	tcase_add_test(tests, a_journal_that_never_began_can_be_stopped);
	tcase_add_test(tests, a_failed_sync_is_told_and_ends_it);
	tcase_add_test(tests, when_much_is_not_yet_durable_it_is_behind);
	tcase_add_test(tests, a_batch_that_cannot_fit_into_a_segment_is_refused);
	tcase_add_test(tests, a_full_disk_refuses_and_goes_on_by_itself_when_there_is_room);
	tcase_add_test(tests, a_large_segment_is_made_without_pauses_once_there_is_room);
	tcase_add_test(tests, what_a_snapshot_holds_is_forgotten);
	tcase_add_test(tests, without_a_thread_it_does_what_each_step_says);
	tcase_add_test(tests, a_spare_that_a_batch_goes_to_is_not_another_one);
	tcase_add_test(tests, without_a_thread_a_stop_makes_all_durable);
	tcase_add_test(tests, without_a_thread_a_failure_is_told_and_is_the_end);
	tcase_add_test(tests, without_a_thread_a_full_disk_is_looked_at_step_by_step);
	tcase_add_test(tests, one_that_is_not_stopped_is_left_as_a_crash_leaves_it);
	tcase_add_test(tests, it_does_the_same_on_a_real_disk);
}

int main(void) {
	return run_suite("thread", add);
}

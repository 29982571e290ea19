/* SPDX-License-Identifier: BSD-3-Clause */
/* Where there is no room for the next segment: the disk is left alone, and so is what others need.
 */
#include <errno.h>

#include "journal_fixture.h"
#include "test.h"

enum {
	PIECE = 1 << 20,
	PIECES = 6,
	SEGMENT = PIECES * PIECE,
	MARGIN = SEGMENT / 8,
	LOOKS = 10,
};

static struct journal_world world;

static void start(void) {
	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
}

static void stop(void) {
	journal_world_close(&world);
}

static void plan_room(uint64_t room) {
	struct fake_plan plan = {.capacity = room};

	fake_disk_plan(world.disk, &plan);
}

static size_t spare_size(void) {
	size_t size;

	return fake_disk_bytes(world.disk, "spare", &size) == NULL ? 0 : size;
}

static void fill(unsigned pieces) {
	while (pieces-- > 0)
		ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_BEGUN);
}

/* Looks again and again; answers how often the disk was changed. */
static uint64_t look(void) {
	uint64_t before = fake_disk_changes(world.disk);

	for (unsigned i = 0; i < LOOKS; i++)
		ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_NO_ROOM);
	return fake_disk_changes(world.disk) - before;
}

CASE(journal_full, .setup = start, .teardown = stop);

TEST(a_full_disk_is_looked_at_and_not_written_to) {
	plan_room(SEGMENT / 2);
	ck_assert_uint_eq(look(), 0);
	ck_assert_uint_eq(spare_size(), 0);
}

TEST(a_disk_is_not_filled_to_the_brim) {
	plan_room(SEGMENT + MARGIN - 1);
	ck_assert_uint_eq(look(), 0);
	plan_room(SEGMENT + MARGIN);
	fill(PIECES - 1);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_READY);
}

TEST(what_is_begun_is_given_back_when_others_take_the_room) {
	fill(3);
	/* They leave less than what is still to be filled. */
	plan_room(3 * PIECE + PIECE / 2 + MANIFEST_SIZE);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_NO_ROOM);
	ck_assert_uint_eq(spare_size(), 0);
	/* The manifest. */
	ck_assert_uint_eq(fake_disk_open_files(world.disk), 1);
	ck_assert_uint_eq(look(), 0);
	/* And made from its beginning when there is room. */
	fake_disk_plan(world.disk, NULL);
	fill(PIECES - 1);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_READY);
	ck_assert_uint_eq(spare_size(), SEGMENT);
}

TEST(under_a_quota_what_is_filled_is_kept_to_go_on_from_there) {
	const struct fake_plan quota = {
	    .fail_change = 1, .error = -EDQUOT, .does_nothing = true, .is_lasting = true};

	fill(3);
	fake_disk_plan(world.disk, &quota);
	/* One write that is refused each time, and no more. */
	ck_assert_uint_eq(look(), LOOKS);
	ck_assert_uint_eq(spare_size(), 3 * PIECE);
	fake_disk_plan(world.disk, NULL);
	fill(PIECES - 3 - 1);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_READY);
	ck_assert(world_put(&world, SEGMENT / 2));
	world_stop(&world, true);
	world_start(&world);
	ck_assert_uint_eq(world.found.last, 1);
}

TEST(one_whose_sync_failed_is_made_anew) {
	const struct fake_plan plan = {.fail_change = 2, .error = -EIO};

	fill(PIECES - 1);
	/* The last piece, then the sync. */
	fake_disk_plan(world.disk, &plan);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_FAILED);
	ck_assert_int_eq(journal_file_spare_error(world.file), -EIO);
	ck_assert(fake_disk_struck(world.disk));
	ck_assert_uint_eq(spare_size(), 0);
	fill(PIECES - 1);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_READY);
}

TEST(a_disk_that_does_not_know_its_room_is_tried) {
	const struct fake_plan plan = {.fail_at = 1, .error = -ENOSYS, .does_nothing = true};

	fake_disk_plan(world.disk, &plan);
	fill(PIECES - 1);
	ck_assert(fake_disk_struck(world.disk));
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_READY);
}

/* Each of its bytes is reserved: the header, the manifest, the batches, the mark of the end. */
TEST(on_a_full_copy_on_write_disk_the_next_segment_is_begun_and_filled) {
	const struct fake_plan full = {.capacity = 1, .is_copy_on_write = true};

	ck_assert(world_make_spare(&world));
	ck_assert(world_put(&world, SEGMENT / 2));
	ck_assert(world_make_spare(&world));
	fake_disk_plan(world.disk, &full);
	ck_assert_msg(world_put(&world, SEGMENT - SEGMENT / 4), "%s", world.why);
	ck_assert_msg(world_put(&world, 1000), "%s", world.why);
	world_stop(&world, true);
	world_start(&world);
	ck_assert(world.found.was_stopped);
	ck_assert_uint_eq(world.found.last, 3);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots that clients read: how many are held, how long, and what is not waited for. */
#include <errno.h>

#include "storage/held_snapshots.h"
#include "temp_directory.h"
#include "test.h"

static struct place place;
static struct world world;
static struct held_snapshots held;
static struct vfs disk;
static unsigned misses_left; /* pages that are not in the page cache */
static uint64_t now_ms;

static int64_t read_or_miss(void *context, int file, void *data, size_t size, uint64_t offset) {
	if (misses_left == 0)
		return place.disk.read(context, file, data, size, offset);
	misses_left--;
	return -EAGAIN;
}

static void start(void) {
	place_open(&place);
	world_open(&world, usual_limits(), false);
	for (uint64_t position = 1; position <= HELD_SNAPSHOTS_MAX + 1; position++)
		take_snapshot(&place, world.service, position);
	disk = place.disk;
	disk.read_cached = read_or_miss;
	held = (struct held_snapshots){.vfs = &disk};
	misses_left = 0;
	now_ms = 1000;
}

static void stop(void) {
	held_snapshots_close(&held);
	world_close(&world);
	place_close(&place);
}

static int64_t read_at(uint64_t position, uint64_t offset) {
	uint64_t total;
	char bytes[16];

	return held_snapshots_read(&held, position, offset, bytes, sizeof(bytes), now_ms, &total);
}

CASE(held_snapshots, .setup = start, .teardown = stop);

TEST(as_many_as_can_be_are_held_and_one_more_is_refused) {
	for (uint64_t position = 1; position <= HELD_SNAPSHOTS_MAX; position++)
		ck_assert_int_eq(read_at(position, 0), 16);
	ck_assert_int_eq(read_at(HELD_SNAPSHOTS_MAX + 1, 0), -EMFILE);
	/* One that is held is read by as many as like. */
	ck_assert_int_eq(read_at(1, 0), 16);
	ck_assert_uint_eq(held.count, HELD_SNAPSHOTS_MAX);
}

TEST(one_that_is_not_read_for_a_while_makes_room) {
	ck_assert_uint_eq(held_snapshots_expire(&held, now_ms), UINT64_MAX);
	for (uint64_t position = 1; position <= HELD_SNAPSHOTS_MAX; position++)
		ck_assert_int_eq(read_at(position, 0), 16);
	now_ms += HELD_SNAPSHOT_IDLE_MS - 1;
	ck_assert_uint_eq(held_snapshots_expire(&held, now_ms), 1);
	ck_assert_int_eq(read_at(2, 0), 16);
	now_ms++;
	ck_assert_uint_eq(held_snapshots_expire(&held, now_ms), HELD_SNAPSHOT_IDLE_MS - 1);
	ck_assert_uint_eq(held.count, 1);
	ck_assert_int_eq(read_at(HELD_SNAPSHOTS_MAX + 1, 0), 16);
}

TEST(one_that_is_held_is_read_when_it_was_removed) {
	ck_assert_int_eq(read_at(1, 0), 16);
	ck_assert_int_eq(snapshot_remove_others(&place.disk, 2), 0);
	ck_assert_int_eq(read_at(1, 16), 16);
	ck_assert_int_eq(read_at(3, 0), -ENOENT);
}

TEST(a_page_that_the_disk_must_read_is_not_waited_for_but_in_the_end) {
	misses_left = 3;
	ck_assert_int_eq(read_at(1, 0), -EAGAIN);
	ck_assert_int_eq(read_at(1, 0), -EAGAIN);
	ck_assert_int_eq(read_at(1, 0), -EAGAIN);
	ck_assert_int_eq(read_at(1, 0), 16);
	misses_left = UINT32_MAX;
	for (unsigned i = 0; i < HELD_SNAPSHOT_MISSES_MAX; i++)
		ck_assert_int_eq(read_at(1, 16), -EAGAIN);
	ck_assert_int_eq(read_at(1, 16), 16);
	ck_assert_int_eq(read_at(1, 32), -EAGAIN);
}

TEST(its_end_is_no_error_and_one_that_was_cut_is) {
	char path[160];
	uint64_t total;
	char bytes[16];

	ck_assert_int_eq(held_snapshots_read(&held, 1, 0, bytes, sizeof(bytes), now_ms, &total),
			 16);
	ck_assert_int_eq(read_at(1, total - 3), 3);
	ck_assert_int_eq(read_at(1, total), 0);
	ck_assert_int_eq(read_at(1, UINT64_MAX), 0);
	(void)snprintf(path, sizeof(path), "%s/snapshot-0000000000000001", place.path);
	ck_assert_int_eq(truncate(path, 16), 0);
	ck_assert_int_eq(read_at(1, 16), -EIO);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The manifest: what a directory must have is there, or the start is refused. */
#include <errno.h>

#include "journal_fixture.h"
#include "le.h"
#include "storage/crc32c.h"
#include "test.h"

enum { SEGMENT = 8192, RECORD = 64, PLACE = MANIFEST_SIZE / 2 };

static struct journal_world world;
static struct manifest manifest;

static void start(void) {
	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
}

static void stop(void) {
	journal_world_close(&world);
}

/* Batches of 1 KiB: three fit into a segment. */
static void put_batches(unsigned count) {
	for (unsigned i = 0; i < count; i++)
		ck_assert_msg(world_put(&world, 1000), "%s", world.why);
}

static void read_manifest(void) {
	ck_assert_msg(manifest_read(fake_disk_of(world.disk), &manifest, world.why), "%s",
		      world.why);
}

static void remove_file(const char *name) {
	struct vfs *disk = fake_disk_of(world.disk);

	ck_assert_int_eq(disk->remove(disk->context, name), 0);
}

static void remove_segment(uint64_t number) {
	char name[VFS_NAME_MAX];

	segment_name(number, name);
	remove_file(name);
}

static void assert_opens(uint64_t last) {
	ck_assert_msg(world_read(&world, world.disk, 0, &world.file), "%s", world.why);
	ck_assert_uint_eq(world.found.last, last);
	world_stop(&world, false);
}

/* Nothing is changed, and the reason has both words. */
static void assert_refused(const char *first, const char *second) {
	uint64_t changes = fake_disk_changes(world.disk);

	ck_assert(!world_read(&world, world.disk, 0, &world.file));
	ck_assert_msg(strstr(world.why, first) != NULL && strstr(world.why, second) != NULL, "%s",
		      world.why);
	ck_assert_uint_eq(fake_disk_changes(world.disk), changes);
	ck_assert_uint_eq(fake_disk_open_files(world.disk), 0);
}

/* Where the record lies that counts. */
static size_t newest_record(void) {
	read_manifest();
	return manifest.sequence % 2 * PLACE;
}

static void poke(size_t offset, uint8_t byte) {
	fake_disk_poke(world.disk, manifest_name, offset, &byte, 1);
}

CASE(manifest, .setup = start, .teardown = stop);

TEST(it_names_the_newest_segment_and_the_end_of_a_clean_stop) {
	put_batches(1);
	read_manifest();
	ck_assert_uint_eq(manifest.segment, 1);
	ck_assert_uint_eq(manifest.end, 0);
	ck_assert_int_eq(memcmp(manifest.store, world.store, STORE_ID_SIZE), 0);
	put_batches(3);
	read_manifest();
	ck_assert_uint_eq(manifest.segment, 2);
	world_stop(&world, true);
	read_manifest();
	ck_assert_uint_eq(manifest.segment, 2);
	ck_assert_uint_eq(manifest.end, SEGMENT_HEADER_SIZE + batch_size(0) +
					    batch_size(OPERATION_HEADER_SIZE + 3 + 1000));
}

TEST(a_journal_that_lost_all_its_segments_is_refused_by_name) {
	put_batches(2);
	world_stop(&world, true);
	remove_segment(1);
	assert_refused("journal-0000000000000001 is missing", "put it back");
}

TEST(the_newest_segment_is_missed_whether_the_stop_was_clean_or_not) {
	put_batches(4);
	for (unsigned i = 0; i < 2; i++) {
		world_stop(&world, i == 1);
		remove_segment(i == 0 ? 2 : 3);
		assert_refused(i == 0 ? "journal-0000000000000002 is missing"
				      : "journal-0000000000000003 is missing",
			       "put it back");
		stop();
		start();
		put_batches(i == 0 ? 7 : 0);
	}
}

TEST(a_record_cut_short_or_damaged_is_made_up_for_by_the_one_before) {
	size_t at;

	put_batches(4);
	world_stop(&world, true);
	at = newest_record();
	for (size_t i = 0; i < RECORD; i++) {
		size_t size;
		uint8_t was = fake_disk_bytes(world.disk, manifest_name, &size)[at + i];

		poke(at + i, was ^ 1);
		read_manifest();
		ck_assert_uint_eq(manifest.segment, 2);
		poke(at + i, was);
	}
	assert_opens(4);
}

static bool keep_all(void *context, size_t thing) {
	(void)context;
	(void)thing;
	return true;
}

/* Begins a segment, whose batch is not written. */
static void fail_to_put(const struct fake_plan *plan) {
	ck_assert(world_make_spare(&world));
	fake_disk_plan(world.disk, plan);
	ck_assert(!world_put(&world, 1000));
	ck_assert(fake_disk_struck(world.disk));
	world_untape(&world);
	world_stop(&world, false);
	fake_disk_kill(world.disk);
}

/* A failed sync leaves a record in the cache alone; the next process must not rely on it. */
TEST(a_record_that_was_read_is_durable_before_the_other_one_is_written_over) {
	/* header, sync, rename, names; manifest, sync */
	const struct fake_plan no_sync = {.fail_change = 6, .error = -EIO, .does_nothing = true};
	struct fake_plan cut = {.crash_bytes = RECORD / 2};

	/* manifest and sync, once or twice */
	for (cut.crash_at = 5; cut.crash_at <= 8; cut.crash_at++) {
		fail_to_put(&no_sync);
		read_manifest();
		ck_assert_uint_eq(manifest.segment, 1);
		world_start(&world);
		fail_to_put(&cut);
		fake_disk_lose_power(world.disk, keep_all, NULL);
		assert_opens(0);
		stop();
		start();
	}
}

TEST(without_a_record_it_is_damaged) {
	put_batches(4);
	world_stop(&world, true);
	poke(0, 0);
	poke(PLACE, 0);
	assert_refused("manifest is damaged at offset 0", "restore a copy");
	fake_disk_resize(world.disk, manifest_name, 0);
	assert_refused("manifest is damaged at offset 0", "restore a copy");
}

TEST(a_newer_format_is_refused) {
	uint8_t record[RECORD];
	size_t size;
	size_t at;

	put_batches(1);
	world_stop(&world, true);
	at = newest_record();
	memcpy(record, fake_disk_bytes(world.disk, manifest_name, &size) + at, RECORD);
	le_put32(record + 12, MANIFEST_FORMAT + 1);
	le_put32(record + 8, crc32c(0, record + 12, RECORD - 12));
	fake_disk_poke(world.disk, manifest_name, at, record, RECORD);
	assert_refused("manifest has format 2", "use the kvd that wrote it");
}

TEST(that_of_another_store_is_refused) {
	struct vfs *disk = fake_disk_of(world.disk);

	put_batches(1);
	world_stop(&world, true);
	remove_file(manifest_name);
	manifest = (struct manifest){.sequence = 0};
	disk->close(disk->context, manifest_create(disk, &manifest));
	assert_refused("journal-0000000000000001", "belongs to another store");
}

TEST(one_that_cannot_be_read_is_no_missing_one) {
	const struct fake_plan plan = {.fail_at = 2, .error = -EIO, .does_nothing = true};

	put_batches(1);
	world_stop(&world, true);
	/* The directory is listed first. */
	fake_disk_plan(world.disk, &plan);
	assert_refused("cannot read manifest", "Input/output error");
}

TEST(a_directory_without_one_gets_it_with_what_was_found) {
	size_t size;

	put_batches(4);
	world_stop(&world, true);
	remove_file(manifest_name);
	world_start(&world);
	ck_assert(world_make_spare(&world));
	world_stop(&world, true);
	read_manifest();
	ck_assert_uint_eq(manifest.segment, 2);
	ck_assert_uint_gt(manifest.end, SEGMENT_HEADER_SIZE);
	ck_assert_ptr_null(fake_disk_bytes(world.disk, manifest_temporary_name, &size));
	remove_segment(2);
	assert_refused("journal-0000000000000002 is missing", "put it back");
}

TEST(a_full_disk_makes_none_and_serves_what_is_there) {
	const struct fake_plan full = {.capacity = 1};

	put_batches(2);
	world_stop(&world, true);
	remove_file(manifest_name);
	world_start(&world);
	fake_disk_plan(world.disk, &full);
	ck_assert(!world_make_spare(&world));
	ck_assert_int_eq(journal_file_spare_error(world.file), -ENOSPC);
	world_stop(&world, true);
	fake_disk_plan(world.disk, NULL);
	assert_opens(2);
}

TEST(files_that_were_removed_or_replaced_are_noticed) {
	put_batches(1);
	ck_assert(journal_file_is_there(world.file, world.why));
	remove_file(manifest_name);
	ck_assert(!journal_file_is_there(world.file, world.why));
	ck_assert_ptr_nonnull(strstr(world.why, "manifest was removed or replaced"));
	fake_disk_add(world.disk, manifest_name);
	ck_assert(!journal_file_is_there(world.file, world.why));
	stop();
	start();
	put_batches(1);
	remove_segment(1);
	ck_assert(!journal_file_is_there(world.file, world.why));
	ck_assert_ptr_nonnull(strstr(world.why, "journal-0000000000000001 was removed"));
}

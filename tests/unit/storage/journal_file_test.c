/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal's files: going on, rotating, forgetting, and what is said of files that are wrong. */
#include <errno.h>

#include "journal_fixture.h"
#include "test.h"

enum { SEGMENT = 8192, TIME = 1 };

static struct journal_world world;

static void start(void) {
	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
}

static void stop(void) {
	journal_world_close(&world);
}

static const char *segment(uint64_t number) {
	static char name[VFS_NAME_MAX];

	segment_name(number, name);
	return name;
}

static bool has_segment(uint64_t number) {
	size_t size;

	return fake_disk_bytes(world.disk, segment(number), &size) != NULL;
}

/* Batches of 1 KiB: three fit into a segment. */
static void put_batches(unsigned count) {
	for (unsigned i = 0; i < count; i++)
		ck_assert_msg(world_put(&world, 1000), "%s", world.why);
}

static void restart(bool is_clean) {
	world_stop(&world, is_clean);
	world_start(&world);
}

static void assert_opens_up_to(uint64_t last) {
	ck_assert_msg(world_read(&world, world.disk, 0, &world.file), "%s", world.why);
	ck_assert_uint_eq(world.found.last, last);
}

/* It is not opened; the reason has all of these words, and nothing was changed. */
static void assert_refused(const char *first, const char *second) {
	uint64_t changes = fake_disk_changes(world.disk);

	ck_assert(!world_read(&world, world.disk, 0, &world.file));
	ck_assert_msg(strstr(world.why, first) != NULL, "%s", world.why);
	ck_assert_msg(strstr(world.why, second) != NULL, "%s", world.why);
	ck_assert_ptr_null(strchr(world.why, '\n'));
	ck_assert_uint_eq(fake_disk_changes(world.disk), changes);
	ck_assert_uint_eq(fake_disk_open_files(world.disk), 0);
}

static void flip(uint64_t number, size_t offset) {
	size_t size;
	uint8_t byte = fake_disk_bytes(world.disk, segment(number), &size)[offset] ^ 1;

	ck_assert_uint_lt(offset, size);
	fake_disk_poke(world.disk, segment(number), offset, &byte, 1);
}

/* Writes a segment's header anew, with a right checksum. */
static void change_header(uint64_t number, void (*change)(struct segment_header *)) {
	struct segment_header header;
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	size_t size;

	ck_assert(
	    segment_header_decode(fake_disk_bytes(world.disk, segment(number), &size), &header));
	change(&header);
	segment_header_encode(bytes, &header);
	fake_disk_poke(world.disk, segment(number), 0, bytes, sizeof(bytes));
}

/* --- Going on ------------------------------------------------------------------------------- */

CASE(journal_file, .setup = start, .teardown = stop);

TEST(an_empty_directory_is_an_empty_journal) {
	ck_assert_uint_eq(world.found.last, 0);
	ck_assert_uint_eq(world.found.first, 0);
	ck_assert_uint_eq(world.found.segments, 0);
	ck_assert(!world.found.was_stopped);
	ck_assert_uint_eq(journal_file_room(world.file), 0);
	ck_assert_uint_eq(journal_file_segment_room(world.file), SEGMENT - SEGMENT_HEADER_SIZE);
}

TEST(a_segment_is_these_bytes) {
	static const uint8_t header[] = {
	    'k',  'v',	'd',  'j',  'r',  'n',	'l',  '1',  0x38, 0x27, 0x0e, 0x0e, /* checksum */
	    3,	  0,	0,    0,						    /* format */
	    0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
	    0x5a, 0x5a, 0x5a, 0x5a,			    /* store id */
	    1,	  0,	0,    0,    0,	  0,	0,    0,    /* number */
	    1,	  0,	0,    0,    0,	  0,	0,    0,    /* first position */
	    0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, /* salt */
	    0,	  0x20, 0,    0,    0,	  0,	0,    0,    /* size */
	};
	static const uint8_t batch[] = {
	    'k',  'v',	'b',  '1',			    /* */
	    0x5b, 0xbb, 0xa6, 0x18,			    /* checksum */
	    52,	  0,	0,    0,			    /* payload size */
	    1,	  0,	0,    0,			    /* kind */
	    0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, /* salt */
	    1,	  0,	0,    0,    0,	  0,	0,    0,    /* number */
	    0,	  0x10, 0,    0,    0,	  0,	0,    0,    /* offset */
	    1,	  0,	0,    0,    0,	  0,	0,    0,    /* first position */
	    1,	  0,	0,    0,    0,	  0,	0,    0,    /* count */
	    52,	  0,	0,    0,    4,	  0,	3,    0,    /* the operation */
	};
	struct segment_header from = {
	    .format = JOURNAL_FORMAT, .number = 1, .first = 1, .size = SEGMENT};
	struct batch_header like;
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	uint8_t whole[BATCH_HEADER_SIZE + 64] = {0};
	const uint8_t *found;
	size_t size;

	memset(from.store, 0x5a, sizeof(from.store));
	from.salt = 0x0123456789abcdef;
	segment_header_encode(bytes, &from);
	ck_assert_mem_eq(bytes, header, sizeof(header));

	/* What a journal wrote, but for the salt and what depends on it. */
	ck_assert(world_put(&world, 1));
	found = fake_disk_bytes(world.disk, segment(1), &size);
	ck_assert_uint_eq(size, SEGMENT);
	ck_assert_mem_eq(found + 12, header + 12, 36);
	ck_assert_mem_eq(found + 56, header + 56, sizeof(header) - 56);
	ck_assert(batch_header_decode(found + SEGMENT_HEADER_SIZE, &like));
	like.salt = from.salt;
	memcpy(whole + BATCH_HEADER_SIZE, found + SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE, 64);
	batch_header_encode(whole, &like);
	ck_assert_mem_eq(whole, batch, sizeof(batch));
}

TEST(what_was_appended_is_read_again) {
	put_batches(2);
	restart(false);
	ck_assert_uint_eq(world.found.last, 2);
	ck_assert(!world.found.was_stopped);
	ck_assert_uint_eq(world.found.torn, 0);
	put_batches(2);
	restart(true);
	ck_assert_uint_eq(world.found.last, 4);
	ck_assert(world.found.was_stopped);
}

TEST(a_batch_of_many_operations_is_one_batch) {
	for (uint64_t i = 1; i <= 9; i++) {
		struct operation put = put_call(1000, i, "key", "value");

		world_gather(&world, &put, TIME);
	}
	ck_assert(world_append(&world));
	restart(false);
	ck_assert_uint_eq(world.found.operations, 9);
}

TEST(a_full_segment_is_followed_by_the_next) {
	put_batches(10);
	ck_assert(has_segment(4) && !has_segment(5));
	restart(true);
	ck_assert_uint_eq(world.found.segments, 4);
	ck_assert_uint_eq(world.found.last, 10);
	ck_assert_uint_eq(world.found.first, 1);
}

TEST(each_start_that_writes_begins_a_segment) {
	put_batches(1);
	restart(true);
	restart(true);
	ck_assert(!has_segment(2));
	ck_assert(world.found.was_stopped);
	put_batches(1);
	ck_assert(has_segment(2));
	restart(false);
	ck_assert_uint_eq(world.found.last, 2);
	ck_assert(!world.found.was_stopped);
}

TEST(only_what_is_behind_the_snapshot_is_handed_over) {
	put_batches(10);
	world_stop(&world, true);
	ck_assert(world_read(&world, world.disk, 7, &world.file));
	ck_assert_uint_eq(world.found.operations, 3);
	put_batches(1);
	restart(true);
	ck_assert_uint_eq(world.found.last, 11);
}

TEST(segments_that_a_snapshot_holds_are_forgotten) {
	put_batches(10); /* 1-3, 4-6, 7-9, 10 */
	journal_file_truncate(world.file, 5);
	ck_assert(!has_segment(1) && has_segment(2));
	journal_file_truncate(world.file, 10);
	ck_assert(!has_segment(3) && has_segment(4)); /* the last one stays */
	put_batches(3);
	world_stop(&world, true);
	ck_assert(world_read(&world, world.disk, 10, &world.file));
	ck_assert_uint_eq(world.found.first, 10);
	ck_assert_uint_eq(world.found.last, 13);
}

TEST(a_forgotten_segment_that_comes_back_is_removed) {
	const uint8_t *bytes;
	uint8_t old[SEGMENT];
	size_t size;

	put_batches(10);
	bytes = fake_disk_bytes(world.disk, segment(1), &size);
	memcpy(old, bytes, sizeof(old));
	journal_file_truncate(world.file, 7); /* 1 and 2 */
	world_stop(&world, true);
	fake_disk_add(world.disk, segment(1));
	fake_disk_poke(world.disk, segment(1), 0, old, sizeof(old));
	ck_assert_msg(world_read(&world, world.disk, 7, &world.file), "%s", world.why);
	ck_assert_uint_eq(world.found.last, 10);
	ck_assert(!has_segment(1));
}

static bool keep_nothing(void *context, size_t thing) {
	(void)context;
	(void)thing;
	return false;
}

TEST(a_segment_whose_name_no_sync_took_in_is_begun_anew) {
	/* What such a sync did is left to chance: so it is tried often. */
	struct fake_plan plan = {.fail_change = 8, .error = -EIO};

	for (uint64_t seed = 1; seed <= 20; seed++) {
		stop();
		journal_world_open(&world, SEGMENT, seed);
		world_start(&world);
		put_batches(1);
		restart(false);
		/* remove spare, create, write, sync; header, sync, rename, names: this one */
		fake_disk_plan(world.disk, &plan);
		ck_assert(!world_put(&world, 1000));
		ck_assert_str_eq(fake_disk_last(world.disk), "sync the names");
		world_stop(&world, false);
		fake_disk_kill(world.disk);
		world_untape(&world);

		ck_assert(has_segment(2));
		assert_opens_up_to(1);
		ck_assert_uint_eq(world.found.segments, 2);
		put_batches(1);
		ck_assert(has_segment(2) && !has_segment(3));
		world_stop(&world, false);
		fake_disk_lose_power(world.disk, keep_nothing, NULL);
		assert_opens_up_to(2);
	}
}

/* --- Room ----------------------------------------------------------------------------------- */

TEST(a_full_disk_is_no_failure_and_ends) {
	struct fake_plan full = {.capacity = SEGMENT + SEGMENT / 8 + MANIFEST_SIZE};

	fake_disk_plan(world.disk, &full);
	put_batches(3);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_NO_ROOM);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_NO_ROOM);
	/* There is no half of a segment in the way of others. */
	ck_assert(!has_segment(2));
	fake_disk_plan(world.disk, NULL);
	put_batches(1);
	restart(true);
	ck_assert_uint_eq(world.found.last, 4);
}

TEST(a_large_segment_is_filled_piece_by_piece) {
	unsigned pieces = 1;

	world_stop(&world, false);
	world.options.segment_size = (5 << 20) + 4096;
	world_start(&world);
	while (journal_file_make_spare(world.file) == SPARE_BEGUN)
		pieces++;
	ck_assert_uint_eq(pieces, 6);
	ck_assert_int_eq(journal_file_make_spare(world.file), SPARE_READY);
	ck_assert(world_put(&world, (5 << 20) - 200));
	restart(true);
	ck_assert_uint_eq(world.found.last, 1);
}

/* --- What a crash leaves -------------------------------------------------------------------- */

TEST(a_torn_last_batch_is_cut_off_and_said) {
	put_batches(5);
	world_stop(&world, false);
	flip(2, SEGMENT_HEADER_SIZE + 1500); /* in the fifth */
	assert_opens_up_to(4);
	/* Up to the byte that was flipped: what comes behind it is zeros. */
	ck_assert_uint_eq(world.found.torn, 1501 - batch_size(OPERATION_HEADER_SIZE + 3 + 1000));
	ck_assert_uint_eq(world.found.missing, 0);

	/* And stays so, with other batches behind it. */
	world_untape(&world);
	put_batches(2);
	restart(true);
	ck_assert_uint_eq(world.found.last, 6);
	ck_assert_uint_eq(world.found.torn, 0);
}

TEST(a_batch_at_another_place_is_damage) {
	uint8_t batch[1200];
	size_t size = (size_t)batch_size(OPERATION_HEADER_SIZE + 1003);
	size_t whole;

	put_batches(2);
	world_stop(&world, false);
	memcpy(batch, fake_disk_bytes(world.disk, segment(1), &whole) + SEGMENT_HEADER_SIZE, size);
	fake_disk_poke(world.disk, segment(1), SEGMENT_HEADER_SIZE + 2 * size, batch, size);
	assert_refused(segment(1), "the header of a batch is not what was written");
}

TEST(after_a_failure_there_is_no_mark_of_a_clean_stop) {
	struct fake_plan plan = {.error = -EIO};

	/* remove spare, create, write, sync; header, sync, rename, names; manifest, sync; batch,
	 * sync */
	for (uint64_t at = 5; at <= 12; at++) {
		struct operation put = put_call(1000, 1, "key", "");

		put_batches(3);
		put.value = zeros(1000);
		world_gather(&world, &put, TIME);
		plan.fail_change = at;
		fake_disk_plan(world.disk, &plan);
		ck_assert(!world_append(&world));
		ck_assert(fake_disk_struck(world.disk));
		world_stop(&world, true);
		fake_disk_kill(world.disk);
		world_start(&world);
		ck_assert(!world.found.was_stopped);
		ck_assert_uint_ge(world.found.last, world.durable);
		stop();
		start();
	}
}

TEST(a_spare_that_was_left_is_removed) {
	size_t size;

	put_batches(1);
	world_stop(&world, true);
	fake_disk_add(world.disk, "spare");
	fake_disk_poke(world.disk, "spare", 0, "garbage", 7);
	world_start(&world);
	ck_assert_ptr_null(fake_disk_bytes(world.disk, "spare", &size));
}

TEST(other_files_are_let_alone) {
	static const char *const names[] = {"journal-",
					    "journal-1",
					    "journal-000000000000000G",
					    "journal-00000000000000001",
					    "notes",
					    "journal-0000000000000000",
					    "journal-00000000000000aB"};
	size_t size;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		fake_disk_add(world.disk, names[i]);
	put_batches(4);
	restart(true);
	ck_assert_uint_eq(world.found.last, 4);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_ptr_nonnull(fake_disk_bytes(world.disk, names[i], &size));
}

/* --- What is refused ------------------------------------------------------------------------ */

TEST(a_bad_batch_before_a_good_one_is_refused_by_name_and_offset) {
	put_batches(5);
	world_stop(&world, false);
	flip(2, SEGMENT_HEADER_SIZE + 500); /* in the fourth */
	assert_refused("journal-0000000000000002", "offset 4096");
}

TEST(a_bad_batch_at_the_end_of_an_older_segment_is_refused_by_name_and_offset) {
	char offset[32];

	put_batches(4);
	world_stop(&world, false);
	(void)snprintf(
	    offset, sizeof(offset), "offset %u",
	    (unsigned)(SEGMENT_HEADER_SIZE + 2 * batch_size(OPERATION_HEADER_SIZE + 1003)));
	flip(1, SEGMENT_HEADER_SIZE + 2500);
	assert_refused("journal-0000000000000001", offset);
}

TEST(damage_before_a_clean_stop_is_refused) {
	put_batches(2);
	world_stop(&world, true);
	flip(1, SEGMENT_HEADER_SIZE + 1500);
	assert_refused("journal-0000000000000001", "is damaged at offset");
}

/* Once, however often it is started and stopped. */
TEST(a_clean_stop_is_marked_though_nothing_was_written_since_the_crash) {
	put_batches(2);
	restart(false);
	for (int i = 0; i < 2; i++) {
		ck_assert(world_make_spare(&world));
		restart(true);
		ck_assert(world.found.was_stopped && world.found.segments == 2);
	}
	world_stop(&world, true);
	flip(1, SEGMENT_HEADER_SIZE + 1500);
	assert_refused("journal-0000000000000001", "is damaged at offset");
}

TEST(a_batch_behind_a_clean_stop_is_refused) {
	struct batch_header header = {.kind = BATCH_OPERATIONS, .payload_size = 1000, .count = 1};
	struct segment_header of;
	uint8_t bytes[BATCH_HEADER_SIZE];
	size_t size;

	put_batches(1);
	world_stop(&world, true);
	ck_assert(segment_header_decode(fake_disk_bytes(world.disk, segment(1), &size), &of));
	header.salt = of.salt;
	header.segment = 1;
	header.offset =
	    SEGMENT_HEADER_SIZE + batch_size(OPERATION_HEADER_SIZE + 1003) + batch_size(0);
	header.first = 2;
	memset(bytes, 0, sizeof(bytes));
	batch_header_encode(bytes, &(struct batch_header){.kind = BATCH_END,
							  .salt = of.salt,
							  .segment = 1,
							  .offset = header.offset,
							  .first = 2});
	bytes[4] ^= 1; /* a torn one, as a crash would leave it */
	fake_disk_poke(world.disk, segment(1), header.offset, bytes, sizeof(bytes));
	assert_refused("journal-0000000000000001", "behind the mark of a clean stop");
}

TEST(a_missing_segment_is_refused_by_name) {
	struct vfs *disk = fake_disk_of(world.disk);

	put_batches(10);
	world_stop(&world, true);
	ck_assert_int_eq(disk->remove(disk->context, segment(2)), 0);
	assert_refused("journal-0000000000000002", "missing");
	ck_assert_int_eq(disk->remove(disk->context, segment(1)), 0);
	assert_refused("journal-0000000000000002", "up to 6");
}

TEST(a_journal_that_ends_before_the_snapshot_is_refused) {
	put_batches(4);
	world_stop(&world, true);
	ck_assert(!world_read(&world, world.disk, 5, &world.file));
	ck_assert_msg(strstr(world.why, "and the snapshot goes up to 5") != NULL, "%s", world.why);
}

TEST(a_snapshot_without_a_journal_is_refused) {
	world_stop(&world, true);
	ck_assert(!world_read(&world, world.disk, 5, &world.file));
	ck_assert_msg(strstr(world.why, "no journal") != NULL, "%s", world.why);
}

static void of_another_store(struct segment_header *header) {
	header->store[0] ^= 1;
}

static void of_a_newer_format(struct segment_header *header) {
	header->format = JOURNAL_FORMAT + 1;
}

static void of_another_number(struct segment_header *header) {
	header->number++;
}

static void that_begins_later(struct segment_header *header) {
	header->first++;
}

static void that_begins_earlier(struct segment_header *header) {
	header->first--;
}

TEST(a_segment_that_does_not_belong_here_is_refused) {
	static const struct {
		void (*change)(struct segment_header *);
		const char *file;
		const char *what;
	} cases[] = {
	    {of_another_store, "journal-0000000000000002", "belongs to another store"},
	    {of_a_newer_format, "journal-0000000000000002", "has format 4"},
	    {of_another_number, "journal-0000000000000002", "another segment under this name"},
	    {that_begins_later, "journal-0000000000000001", "the next segment goes on behind it"},
	    {that_begins_earlier, "journal-0000000000000002", "begins before"},
	};
	uint8_t kept[SEGMENT_HEADER_SIZE];
	size_t size;

	put_batches(4);
	world_stop(&world, true);
	memcpy(kept, fake_disk_bytes(world.disk, segment(2), &size), sizeof(kept));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		change_header(2, cases[i].change);
		assert_refused(cases[i].file, cases[i].what);
		fake_disk_poke(world.disk, segment(2), 0, kept, sizeof(kept));
	}
	assert_opens_up_to(4);
}

TEST(a_check_reads_the_same_and_changes_nothing) {
	struct reading reading = {.tape = &world.tape, .next = 1};
	uint8_t store[STORE_ID_SIZE] = {0};

	put_batches(5);
	world_stop(&world, false);
	flip(2, SEGMENT_HEADER_SIZE + 1500);
	fake_disk_plan(world.disk, NULL);
	ck_assert(journal_file_check(fake_disk_of(world.disk), store, 0, read_back, NULL, &reading,
				     &world.found, world.why));
	ck_assert(!reading.differs && reading.next == 5);
	ck_assert_mem_eq(store, world.store, sizeof(store));
	ck_assert_uint_gt(world.found.torn, 0);
	ck_assert_uint_eq(fake_disk_changes(world.disk), 0);
}

TEST(the_store_can_be_asked_for_first) {
	uint8_t store[STORE_ID_SIZE];

	ck_assert(!journal_read_store_id(fake_disk_of(world.disk), store));
	put_batches(4);
	ck_assert(journal_read_store_id(fake_disk_of(world.disk), store));
	ck_assert_mem_eq(store, world.store, sizeof(store));
}

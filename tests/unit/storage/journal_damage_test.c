/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: malloc calloc realloc */
/*
 * A small journal with any bit flipped, cut anywhere, with an error at every call of the disk, and
 * with every allocation refused: it is told, or it does no harm.
 */
#include <errno.h>
#include <stdlib.h>

#include "journal_fixture.h"
#include "refuse_memory.h"
#include "test.h"

enum { SEGMENT = SEGMENT_HEADER_SIZE + 1024, BATCHES = 14 };

static struct journal_world world;
static uint64_t written; /* bytes of batches */

/* --- Memory: the linker sends all calls here ------------------------------------------------ */

static uint64_t allocations;
static uint64_t refuse_at; /* this one; 0: none */

static bool is_refused(void) {
	return refuse_at != 0 && ++allocations == refuse_at;
}

/* --- A journal ------------------------------------------------------------------------------ */

/* Batches of one to three small operations: each Put holds its number. */
static bool put_batch(struct journal_world *journal) {
	size_t more = journal->tape.count % 3;
	char value[48] = "";

	for (size_t i = 0; i <= more; i++) {
		uint64_t number = journal->tape.count + 1;
		struct operation put = put_call(1000, number, "key", value);

		(void)snprintf(value, sizeof(value), "the value of operation %u", (unsigned)number);
		put.value = text(value);
		world_gather(journal, &put, number);
	}
	written += batch_size(journal->payload);
	return world_append(journal);
}

static void write_journal(bool is_clean) {
	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
	written = 0;
	for (unsigned i = 0; i < BATCHES; i++)
		ck_assert_msg(put_batch(&world), "%s", world.why);
	world_stop(&world, is_clean);
}

static void stop(void) {
	journal_world_close(&world);
}

/* What a copy of the disk holds; UINT64_MAX: it was refused. */
static uint64_t last_of(const struct fake_disk *disk) {
	struct fake_disk *copy = fake_disk_copy(disk);
	uint64_t last = UINT64_MAX;
	struct journal_file *file;

	if (world_read(&world, copy, 0, &file)) {
		journal_file_close(file, false);
		last = world.found.last;
	}
	fake_disk_free(copy);
	return last;
}

static const char *segment(uint64_t number) {
	static char name[VFS_NAME_MAX];

	segment_name(number, name);
	return name;
}

/* Every bit is flipped; under valgrind (tests/run's WRAPPER) one of 7, so of each byte's 8 in turn.
 */
static size_t flip_step(void) {
	const char *wrapper = getenv("WRAPPER");

	return wrapper != NULL && wrapper[0] != '\0' ? 7 : 1;
}

/* Answers how many flips were not detected. */
static size_t flip_all(const char *name, uint64_t least, uint64_t most) {
	size_t unseen = 0;
	size_t size;

	ck_assert_ptr_nonnull(fake_disk_bytes(world.disk, name, &size));
	for (size_t bit = 0; bit < 8 * size; bit += flip_step()) {
		uint8_t byte = fake_disk_bytes(world.disk, name, &size)[bit / 8];
		uint8_t flipped = byte ^ (uint8_t)(1 << bit % 8);
		uint64_t last;

		fake_disk_poke(world.disk, name, bit / 8, &flipped, 1);
		last = last_of(world.disk);
		ck_assert_msg(last == UINT64_MAX || (last >= least && last <= most),
			      "bit %zu of %s: %llu", bit, name, (unsigned long long)last);
		unseen += last != UINT64_MAX;
		fake_disk_poke(world.disk, name, bit / 8, &byte, 1);
	}
	return unseen;
}

CASE(journal_damage, .teardown = stop);

TEST(any_flipped_bit_after_a_clean_stop_is_detected_or_harmless) {
	size_t unseen = 0;
	uint64_t all;
	uint64_t segments;

	write_journal(true);
	all = world.tape.count;
	ck_assert_uint_eq(last_of(world.disk), all);
	segments = world.found.segments;
	ck_assert_uint_eq(segments, 3);
	for (uint64_t number = 1; number <= segments; number++)
		unseen += flip_all(segment(number), all, all);
	/* All but the padding of batches, the mark itself, and where nothing was written. */
	ck_assert_uint_le(unseen, 8 * (segments * (SEGMENT - SEGMENT_HEADER_SIZE) - written +
				       BATCH_ALIGNMENT * BATCHES));
	printf("figure: of %u flips %zu are refused, all others do no harm\n",
	       (unsigned)(8 * segments * SEGMENT / flip_step()),
	       (size_t)(8 * segments * SEGMENT / flip_step()) - unseen);
}

TEST(any_flipped_bit_after_a_crash_costs_no_more_than_the_last_batch) {
	uint64_t all;

	write_journal(false);
	all = world.tape.count;
	(void)flip_all(segment(1), all, all);
	(void)flip_all(segment(2), all, all);
	/* It has at most three operations. */
	(void)flip_all(segment(3), all - 3, all);
}

TEST(every_prefix_of_the_last_segment_recovers_after_a_crash) {
	uint64_t before = 0;

	write_journal(false);
	ck_assert_uint_eq(last_of(world.disk), world.tape.count);
	ck_assert_uint_eq(world.found.segments, 3);
	for (size_t size = 0; size <= SEGMENT; size++) {
		struct fake_disk *cut = fake_disk_copy(world.disk);
		struct fake_disk *zeroed = fake_disk_copy(world.disk);
		uint64_t last;

		fake_disk_resize(cut, segment(3), size);
		fake_disk_resize(zeroed, segment(3), size);
		fake_disk_resize(zeroed, segment(3), SEGMENT);
		last = last_of(cut);
		if (size < SEGMENT_HEADER_SIZE) {
			/* The header was durable before the name was: no crash does that. */
			ck_assert_uint_eq(last, UINT64_MAX);
			ck_assert_ptr_nonnull(strstr(world.why, segment(3)));
		} else {
			ck_assert_msg(last != UINT64_MAX && last >= before, "%s", world.why);
			ck_assert_uint_eq(world.found.missing, SEGMENT - size);
			ck_assert(last_of(zeroed) - last <= 3); /* padding is zeros */
			before = last;
		}
		fake_disk_free(cut);
		fake_disk_free(zeroed);
	}
	ck_assert_uint_eq(before, world.tape.count);
}

TEST(after_a_clean_stop_an_end_that_was_cut_or_became_zeros_is_found) {
	const uint8_t *bytes;
	size_t end;

	write_journal(true);
	bytes = fake_disk_bytes(world.disk, segment(3), &end);
	while (bytes[end - 1] == 0)
		end--;
	ck_assert_uint_gt(end, SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE);
	for (size_t size = 0; size < end; size++) {
		struct fake_disk *cut = fake_disk_copy(world.disk);
		struct fake_disk *zeroed = fake_disk_copy(world.disk);

		fake_disk_resize(cut, segment(3), size);
		fake_disk_resize(zeroed, segment(3), size);
		fake_disk_resize(zeroed, segment(3), SEGMENT);
		ck_assert_uint_eq(last_of(cut), UINT64_MAX);
		ck_assert_ptr_nonnull(strstr(world.why, segment(3)));
		ck_assert_uint_eq(last_of(zeroed), UINT64_MAX);
		ck_assert_ptr_nonnull(strstr(world.why, segment(3)));
		fake_disk_free(cut);
		fake_disk_free(zeroed);
	}
}

/* Where the batches of a segment begin; answers how many, and the end of the last one. */
static size_t find_batches(uint64_t number, size_t starts[BATCHES + 1]) {
	struct batch_header header;
	size_t at = SEGMENT_HEADER_SIZE;
	size_t count = 0;
	size_t size;
	const uint8_t *bytes = fake_disk_bytes(world.disk, segment(number), &size);

	while (at + BATCH_HEADER_SIZE <= size && batch_header_decode(bytes + at, &header)) {
		starts[count++] = at;
		at += (size_t)batch_size(header.payload_size);
	}
	starts[count] = at;
	return count;
}

/* What becomes of a range of bytes. */
static uint64_t last_with(size_t from, size_t to, const uint8_t *bytes) {
	struct fake_disk *copy = fake_disk_copy(world.disk);
	uint64_t last;

	fake_disk_poke(copy, segment(3), from, bytes, to - from);
	last = last_of(copy);
	fake_disk_free(copy);
	return last;
}

/*
 * After a crash: the last batches are overwritten, from anywhere in one of them on. It is taken for
 * a torn batch only if nothing is lost but the last batch, or all that is left is its end.
 */
TEST(damage_over_the_last_batches_is_no_torn_one) {
	size_t starts[BATCHES + 1];
	uint8_t garbage[SEGMENT];
	uint8_t none[SEGMENT] = {0};
	size_t count;
	size_t end;

	write_journal(false);
	count = find_batches(3, starts);
	ck_assert_uint_ge(count, 3);
	end = starts[count];
	memset(garbage, 0xa5, sizeof(garbage));
	for (size_t from = SEGMENT_HEADER_SIZE; from < starts[count - 1]; from++) {
		/* With other bytes, to the end or into the last batch. */
		ck_assert_uint_eq(last_with(from, end, garbage), UINT64_MAX);
		ck_assert_uint_eq(last_with(from, starts[count - 1] + 1, garbage), UINT64_MAX);
		/* With zeros, as long as the header of a later batch is there. */
		if (from < starts[count - 1] - BATCH_ALIGNMENT)
			ck_assert_uint_eq(last_with(from, starts[count - 1], none), UINT64_MAX);
	}
	/* What cannot be told from a torn batch: the last one is damaged ... */
	ck_assert_uint_ne(last_with(starts[count - 1] + BATCH_HEADER_SIZE, end, garbage),
			  UINT64_MAX);
	/* ... or zeros go from a batch into the last one. */
	ck_assert_uint_ne(last_with(starts[count - 2], end - BATCH_ALIGNMENT, none), UINT64_MAX);
	/* Its header is known, but for three numbers; and so is what comes behind it. */
	ck_assert_uint_eq(last_with(starts[count - 1], end, garbage), UINT64_MAX);
}

TEST(bytes_behind_a_torn_batch_are_damage) {
	static const uint8_t one = 1;
	size_t starts[BATCHES + 1];
	size_t count;
	uint8_t flipped;

	write_journal(false);
	count = find_batches(3, starts);
	flipped = fake_disk_bytes(world.disk, segment(3),
				  &(size_t){0})[starts[count - 1] + BATCH_HEADER_SIZE] ^
		  1;
	fake_disk_poke(world.disk, segment(3), starts[count - 1] + BATCH_HEADER_SIZE, &flipped, 1);
	ck_assert_uint_ne(last_of(world.disk), UINT64_MAX);
	for (size_t at = starts[count]; at < SEGMENT; at += 41)
		ck_assert_uint_eq(last_with(at, at + 1, &one), UINT64_MAX);
}

/* --- A value that looks like a batch -------------------------------------------------------- */

/* A batch, whole and at the right place, but for the salt, which is a secret. */
static struct kv_bytes forged(uint8_t bytes[256], uint64_t salt, uint64_t offset, uint64_t first) {
	struct operation put = put_call(1000, 1, "key", "forged");
	struct batch_header header = {.kind = BATCH_OPERATIONS,
				      .payload_size = (uint32_t)operation_encoded_size(&put),
				      .salt = salt,
				      .segment = 1,
				      .offset = offset,
				      .first = first,
				      .count = 1};

	memset(bytes, 0, 256);
	operation_encode(bytes + BATCH_HEADER_SIZE, &put, 1);
	batch_header_encode(bytes, &header);
	return (struct kv_bytes){bytes, (size_t)batch_size(header.payload_size)};
}

/* Tears the batch whose value is a forged one; answers what is read then. */
static uint64_t tear_a_forger(bool knows_salt) {
	struct segment_header header;
	uint8_t bytes[256];
	uint64_t offset = SEGMENT_HEADER_SIZE;
	struct operation put;
	uint8_t zero = 0;
	uint64_t last;
	size_t size;

	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
	ck_assert(put_batch(&world));
	offset += batch_size(operation_encoded_size(&world.tape.operations[0]));
	ck_assert(segment_header_decode(
	    fake_disk_bytes(world.disk, "journal-0000000000000001", &size), &header));
	put = put_call(1000, 2, "keykeyke", ""); /* so that the value is aligned */
	put.value = forged(bytes, header.salt ^ (knows_salt ? 0 : 1),
			   offset + BATCH_HEADER_SIZE + OPERATION_HEADER_SIZE + 8, 2);
	world_gather(&world, &put, 2);
	ck_assert(world_append(&world));
	world_stop(&world, false);
	fake_disk_poke(world.disk, "journal-0000000000000001", offset + 1, &zero, 1);
	last = last_of(world.disk);
	journal_world_close(&world);
	return last;
}

TEST(a_value_like_a_batch_is_not_taken_for_one) {
	ck_assert_uint_eq(tear_a_forger(false), 1);
	/* That this test could fail: with the salt it is the later batch that refuses. */
	ck_assert_uint_eq(tear_a_forger(true), UINT64_MAX);
	journal_world_open(&world, SEGMENT, 1);
}

/* --- Errors --------------------------------------------------------------------------------- */

/* A life of a journal, as far as it goes: two starts, some batches, forgetting, a clean stop. */
static bool live(void) {
	for (int start = 0; start < 2; start++) {
		bool goes_on = true;

		if (!world_read(&world, world.disk, 0, &world.file))
			return false;
		for (unsigned i = 0; i < BATCHES && goes_on; i++)
			goes_on = put_batch(&world);
		journal_file_close(world.file, goes_on);
		world.file = NULL;
		ck_assert_uint_eq(fake_disk_open_files(world.disk), 0);
		if (!goes_on)
			return false;
	}
	return true;
}

static void reset(uint64_t seed) {
	journal_world_close(&world);
	journal_world_open(&world, SEGMENT, seed);
}

static bool keep_by_number(void *context, size_t thing) {
	const uint64_t *mask = context;

	return (*mask >> thing % 64 & 1) != 0;
}

/* After whatever went wrong: nothing that was answered is missing. */
static void assert_survives(uint64_t number) {
	static const uint64_t masks[] = {0, UINT64_MAX, 0x5555555555555555, 0xccc00fff0f333300};

	fake_disk_plan(world.disk, NULL);
	for (size_t i = 0; i <= sizeof(masks) / sizeof(masks[0]); i++) {
		struct fake_disk *disk = fake_disk_copy(world.disk);
		uint64_t last;

		if (i == 0)
			fake_disk_kill(disk);
		else
			fake_disk_lose_power(disk, keep_by_number, (void *)&masks[i - 1]);
		last = last_of(disk);
		ck_assert_msg(last != UINT64_MAX, "error %llu, then %zu: %s",
			      (unsigned long long)number, i, world.why);
		ck_assert_uint_ge(last, world.durable);
		fake_disk_free(disk);
	}
}

TEST(an_error_at_any_call_of_the_disk_refuses_or_stops) {
	static const int errors[] = {-EIO, -ENOSPC, -EACCES};
	uint64_t calls;
	size_t refused = 0;

	journal_world_open(&world, SEGMENT, 1);
	ck_assert(live());
	calls = fake_disk_calls(world.disk);
	ck_assert_uint_gt(calls, 50);
	for (uint64_t at = 1; at <= calls; at++)
		for (unsigned i = 0; i < 12; i++) {
			struct fake_plan plan = {
			    .fail_at = at, .error = errors[i % 3], .is_lasting = i % 2 == 1};

			reset(at * 12 + i);
			fake_disk_plan(world.disk, &plan);
			refused += !live();
			ck_assert(fake_disk_struck(world.disk));
			assert_survives(at);
		}
	printf("figure: %zu of %zu errors refused or stopped it; the others did no harm\n", refused,
	       (size_t)calls * 12);
}

/* The failed call itself, not what the test does on the way. */
static bool lives_without(uint64_t allocation) {
	struct reading reading = {.tape = &world.tape, .next = 1};
	bool goes_on = true;

	allocations = 0;
	refuse_at = allocation;
	world.file = journal_file_open(fake_disk_of(world.disk), &world.options, world.store, 0,
				       read_back, &reading, &world.found, world.why);
	refuse_at = 0;
	if (world.file == NULL) {
		ck_assert_msg(strstr(world.why, "memory") != NULL, "%s", world.why);
		return false;
	}
	ck_assert_uint_eq(reading.next - 1, world.tape.count);
	ck_assert(world_make_spare(&world));
	for (unsigned i = 0; i < BATCHES && goes_on; i++) {
		struct operation put = put_call(1000, i + 1, "key", "value");
		bool is_full;

		world_gather(&world, &put, 1);
		(void)world_make_spare(&world);
		refuse_at = allocation > allocations ? allocation : 0;
		goes_on = journal_file_append(world.file, world.batch, world.payload, world.count,
					      &is_full, world.why);
		refuse_at = 0;
		world.durable += goes_on ? world.count : 0;
		world.payload = world.count = 0;
	}
	journal_file_close(world.file, goes_on);
	world.file = NULL;
	return goes_on;
}

TEST(an_allocation_that_fails_refuses_or_stops) {
	uint64_t at = 1;
	uint64_t needed = 0;

	do {
		write_journal(false);
		ck_assert_uint_eq(fake_disk_open_files(world.disk), 0);
		if (!lives_without(at))
			needed++;
		assert_survives(at);
		stop();
	} while (allocations >= at++);
	journal_world_open(&world, SEGMENT, 1);
	printf("figure: %u allocations, each refused once\n", (unsigned)needed);
	/* In reading: the journal, names, positions, two segments, two batches; then appends. */
	ck_assert_uint_ge(needed, 7);
}

static bool refuse_operation(void *context, uint64_t position, const struct operation *operation,
			     uint64_t time_ms) {
	(void)context;
	(void)position;
	(void)operation;
	(void)time_ms;
	return false;
}

TEST(who_hears_of_no_memory_stops_reading) {
	struct journal_file *file;

	write_journal(true);
	file = journal_file_open(fake_disk_of(world.disk), &world.options, world.store, 0,
				 refuse_operation, NULL, &world.found, world.why);
	ck_assert_ptr_null(file);
	ck_assert_msg(strstr(world.why, "no memory") != NULL, "%s", world.why);
	ck_assert_uint_eq(world.found.operations, 0);
}

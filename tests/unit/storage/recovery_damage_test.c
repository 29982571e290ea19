/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A directory with some of everything (segments, two snapshots, a spare, a snapshot not finished),
 * in which any one bit is flipped, or the last segment is cut anywhere: kvd does not start, or has
 * everything that was answered, once.
 *
 * $CORPUS: a folder, where the directories are kept as the fuzzer of recovery reads them.
 */
#include "crash_run.h"
#include "disk_image.h"
#include "test.h"

enum {
	SEED = 1,
	SEEDS = 100,
	FILES = 6, /* two segments, two snapshots, and what is not finished */
	CRASHES = 20,
	SMALL_SEGMENT = SEGMENT_HEADER_SIZE + 2048,
	STEPS = 30,
	NAMES_MAX = 16,
};

static struct run *life;

/* --- A directory ---------------------------------------------------------------------------- */

static void step_until_published(uint64_t count) {
	while (life->snapshots.published < count)
		ck_assert(run_go_on(life, 1));
}

static uint64_t newest_snapshot(struct fake_disk *disk) {
	uint64_t positions[SNAPSHOTS_MAX];

	ck_assert_int_gt(snapshot_list(fake_disk_of(disk), positions), 0);
	return positions[0];
}

static void add_file(struct fake_disk *disk, const char *name, const void *bytes, size_t size) {
	fake_disk_add(disk, name);
	fake_disk_poke(disk, name, 0, bytes, size);
}

/*
 * As a crash between the publication of a snapshot and the removal of the older one leaves it. Who
 * is not stopped well dies in change `crash_at` of the last steps, after it took place.
 */
static void make_directory(uint64_t seed, uint64_t crash_at) {
	struct fake_plan plan = {.crash_at = crash_at, .crash_bytes = UINT64_MAX};
	char name[VFS_NAME_MAX];
	uint8_t older[16384];
	const uint8_t *bytes;
	size_t size;

	life = run_new(seed, SMALL_SEGMENT);
	step_until_published(1);
	snapshot_name(newest_snapshot(life->journal.disk), name);
	bytes = fake_disk_bytes(life->journal.disk, name, &size);
	ck_assert(bytes != NULL && size <= sizeof(older));
	memcpy(older, bytes, size);
	step_until_published(2);
	fake_disk_plan(life->journal.disk, &plan);
	run_stop(life, run_go_on(life, STEPS));
	fake_disk_kill(life->journal.disk);
	add_file(life->journal.disk, name, older, size);
	add_file(life->journal.disk, "snapshot.tmp", older, size / 2);
	add_file(life->journal.disk, "spare", older, size);
}

static void stop(void) {
	run_free(life);
	life = NULL;
}

/* A reader may refuse what was damaged. */
static bool may_refuse(bool begins) {
	(void)begins;
	return true;
}

static bool has_file(const struct fake_disk *disk, const char *name) {
	size_t size;

	return fake_disk_bytes(disk, name, &size) != NULL;
}

/* Whether kvd starts; then it has everything: run_take_up() sees to that. */
static bool starts(const struct fake_disk *disk, const char *complain) {
	struct fake_disk *copy = fake_disk_copy(disk);
	struct run *next = run_take_up(life, copy, complain);

	if (next == NULL)
		fake_disk_free(copy);
	else
		must(!has_file(copy, "snapshot.tmp") && !has_file(copy, "spare"),
		     "what was not finished is still there");
	run_free(next);
	return next != NULL;
}

struct names {
	char list[NAMES_MAX][VFS_NAME_MAX];
	size_t count;
};

static bool add_name(void *context, const char *name) {
	struct names *names = context;

	must(names->count < NAMES_MAX, "too many names");
	(void)snprintf(names->list[names->count++], VFS_NAME_MAX, "%s", name);
	return true;
}

static struct names names_of(struct fake_disk *disk) {
	struct names names = {.count = 0};
	struct vfs *table = fake_disk_of(disk);

	ck_assert_int_eq(table->list(table->context, add_name, &names), 0);
	return names;
}

/* Whether all that was sent is there, though some of it was not answered. */
static bool has_unanswered(void) {
	struct run *next;
	bool has;

	if (life->journal.tape.count == life->journal.durable)
		return false;
	next = run_take_up(life, fake_disk_copy(life->journal.disk), "as it was left");
	ck_assert_ptr_nonnull(next);
	has = next->recovery.last == life->journal.tape.count;
	run_free(next);
	return has;
}

/* One with some of everything; a crash leaves a last batch without replies. */
static void make_full_directory(bool dies) {
	for (uint64_t seed = SEED; seed < SEED + SEEDS; seed++)
		for (uint64_t at = dies ? 1 : 0; at <= (dies ? CRASHES : 0); at++) {
			stop();
			make_directory(seed, at);
			if (names_of(life->journal.disk).count >= FILES &&
			    (!dies || has_unanswered()))
				return;
		}
	ck_abort_msg("no such directory");
}

/* --- Bits ----------------------------------------------------------------------------------- */

/* Answers how many flips were refused, of *flips. */
static size_t flip_all(const char *name, size_t *flips) {
	struct fake_disk *disk = life->journal.disk;
	char complain[128];
	size_t refused = 0;
	size_t size;

	ck_assert_ptr_nonnull(fake_disk_bytes(disk, name, &size));
	for (size_t bit = 0; bit < 8 * size; bit++) {
		uint8_t byte = fake_disk_bytes(disk, name, &size)[bit / 8];
		uint8_t flipped = byte ^ (uint8_t)(1 << bit % 8);

		(void)snprintf(complain, sizeof(complain), "bit %zu of %s", bit, name);
		fake_disk_poke(disk, name, bit / 8, &flipped, 1);
		refused += !starts(disk, complain);
		fake_disk_poke(disk, name, bit / 8, &byte, 1);
	}
	*flips += 8 * size;
	return refused;
}

static void flip_everything(const char *what) {
	struct names names = names_of(life->journal.disk);
	size_t refused = 0;
	size_t flips = 0;

	ck_assert(starts(life->journal.disk, "as it was left"));
	life->product = may_refuse;
	for (size_t i = 0; i < names.count; i++)
		refused += flip_all(names.list[i], &flips);
	printf("figure: %s: of %zu flips in %zu files %zu are refused, all others do no harm\n",
	       what, flips, names.count, refused);
	ck_assert(refused > 0 && refused < flips);
}

CASE(recovery_damage, .teardown = stop);

TEST(any_flipped_bit_in_any_file_after_a_clean_stop_is_detected_or_harmless) {
	make_full_directory(false);
	flip_everything("after a clean stop");
}

/* In the last batch it cannot be told from a tear, and this one was never answered. */
TEST(any_flipped_bit_in_any_file_after_a_crash_costs_no_more_than_the_last_batch) {
	make_full_directory(true);
	flip_everything("after a crash");
}

static void keep_image(const char *name, const uint8_t *image, size_t size) {
	const char *folder = getenv("CORPUS");
	char path[512];
	FILE *file;

	if (folder == NULL)
		return;
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	ck_assert(file != NULL && fwrite(image, 1, size, file) == size && fclose(file) == 0);
}

/* What the fuzzer reads is what stood on the disk. */
static void check_image(const char *name) {
	static uint8_t image[IMAGE_MAX];
	struct fake_disk *copy = fake_disk_new(SEED);
	size_t size = image_write(life->journal.disk, image);

	image_read(copy, image, size);
	ck_assert(starts(copy, "from an image"));
	fake_disk_free(copy);
	keep_image(name, image, size);
}

TEST(an_image_of_a_directory_is_as_good_as_the_directory) {
	make_full_directory(false);
	check_image("stopped");
	make_full_directory(true);
	check_image("crashed");
}

/* --- kvd --check ---------------------------------------------------------------------------- */

/* What a check prints, to be freed; NULL: it is not sound. */
static char *checked(void) {
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool is_sound;

	ck_assert_ptr_nonnull(out);
	fake_disk_plan(life->journal.disk, NULL);
	is_sound = recovery_check_disk(fake_disk_of(life->journal.disk), out);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_uint_eq(fake_disk_changes(life->journal.disk), 0);
	if (is_sound)
		return text;
	free(text);
	return NULL;
}

static bool has_line(const char *all, const char *name, uint64_t number) {
	char line[96];

	(void)snprintf(line, sizeof(line), "\n%s %llu\n", name, (unsigned long long)number);
	return strstr(all, line) != NULL;
}

TEST(a_check_tells_files_positions_keys_and_sessions_and_changes_nothing) {
	struct names names;
	char *all;

	make_full_directory(false);
	all = checked();
	ck_assert_ptr_nonnull(all);
	names = names_of(life->journal.disk);
	for (size_t i = 0; i < names.count; i++) {
		bool is_kept = strchr(names.list[i], '-') != NULL;

		ck_assert_msg((strstr(all, names.list[i]) != NULL) == is_kept, "%s", all);
	}
	ck_assert_msg(has_line(all, "last_operation", life->journal.durable), "%s", all);
	ck_assert_msg(has_line(all, "keys", service_key_count(life->service)), "%s", all);
	ck_assert_msg(has_line(all, "sessions", service_session_count(life->service)), "%s", all);
	ck_assert_msg(strstr(all, "\nclean_stop yes\n") != NULL, "%s", all);
	free(all);
}

/* kvd needs one snapshot only, but all that is there is to be verified. */
TEST(a_check_finds_damage_in_a_snapshot_that_a_start_would_not_need) {
	uint64_t positions[SNAPSHOTS_MAX];
	char name[VFS_NAME_MAX];
	uint8_t byte;
	size_t size;
	char *all;

	make_full_directory(false);
	ck_assert_int_eq(snapshot_list(fake_disk_of(life->journal.disk), positions), 2);
	snapshot_name(positions[1], name);
	all = checked();
	ck_assert_ptr_nonnull(all);
	free(all);
	byte = fake_disk_bytes(life->journal.disk, name, &size)[size / 2] ^ 1;
	fake_disk_poke(life->journal.disk, name, size / 2, &byte, 1);
	ck_assert(starts(life->journal.disk, "with the newer snapshot"));
	ck_assert_ptr_null(checked());
}

BEFORE_ALL {
	run_keep_memory();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot takes the place of an older one, and whatever happens meanwhile (the process dies, the
 * power is lost, a call fails), one of both is found, whole; the new one, if it was said to be
 * there.
 *
 * The seed is printed; an argument or $SEED repeats it, $STEPS says how many losses are tried each
 * time.
 */
#include <errno.h>
#include <time.h>

#include "fake_disk.h"
#include "snapshot_fixture.h"
#include "storage/snapshot.h"
#include "test.h"

enum {
	USUAL_STEPS = 20,
	OLD = 10, /* positions */
	NEW = 20,
};

static uint64_t seed;
static uint64_t steps = USUAL_STEPS;

static struct prng prng;
static struct world world;
static struct bytes states[2]; /* of the old one, the new one */
static struct fake_disk *before;

/* What the writer and publisher got to know. */
enum outcome {
	NOT_WRITTEN,
	REFUSED,
	UNKNOWN,
	PUBLISHED,
};

static void write_and_publish_old(void) {
	struct vfs *disk = fake_disk_of(before);
	int error;

	ck_assert_int_eq(snapshot_write(disk, world.service, OLD, NULL, NULL), 0);
	ck_assert_int_eq(snapshot_publish(disk, OLD, &error), PUBLISH_DONE);
}

static void start(void) {
	prng.state = seed;
	before = fake_disk_new(seed);
	world_open(&world, usual_limits(), false);
	make_small(&world);
	save(world.service, &states[0]);
	write_and_publish_old();
	set(&world, "key", text("much newer"));
	save(world.service, &states[1]);
}

static void stop(void) {
	bytes_free(&states[0]);
	bytes_free(&states[1]);
	world_close(&world);
	fake_disk_free(before);
}

/* As a child writes it, and its parent publishes it. */
static enum outcome take_new(struct fake_disk *fake) {
	struct vfs *disk = fake_disk_of(fake);
	int error = snapshot_write(disk, world.service, NEW, NULL, NULL);

	if (error != 0) {
		ck_assert_int_lt(error, 0);
		(void)snapshot_discard(disk);
		return NOT_WRITTEN;
	}
	switch (snapshot_publish(disk, NEW, &error)) {
	case PUBLISH_REFUSED:
		(void)snapshot_discard(disk);
		return REFUSED;
	case PUBLISH_UNKNOWN:
		return UNKNOWN;
	case PUBLISH_DONE:
		break;
	}
	(void)snapshot_remove_others(disk, NEW);
	return PUBLISHED;
}

/* The start of a kvd: what is there must be one of the two. */
static void assert_one_is_there(struct fake_disk *fake, enum outcome outcome) {
	struct vfs *disk = fake_disk_of(fake);
	struct service *service = another(world.service);
	struct bytes found = {0};
	struct snapshot snapshot;
	char why[SNAPSHOT_WHY_SIZE];

	ck_assert_int_eq(snapshot_discard(disk), 0);
	enum snapshot_search search = snapshot_find_latest(disk, NULL, NULL, &snapshot, why);
	ck_assert_msg(search == SEARCH_FOUND && why[0] == '\0', "%s", why);
	ck_assert_msg(snapshot_load(disk, snapshot.position, NULL, NULL, service, why), "%s", why);
	if (snapshot.position != OLD)
		ck_assert_uint_eq(snapshot.position, NEW);
	if (outcome == PUBLISHED)
		ck_assert_uint_eq(snapshot.position, NEW);
	if (outcome == NOT_WRITTEN)
		ck_assert_uint_eq(snapshot.position, OLD);

	/* What was found is what was saved, but for the order of its entries. */
	const struct bytes *saved = &states[snapshot.position == NEW];
	save(service, &found);
	ck_assert_uint_eq(found.size, saved->size);
	struct world loaded = {.service = service};
	assert_holds(&loaded, "key", snapshot.position == NEW ? "much newer" : "new",
		     snapshot.position == NEW ? 4 : 3);
	bytes_free(&found);
	service_free(service);
	ck_assert_uint_eq(fake_disk_open_files(fake), 0);
}

static bool keep_by_chance(void *context, size_t thing) {
	(void)context;
	(void)thing;
	return prng_next(&prng) % 2 == 0;
}

static bool keep_all(void *context, size_t thing) {
	(void)context;
	(void)thing;
	return true;
}

static bool keep_none(void *context, size_t thing) {
	(void)context;
	(void)thing;
	return false;
}

/* The disk after the process died; it is used up. */
static void try_losses(struct fake_disk *fake, enum outcome outcome) {
	fake_disk_kill(fake);
	for (uint64_t i = 0; i < steps + 3; i++) {
		struct fake_disk *copy = fake_disk_copy(fake);
		if (i == 0)
			fake_disk_lose_power(copy, keep_none, NULL);
		else if (i == 1)
			fake_disk_lose_power(copy, keep_all, NULL);
		else if (i != 2)
			fake_disk_lose_power(copy, keep_by_chance, NULL);
		assert_one_is_there(copy, outcome);
		fake_disk_free(copy);
	}
	/* The process came back and used what the cache showed; only then the power was lost. */
	assert_one_is_there(fake, outcome);
	for (uint64_t i = 0; i < steps; i++) {
		struct fake_disk *copy = fake_disk_copy(fake);
		fake_disk_lose_power(copy, keep_by_chance, NULL);
		assert_one_is_there(copy, outcome);
		fake_disk_free(copy);
	}
	fake_disk_free(fake);
}

static uint64_t changes_of_one(void) {
	struct fake_disk *fake = fake_disk_copy(before);

	fake_disk_plan(fake, NULL);
	ck_assert_int_eq(take_new(fake), PUBLISHED);
	uint64_t changes = fake_disk_changes(fake);
	fake_disk_free(fake);
	return changes;
}

CASE(snapshot_crash, .setup = start, .teardown = stop);

TEST(a_crash_at_any_change_leaves_one_of_both_whole) {
	uint64_t changes = changes_of_one();

	for (uint64_t i = 1; i <= changes; i++)
		for (uint64_t bytes = 0; bytes < 3; bytes++) {
			struct fake_disk *fake = fake_disk_copy(before);
			struct fake_plan plan = {.crash_at = i, .crash_bytes = bytes * 100};
			fake_disk_plan(fake, &plan);
			enum outcome outcome = take_new(fake);
			ck_assert(fake_disk_struck(fake));
			/* It died, and could say nothing more than that it was published. */
			try_losses(fake, outcome == PUBLISHED ? PUBLISHED : UNKNOWN);
		}
	printf("figure: %zu crashes, %zu losses of power after each\n", (size_t)changes * 3,
	       (size_t)steps * 2 + 2);
	ck_assert_uint_ge(changes, 6);
}

TEST(once_published_it_is_there_whatever_is_lost) {
	struct fake_disk *fake = fake_disk_copy(before);

	ck_assert_int_eq(take_new(fake), PUBLISHED);
	try_losses(fake, PUBLISHED);
}

TEST(a_failure_of_any_call_is_never_taken_for_success) {
	static const int errors[] = {-EIO, -ENOSPC};
	struct fake_disk *fake = fake_disk_copy(before);
	size_t outcomes[PUBLISHED + 1] = {0};

	fake_disk_plan(fake, NULL);
	ck_assert_int_eq(take_new(fake), PUBLISHED);
	uint64_t calls = fake_disk_calls(fake);
	fake_disk_free(fake);
	for (uint64_t i = 1; i <= calls; i++)
		for (unsigned j = 0; j < 4; j++) {
			struct fake_plan plan = {
			    .fail_at = i, .error = errors[j % 2], .is_lasting = j >= 2};
			fake = fake_disk_copy(before);
			fake_disk_plan(fake, &plan);
			enum outcome outcome = take_new(fake);
			ck_assert(fake_disk_struck(fake));
			outcomes[outcome]++;
			try_losses(fake, outcome);
		}
	printf("figure: %zu failures: %zu not written, %zu refused, %zu unknown, %zu published\n",
	       (size_t)calls * 4, outcomes[NOT_WRITTEN], outcomes[REFUSED], outcomes[UNKNOWN],
	       outcomes[PUBLISHED]);
	ck_assert(outcomes[NOT_WRITTEN] > 0 && outcomes[REFUSED] > 0 && outcomes[UNKNOWN] > 0);
}

TEST(without_space_it_is_given_up_and_leaves_nothing_behind) {
	for (uint64_t more = 0; more < states[1].size; more += 50) {
		struct fake_disk *fake = fake_disk_copy(before);
		struct fake_plan plan = {.capacity = states[0].size + 64 + 24 + more};
		size_t size;
		fake_disk_plan(fake, &plan);
		ck_assert_int_eq(snapshot_write(fake_disk_of(fake), world.service, NEW, NULL, NULL),
				 -ENOSPC);
		ck_assert_ptr_null(fake_disk_bytes(fake, "snapshot.tmp", &size));
		try_losses(fake, NOT_WRITTEN);
	}
}

TEST(a_call_that_fails_while_reading_is_no_damage) {
	struct vfs *disk = fake_disk_of(before);
	struct snapshot snapshot;
	char why[SNAPSHOT_WHY_SIZE];

	fake_disk_plan(before, NULL);
	ck_assert_int_eq(snapshot_find_latest(disk, NULL, NULL, &snapshot, why), SEARCH_FOUND);
	uint64_t calls = fake_disk_calls(before);
	for (uint64_t i = 1; i <= calls; i++) {
		struct fake_plan plan = {.fail_at = i, .error = -EIO};
		fake_disk_plan(before, &plan);
		ck_assert_int_eq(snapshot_find_latest(disk, NULL, NULL, &snapshot, why),
				 SEARCH_BAD);
		ck_assert_msg(strstr(why, "cannot") != NULL && strstr(why, "damaged") == NULL, "%s",
			      why);

		struct service *service = another(world.service);
		fake_disk_plan(before, &plan);
		bool loaded = snapshot_load(disk, OLD, NULL, NULL, service, why);
		ck_assert(loaded == !fake_disk_struck(before));
		service_free(service);
	}
	ck_assert_uint_eq(fake_disk_open_files(before), 0);
	fake_disk_plan(before, NULL);
}

BEFORE_ALL {
	seed = test_seed();
	steps = test_number("STEPS", steps);
}

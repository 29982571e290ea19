/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every crash: clients, the real service, journal, snapshots and recovery on a disk that crashes at
 * each of its changes, with every outcome that may be found afterwards, and again while that is
 * recovered from or soon after. What was answered is there, once, with its reply; nothing else is.
 *
 * The seed is printed; an argument or $SEED repeats it. What takes long is tried in part, as the
 * seed says: second events, and what a loss of power leaves of many writes. EVERY_CRASH=1 tries all
 * endings and all that may be found at each place, for one event and for pairs.
 * $STEPS: calls of the long run; $PAIRS: how many second events at each place; $PAIR_STEPS: calls
 * before the first of two; $ROWS: how many rows of more events.
 */
#include <errno.h>
#include <time.h>

#include "crash_run.h"
#include "test.h"

enum {
	USUAL_STEPS = 4000,
	USUAL_PAIRS = 1,
	USUAL_ROWS = 2000,
	SHORT_STEPS = 150,
	USUAL_PAIR_STEPS = 50,
	SMALL_SEGMENT = SEGMENT_HEADER_SIZE + 2048,
	SEGMENT = 16384,
	CHOICES_MAX = 5, /* up to so many things pending, each combination is tried ... */
	CHOICES_EVERY = 8,
	PATTERNS_FIXED = 8, /* ... else these, and others, which are drawn by chance ... */
	PATTERNS_DRAWN = 4,
	PATTERNS_RANDOM = 16, /* ... from those that depend on a thing, and so many random ones */
	EVENTS_MAX = 7,
	EVICTED_UP_TO = 16, /* the call of the next process by which the cache has dropped it */
	SOON = 16,	    /* changes after a failure */
	LIMIT_S = 4 * 3600,
};

static uint64_t seed;
static uint64_t steps = USUAL_STEPS;
static uint64_t pairs = USUAL_PAIRS;
static uint64_t rows = USUAL_ROWS;
static uint64_t every; /* 0, or all is tried */
static uint64_t pair_steps = USUAL_PAIR_STEPS;
static bool has_all_patterns;
static uint64_t recoveries;
static uint64_t evictions;

/* --- Events --------------------------------------------------------------------------------- */

/* How a process ends: at a change of the disk that is not done, done, done in part, or refused. */
static const struct ending {
	const char *name;
	uint64_t bytes;
	bool fails;
	bool does_nothing;
} endings[] = {
    {"died before", 0, false, false},
    {"died after", UINT64_MAX, false, false},
    {"was refused", 0, true, true},
    {"was refused, in part,", 0, true, false},
    {"died after 512 bytes of", 512, false, false},
    {"died after 700 bytes of", 700, false, false},
};

enum {
	ENDINGS = sizeof(endings) / sizeof(endings[0]),
	ENDINGS_APART = 4, /* those that differ for all that is no write */
};

static struct fake_plan plan_of(const struct ending *ending, uint64_t at) {
	uint64_t crash_at = at;

	/* A server whose snapshot was refused goes on, until something else happens. */
	if (ending->fails)
		crash_at = evictions % 2 == 0 ? 0 : at + 1 + evictions / 2 % SOON;
	/* A cache may drop what it believes to be clean at any time. */
	return (struct fake_plan){.evict_at = evictions++ % (2 * EVICTED_UP_TO),
				  .crash_at = crash_at,
				  .crash_bytes = ending->bytes,
				  .fail_change = ending->fails ? at : 0,
				  .error = -EIO,
				  .does_nothing = ending->does_nothing};
}

/* What is left of all that is pending when the power goes, thing by thing. */
struct pattern {
	size_t things;
	size_t number;
	uint64_t chance;
};

static bool is_each_tried(size_t things) {
	return things <= (has_all_patterns ? CHOICES_EVERY : CHOICES_MAX);
}

static size_t patterns_of(size_t things) {
	if (is_each_tried(things))
		return (size_t)1 << things;
	return PATTERNS_FIXED + (has_all_patterns ? 3 * things + PATTERNS_RANDOM : PATTERNS_DRAWN);
}

static uint64_t next_chance(uint64_t chance) {
	return chance * 6364136223846793005 + 1442695040888963407;
}

static struct pattern pattern_of(size_t things, size_t number) {
	struct pattern pattern = {things, number, next_chance(seed + number + evictions)};

	if (!has_all_patterns && !is_each_tried(things) && number >= PATTERNS_FIXED)
		pattern.number =
		    PATTERNS_FIXED + (pattern.chance >> 32) % (3 * things + PATTERNS_RANDOM);
	return pattern;
}

static bool keep(void *context, size_t thing) {
	struct pattern *pattern = context;
	size_t things = pattern->things;
	size_t number = pattern->number;

	if (is_each_tried(things))
		return (number >> thing & 1) != 0;
	switch (number) {
	case 0:
		return false;
	case 1:
		return true;
	case 2:
		return thing < things / 2;
	case 3:
		return thing >= things / 2;
	case 4:
		return thing % 2 == 0;
	case 5:
		return thing % 2 != 0;
	case 6:
		return thing + 1 == things;
	case 7:
		return thing + 1 != things;
	}
	number -= PATTERNS_FIXED;
	if (number < things)
		return thing <= number;
	if (number < 2 * things)
		return thing != number - things;
	if (number < 3 * things)
		return thing == number - 2 * things;
	pattern->chance = next_chance(pattern->chance);
	return (pattern->chance >> 40 & 1) != 0;
}

/*
 * What is found when the next process looks: number 0: all that was written, for the machine lived;
 * 1: the same, but the cache drops, sooner or later, what it only believes to be clean; from 2 on:
 * the power was lost. Answers how many there are.
 */
static size_t aftermaths(const struct fake_disk *disk) {
	return 2 + patterns_of(fake_disk_pending(disk));
}

static void suffer(struct fake_disk *disk, size_t aftermath) {
	struct pattern pattern;
	const struct fake_plan evict = {.evict_at = 1 + evictions % EVICTED_UP_TO};

	if (aftermath < 2) {
		fake_disk_kill(disk);
		if (aftermath == 1) {
			fake_disk_plan(disk, &evict);
			evictions++;
		}
		return;
	}
	pattern = pattern_of(fake_disk_pending(disk), aftermath - 2);
	evictions++;
	fake_disk_lose_power(disk, keep, &pattern);
}

static const char *tell(char text[256], const struct fake_disk *disk, const struct ending *ending,
			uint64_t at, size_t aftermath) {
	(void)snprintf(text, 256, "SEED=%llu: %s change %llu (%s), then %zu",
		       (unsigned long long)seed, ending->name, (unsigned long long)at,
		       fake_disk_last(disk), aftermath);
	return text;
}

/* --- One event ------------------------------------------------------------------------------ */

/* After all events: the last process is stopped as it should be, and another one finds it so. */
static void end_well(struct run *run, const char *complain) {
	struct run *next;

	if (run == NULL || !run_go_on(run, RUN_FEW_STEPS))
		ck_abort_msg("%s: %s", complain, run == NULL ? "" : run->journal.why);
	run_stop(run, true);
	next = run_take_up(run, fake_disk_copy(run->journal.disk), complain);
	must(next != NULL, complain);
	/* A server that wrote nothing leaves no mark. */
	must(next->recovery.found.was_stopped || run->journal.durable == run->borrowed,
	     "the clean stop is not seen");
	run_free(next);
	run_free(run);
	recoveries += 2;
}

/* A run from the beginning, up to where the disk strikes. */
static struct run *run_until(const struct fake_plan *plan, uint64_t segment, unsigned count) {
	struct run *run = run_new(seed, segment);

	fake_disk_plan(run->journal.disk, plan);
	if (!run_go_on(run, count)) {
		ck_assert(fake_disk_struck(run->journal.disk));
		/* A server that lives, if only to hear of an error, stops. */
		run_stop(run, false);
	}
	return run;
}

static uint64_t changes_of(uint64_t segment, unsigned count) {
	struct run *run = run_until(NULL, segment, count);
	uint64_t changes = fake_disk_changes(run->journal.disk);

	run_free(run);
	return changes;
}

static bool is_write(const struct fake_disk *disk) {
	return strncmp(fake_disk_last(disk), "write", 5) == 0;
}

CASE(journal_crash, .seconds = LIMIT_S);

TEST(after_every_crash_all_that_was_answered_is_there_once) {
	uint64_t changes = changes_of(SMALL_SEGMENT, SHORT_STEPS);

	has_all_patterns = every != 0;
	for (uint64_t at = 1; at <= changes; at++)
		for (size_t i = 0; i < ENDINGS; i++) {
			struct fake_plan plan = plan_of(&endings[i], at);
			struct run *run = run_until(&plan, SMALL_SEGMENT, SHORT_STEPS);
			size_t count = aftermaths(run->journal.disk);
			char complain[256];

			if (i >= ENDINGS_APART && !is_write(run->journal.disk))
				count = 0;
			for (size_t j = 0; j < count; j++) {
				struct fake_disk *disk = fake_disk_copy(run->journal.disk);

				(void)tell(complain, run->journal.disk, &endings[i], at, j);
				suffer(disk, j);
				end_well(run_take_up(run, disk, complain), complain);
			}
			run_free(run);
		}
	printf("figure: %llu places to crash at, %llu recoveries\n", (unsigned long long)changes,
	       (unsigned long long)recoveries);
	ck_assert_uint_gt(changes, 100);
}

/* --- Two events ----------------------------------------------------------------------------- */

/* A disk as the first event left it, and the run that had answered what must be on it. */
struct left {
	struct run *run;
	const struct fake_disk *disk;
	const char *story;
};

/* `disk` as the second event left it: what comes after it, in one way. */
static void look_after(const struct left *left, const struct run *run, const struct fake_disk *disk,
		       uint64_t at, const struct ending *ending, size_t aftermath) {
	struct fake_disk *found = fake_disk_copy(disk);
	char complain[1024];
	char text[256];

	(void)snprintf(complain, sizeof(complain), "%s; %s", left->story,
		       tell(text, disk, ending, at, aftermath));
	suffer(found, aftermath);
	/* A server that died in recovery sent no replies. */
	end_well(run_take_up(run != NULL ? run : left->run, found, complain), complain);
}

static const size_t all_aftermaths = SIZE_MAX;

/* What comes after a second event at change `at`. False: the next process ended before. */
static bool second_event(const struct left *left, uint64_t at, const struct ending *ending,
			 size_t aftermath) {
	const struct fake_plan plan = plan_of(ending, at);
	struct fake_disk *disk = fake_disk_copy(left->disk);
	struct run *run;
	bool has_struck;

	fake_disk_plan(disk, &plan);
	run = run_take_up(left->run, disk, left->story);
	if (run != NULL && !run_go_on(run, RUN_FEW_STEPS))
		run_stop(run, false);
	has_struck = fake_disk_struck(disk);
	if (has_struck && aftermath != all_aftermaths)
		look_after(left, run, disk, at, ending, aftermath % aftermaths(disk));
	for (size_t i = 0; has_struck && aftermath == all_aftermaths && i < aftermaths(disk); i++)
		look_after(left, run, disk, at, ending, i);
	if (run == NULL)
		fake_disk_free(disk);
	run_free(run);
	return has_struck;
}

/* At each change of recovery and soon after: some second events, or all. */
static void all_second_events(const struct left *left, uint64_t *turn) {
	bool strikes = true;

	for (uint64_t at = 1; strikes; at++) {
		if (every == 0) {
			for (uint64_t i = 0; i < pairs; i++, *turn += 1)
				strikes = second_event(left, at, &endings[*turn % ENDINGS],
						       (size_t)(*turn / ENDINGS));
			continue;
		}
		for (size_t i = 0; i < ENDINGS && strikes; i++)
			strikes = second_event(left, at, &endings[i], all_aftermaths);
	}
}

TEST(after_every_pair_of_crashes_all_that_was_answered_is_there_once) {
	uint64_t changes = changes_of(SMALL_SEGMENT, (unsigned)pair_steps);
	uint64_t turn = seed % 1000;

	/* There are millions of pairs without. */
	has_all_patterns = false;
	for (uint64_t at = 1; at <= changes; at++)
		for (size_t i = 0; i < ENDINGS; i++) {
			struct fake_plan plan = plan_of(&endings[i], at);
			struct run *run = run_until(&plan, SMALL_SEGMENT, (unsigned)pair_steps);
			size_t count = aftermaths(run->journal.disk);
			char story[256];

			if (i >= ENDINGS_APART && !is_write(run->journal.disk))
				count = 0;
			for (size_t j = 0; j < count; j++) {
				struct fake_disk *disk = fake_disk_copy(run->journal.disk);
				const struct left left = {run, disk, story};

				(void)tell(story, run->journal.disk, &endings[i], at, j);
				suffer(disk, j);
				all_second_events(&left, &turn);
				fake_disk_free(disk);
			}
			run_free(run);
		}
	printf("figure: %llu places for the first event, %llu recoveries\n",
	       (unsigned long long)changes, (unsigned long long)recoveries);
}

/* --- Many events ---------------------------------------------------------------------------- */

static uint64_t dice;

static uint64_t draw(uint64_t below) {
	dice = next_chance(dice);
	return (dice >> 33) % below;
}

/* One process after another, none of which ends well, but the last. */
static void row_of_events(unsigned events) {
	struct run *runs[EVENTS_MAX + 1] = {run_new(seed + draw(1 << 30), SMALL_SEGMENT)};
	struct fake_disk *disk = runs[0]->journal.disk;
	const struct ending *ending = &endings[draw(ENDINGS)];
	uint64_t at = 1 + draw(60);
	struct fake_plan plan = plan_of(ending, at);
	struct fake_disk *found;
	char complain[256];
	size_t last = 0;
	size_t aftermath;

	fake_disk_plan(disk, &plan);
	if (!run_go_on(runs[0], SHORT_STEPS / 2))
		run_stop(runs[0], false);
	for (unsigned i = 0; i < events; i++) {
		struct run *next;

		found = fake_disk_copy(disk);
		aftermath = draw(aftermaths(disk));
		(void)tell(complain, disk, ending, at, aftermath);
		if (i > 0 && disk != runs[last]->journal.disk)
			fake_disk_free(disk);
		suffer(found, aftermath);
		disk = found;
		ending = &endings[draw(ENDINGS)];
		at = 1 + draw(25);
		plan = plan_of(ending, at);
		fake_disk_plan(disk, &plan);
		next = run_take_up(runs[last], disk, complain);
		if (next != NULL) {
			runs[++last] = next;
			if (!run_go_on(next, RUN_FEW_STEPS))
				run_stop(next, false);
		}
	}
	found = fake_disk_copy(disk);
	if (disk != runs[last]->journal.disk)
		fake_disk_free(disk);
	suffer(found, draw(aftermaths(found)));
	end_well(run_take_up(runs[last], found, complain), complain);
	do
		run_free(runs[last]);
	while (last-- > 0);
}

TEST(after_any_row_of_events_all_that_was_answered_is_there_once) {
	dice = seed;
	for (uint64_t i = 0; i < rows; i++)
		row_of_events(1 + (unsigned)draw(EVENTS_MAX));
	printf("figure: %llu rows of up to %d events\n", (unsigned long long)rows, EVENTS_MAX + 1);
}

/* --- A long run ----------------------------------------------------------------------------- */

static void what_if_so(const struct run *run, const struct fake_disk *disk, uint64_t change,
		       size_t aftermath) {
	struct fake_disk *found = fake_disk_copy(disk);
	struct run *next;
	char complain[256];

	(void)tell(complain, disk, &endings[0], change, aftermath);
	suffer(found, aftermath);
	next = run_take_up(run, found, complain);
	recoveries++;
	if (change % 32 == 0)
		end_well(next, complain);
	else
		run_free(next);
}

/* Called before each change of the disk: what if it ended here? */
static void what_if(void *context, struct fake_disk *disk, uint64_t change) {
	const struct run *run = context;
	size_t count = aftermaths(disk);

	if (every == 0)
		what_if_so(run, disk, change, (size_t)(change + seed) % count);
	for (size_t i = 0; every != 0 && i < count; i++)
		what_if_so(run, disk, change, i);
}

TEST(a_long_run_with_snapshots_can_end_anywhere) {
	struct run *run = run_new(seed, SEGMENT);
	struct fake_plan plan = {.before = what_if, .context = run};
	uint64_t changes;
	struct run *next;

	has_all_patterns = every != 0;
	fake_disk_plan(run->journal.disk, &plan);
	ck_assert(run_go_on(run, (unsigned)steps));
	changes = fake_disk_changes(run->journal.disk);
	fake_disk_plan(run->journal.disk, NULL);
	next = run_take_up(run, fake_disk_copy(run->journal.disk), "at the end");
	ck_assert_ptr_nonnull(next);
	printf("figure: %zu operations, %llu snapshots, a journal from operation %llu on, %llu "
	       "places to end at, %llu recoveries\n",
	       run->journal.tape.count, (unsigned long long)run->snapshots.published,
	       (unsigned long long)next->recovery.found.first, (unsigned long long)changes,
	       (unsigned long long)recoveries);
	/* Many of both, of which the older ones went. */
	ck_assert(steps < USUAL_STEPS || run->snapshots.published > 50);
	ck_assert(steps < USUAL_STEPS || next->recovery.found.first > 1000);
	end_well(next, "at the end");
	run_free(run);
}

BEFORE_ALL {
	seed = test_seed();
	steps = test_number("STEPS", steps);
	pairs = test_number("PAIRS", pairs);
	pair_steps = test_number("PAIR_STEPS", pair_steps);
	rows = test_number("ROWS", rows);
	every = test_number("EVERY_CRASH", every);
	run_keep_memory();
}

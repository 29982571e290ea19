/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A turn but for its sockets: what is answered when, when a snapshot begins, when it stops. The
 * journal is the real one, stepped by hand; the test is the dispatcher and the snapshotter.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "storage/huge_pages.h"
#include "storage/journal_fixture.h"
#include "test.h"
#include "turn.h"

enum { SEGMENT = 64 << 10 };

/* The dispatcher: it notes how far it may answer. */
struct dispatch {
	uint64_t settled;
	bool is_backlogged;
	bool has_run; /* calls that waited */
	unsigned ended_turns;
	uint64_t waiting_due_ms;
	struct dispatch_hooks others;
};

/* The snapshotter: it does what it is told to. */
struct snapshotter {
	enum snapshotter_state news; /* once, if it is one of those said once */
	bool is_due;
	bool is_refused;
	unsigned tries;
	uint64_t position;
};

static struct dispatch dispatch;
static struct snapshotter snapshotter;
static struct journal_world world;
static struct journal *journal;
static struct service *service;
static struct turn *turn;
static uint64_t now_ms;

struct dispatch *dispatch_new(struct service *of, uint32_t program,
			      const struct dispatch_hooks *others) {
	ck_assert_ptr_eq(of, service);
	ck_assert_uint_eq(program, 4711);
	dispatch = (struct dispatch){.others = *others, .waiting_due_ms = UINT64_MAX};
	return &dispatch;
}

void dispatch_free(struct dispatch *freed) {
	ck_assert_ptr_eq(freed, &dispatch);
}

bool dispatch_is_backlogged(const struct dispatch *of) {
	return of->is_backlogged;
}

bool dispatch_run_waiting(struct dispatch *of) {
	return of->has_run;
}

void dispatch_end_turn(struct dispatch *of) {
	of->ended_turns++;
}

uint64_t dispatch_waiting_due(const struct dispatch *of) {
	return of->waiting_due_ms;
}

void dispatch_set_time(struct dispatch *of, uint64_t to_ms) {
	ck_assert_ptr_eq(of, &dispatch);
	ck_assert_uint_eq(to_ms, now_ms);
}

void dispatch_release_durable(struct dispatch *of, uint64_t position) {
	ck_assert_uint_ge(position, of->settled);
	of->settled = position;
}

bool snapshotter_is_due(const struct snapshotter *of, uint64_t journal_bytes, uint64_t at_ms) {
	(void)journal_bytes;
	(void)at_ms;
	return of->is_due;
}

bool snapshotter_start(struct snapshotter *of, uint64_t position, uint64_t journal_bytes,
		       uint64_t at_ms) {
	(void)journal_bytes;
	(void)at_ms;
	/* The turn may not ask for one while another is under way. */
	ck_assert_int_eq(of->news, SNAPSHOTTER_IDLE);
	of->tries++;
	if (of->is_refused)
		return false;
	of->news = SNAPSHOTTER_WRITING;
	of->position = position;
	return true;
}

enum snapshotter_state snapshotter_poll(struct snapshotter *of, uint64_t durable, uint64_t at_ms,
					uint64_t *position) {
	enum snapshotter_state news = of->news;

	(void)durable;
	(void)at_ms;
	switch (news) {
	case SNAPSHOTTER_PUBLISHED:
	case SNAPSHOTTER_FAILED:
		*position = of->position;
		of->news = SNAPSHOTTER_IDLE;
		break;
	case SNAPSHOTTER_IDLE:
	case SNAPSHOTTER_WRITING:
	case SNAPSHOTTER_WAITING:
	case SNAPSHOTTER_PUBLISHING:
	case SNAPSHOTTER_BROKEN:
		break;
	}
	return news;
}

void snapshotter_get_stats(const struct snapshotter *of, struct snapshotter_counters *counters) {
	*counters = (struct snapshotter_counters){.published = of->tries};
}

static void open_turn(struct journal *of, struct snapshotter *by) {
	const struct turn_options options = {
	    .service = service, .program = 4711, .journal = of, .snapshotter = by};

	turn = turn_new(&options);
	ck_assert_ptr_nonnull(turn);
}

static void start(void) {
	const struct server_identity identity = {.epoch = EPOCH, .seed = 4711};
	struct journal_sink recorder;

	now_ms = 1;
	snapshotter = (struct snapshotter){.news = SNAPSHOTTER_IDLE};
	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
	journal = journal_new();
	ck_assert_ptr_nonnull(journal);
	recorder = journal_recorder(journal);
	service = service_new(&identity, usual_limits(), &recorder);
	ck_assert_ptr_nonnull(service);
	journal_start_threadless(journal, world.file, 0);
	world.file = NULL;
	open_turn(journal, &snapshotter);
}

static void stop(void) {
	turn_free(turn);
	turn_free(NULL);
	service_free(service);
	journal_free(journal);
	journal_world_close(&world);
}

static uint64_t run_open(uint32_t number) {
	struct operation operation = {
	    .kind = OPERATION_OPEN, .client_id = 1000 + number, .slots = 1};
	struct reply reply;

	memcpy(operation.nonce, &number, sizeof(number));
	service_run(service, EPOCH, &operation, ALL, now_ms, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	return reply.position;
}

/* A whole turn in which `opened` sessions were opened. */
static bool take_turn(unsigned opened) {
	static uint32_t number;
	bool goes_on;

	turn_begin(turn, ++now_ms);
	while (opened-- > 0)
		(void)run_open(++number);
	goes_on = turn_end(turn, false);
	if (goes_on)
		(void)turn_expire_sessions(turn, true);
	return goes_on;
}

static void step(enum journal_work expected) {
	enum journal_work work;

	do
		work = journal_step(journal);
	while (work == JOURNAL_PREPARED);
	ck_assert_int_eq(work, expected);
}

CASE(turn, .setup = start, .teardown = stop);

TEST(nothing_is_answered_before_it_is_durable) {
	ck_assert(take_turn(3));
	ck_assert(take_turn(2));
	ck_assert_uint_eq(dispatch.settled, 0);
	step(JOURNAL_WROTE);
	ck_assert_uint_eq(dispatch.settled, 0);
	ck_assert(take_turn(1));
	ck_assert_uint_eq(dispatch.settled, 3);
	step(JOURNAL_WROTE);
	ck_assert(take_turn(0));
	ck_assert_uint_eq(dispatch.settled, 6);
	step(JOURNAL_IDLE);
}

TEST(a_turn_that_waits_for_the_disk_answers_at_once) {
	turn_begin(turn, ++now_ms);
	ck_assert(!turn_has_pending(turn));
	(void)run_open(101);
	(void)run_open(102);
	ck_assert(turn_has_pending(turn));
	ck_assert(turn_end(turn, true));
	ck_assert(!turn_has_pending(turn));
	ck_assert_uint_eq(dispatch.settled, 2);
	step(JOURNAL_IDLE);
	/* Behind a batch that waits for the thread it waits for the thread, too. */
	ck_assert(take_turn(1));
	turn_begin(turn, ++now_ms);
	(void)run_open(103);
	ck_assert(turn_end(turn, true));
	ck_assert_uint_eq(dispatch.settled, 2);
	ck_assert(turn_has_pending(turn));
	step(JOURNAL_WROTE);
	ck_assert(take_turn(0));
	ck_assert_uint_eq(dispatch.settled, 3);
	step(JOURNAL_WROTE);
	ck_assert(take_turn(0));
	ck_assert_uint_eq(dispatch.settled, 4);
}

TEST(a_disk_that_fails_while_the_turn_waits_is_the_end) {
	const struct fake_plan plan = {.fail_change = 2, .error = -EIO};

	step(JOURNAL_IDLE);
	fake_disk_plan(world.disk, &plan);
	turn_begin(turn, ++now_ms);
	(void)run_open(1);
	ck_assert(!turn_end(turn, true));
	ck_assert_uint_eq(dispatch.settled, 0);
}

TEST(what_is_recorded_after_the_end_of_a_turn_goes_to_the_disk_too) {
	turn_begin(turn, ++now_ms);
	ck_assert(turn_end(turn, false));
	(void)run_open(1);
	ck_assert_uint_le(turn_expire_sessions(turn, true), LEASE_MS);
	step(JOURNAL_WROTE);
	/* And so does the end of a lease. */
	now_ms += 2 * LEASE_MS;
	ck_assert(take_turn(0));
	step(JOURNAL_WROTE);
	ck_assert_uint_eq(journal_last_position(journal), 2);
}

TEST(rule_5_4_leases_do_not_end_in_a_turn_that_left_calls_unread) {
	turn_begin(turn, ++now_ms);
	(void)run_open(1);
	ck_assert(turn_end(turn, false));
	(void)turn_expire_sessions(turn, true);
	step(JOURNAL_WROTE);
	step(JOURNAL_IDLE);
	now_ms += 2 * LEASE_MS;
	turn_begin(turn, now_ms);
	ck_assert(turn_end(turn, false));
	ck_assert(!turn_is_backlogged(turn));
	ck_assert_uint_eq(turn_expire_sessions(turn, false), 0);
	ck_assert_uint_eq(journal_last_position(journal), 1);
	ck_assert_uint_eq(turn_expire_sessions(turn, true), UINT64_MAX);
	ck_assert_uint_eq(journal_last_position(journal), 2);
}

TEST(a_stop_makes_all_durable_and_answers_it) {
	ck_assert(take_turn(3));
	turn_begin(turn, ++now_ms);
	(void)run_open(100);
	ck_assert(turn_stop(turn));
	ck_assert_uint_eq(dispatch.settled, 4);
}

TEST(a_disk_that_failed_is_the_end_and_nothing_more_is_answered) {
	const struct fake_plan plan = {.fail_change = 2, .error = -EIO};

	ck_assert(take_turn(1));
	step(JOURNAL_WROTE);
	ck_assert(take_turn(0));
	step(JOURNAL_IDLE);
	fake_disk_plan(world.disk, &plan);
	ck_assert(take_turn(1));
	step(JOURNAL_FAILED);
	ck_assert(!take_turn(0));
	ck_assert(!turn_stop(turn));
	ck_assert_uint_eq(dispatch.settled, 1);
}

TEST(a_snapshot_begins_when_it_is_due) {
	ck_assert(take_turn(2));
	ck_assert_uint_eq(snapshotter.tries, 0);
	snapshotter.is_due = true;
	ck_assert(take_turn(2));
	ck_assert_uint_eq(snapshotter.tries, 1);
	/* With what was recorded in that turn. */
	ck_assert_uint_eq(snapshotter.position, 4);
}

TEST(a_snapshot_that_is_wanted_begins_at_the_end_of_the_turn) {
	uint64_t position = UINT64_MAX;

	turn_begin(turn, ++now_ms);
	ck_assert_int_eq(dispatch.others.want_snapshot(dispatch.others.context, true, &position),
			 SNAPSHOT_BEGINS);
	ck_assert_uint_eq(position, 0);
	ck_assert_int_eq(turn_request_snapshot(turn), SNAPSHOT_BEGINS);
	(void)run_open(1);
	ck_assert_uint_eq(snapshotter.tries, 0);
	ck_assert(turn_end(turn, false));
	ck_assert_uint_eq(snapshotter.tries, 1);
	ck_assert_uint_eq(snapshotter.position, 1);
	snapshotter.news = SNAPSHOTTER_PUBLISHED;
	ck_assert(take_turn(0));
	ck_assert(take_turn(0));
	ck_assert_uint_eq(snapshotter.tries, 1);
}

TEST(one_that_is_wanted_after_the_end_of_a_turn_begins_at_once) {
	turn_begin(turn, ++now_ms);
	ck_assert(turn_end(turn, false));
	ck_assert_int_eq(turn_request_snapshot(turn), SNAPSHOT_BEGINS);
	ck_assert_uint_eq(turn_expire_sessions(turn, true), 0);
	turn_begin(turn, ++now_ms);
	ck_assert(turn_end(turn, false));
	ck_assert_uint_eq(snapshotter.tries, 1);
	ck_assert_uint_eq(turn_expire_sessions(turn, true), UINT64_MAX);
}

TEST(those_wanted_while_one_is_under_way_are_one_when_it_ends) {
	static const enum snapshotter_state meanwhile[] = {SNAPSHOTTER_WRITING, SNAPSHOTTER_WAITING,
							   SNAPSHOTTER_PUBLISHING};
	static const enum snapshotter_state ends[] = {SNAPSHOTTER_PUBLISHED, SNAPSHOTTER_FAILED};

	for (unsigned end = 0; end < 2; end++) {
		snapshotter.tries = 0;
		(void)turn_request_snapshot(turn);
		ck_assert(take_turn(1));
		for (unsigned i = 0; i < 3; i++) {
			snapshotter.news = meanwhile[i];
			ck_assert_int_eq(turn_request_snapshot(turn), SNAPSHOT_NEXT);
			ck_assert(take_turn(1));
			ck_assert_uint_eq(snapshotter.tries, 1);
		}
		snapshotter.news = ends[end];
		ck_assert(take_turn(1));
		ck_assert_uint_eq(snapshotter.tries, 2);
		ck_assert_uint_eq(snapshotter.position, journal_last_position(journal));
		snapshotter.news = SNAPSHOTTER_PUBLISHED;
		ck_assert(take_turn(1));
		ck_assert(take_turn(1));
		ck_assert_uint_eq(snapshotter.tries, 2);
	}
}

static enum snapshot_answer ask_for_snapshot(bool is_root) {
	uint64_t position;

	return dispatch.others.want_snapshot(dispatch.others.context, is_root, &position);
}

/* One that takes `took_ms`. */
static void take_snapshot(uint64_t took_ms) {
	snapshotter.tries = 0;
	ck_assert_int_eq(ask_for_snapshot(true), SNAPSHOT_BEGINS);
	ck_assert(take_turn(1));
	ck_assert_uint_eq(snapshotter.tries, 1);
	now_ms += took_ms - 1;
	snapshotter.news = SNAPSHOTTER_PUBLISHED;
	ck_assert(take_turn(1));
}

TEST(after_a_snapshot_the_next_one_waits_ten_times_as_long_but_for_root) {
	enum { TOOK_MS = 100, REST_MS = SNAPSHOT_REST_FACTOR * TOOK_MS + SNAPSHOT_REST_MIN_MS };

	take_snapshot(TOOK_MS);
	uint64_t end_ms = now_ms;
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(ask_for_snapshot(false), SNAPSHOT_NEXT);
		ck_assert(take_turn(1));
		ck_assert_uint_le(turn_expire_sessions(turn, true), end_ms + REST_MS - now_ms);
	}
	now_ms = end_ms + REST_MS - 2;
	ck_assert(take_turn(1));
	ck_assert_uint_eq(snapshotter.tries, 1);
	ck_assert(take_turn(1));
	ck_assert_uint_eq(snapshotter.tries, 2);
	ck_assert_uint_eq(snapshotter.position, journal_last_position(journal));

	snapshotter.news = SNAPSHOTTER_FAILED;
	ck_assert(take_turn(1));
	ck_assert_int_eq(ask_for_snapshot(false), SNAPSHOT_NEXT);
	ck_assert_int_eq(ask_for_snapshot(true), SNAPSHOT_BEGINS);
	ck_assert(take_turn(1));
	ck_assert_uint_eq(snapshotter.tries, 3);
	/* That one was for both. */
	snapshotter.news = SNAPSHOTTER_PUBLISHED;
	for (unsigned i = 0; i < 10; i++) {
		now_ms += REST_MS;
		ck_assert(take_turn(1));
	}
	ck_assert_uint_eq(snapshotter.tries, 3);
}

TEST(while_one_that_rested_waits_for_large_pages_the_loop_sleeps) {
	struct huge_pages pages = {.event = -1};
	const struct turn_options options = {.service = service,
					     .program = 4711,
					     .journal = journal,
					     .snapshotter = &snapshotter,
					     .huge_pages = &pages};

	turn_free(turn);
	turn = turn_new(&options);
	ck_assert_ptr_nonnull(turn);
	take_snapshot(1);
	ck_assert_int_eq(ask_for_snapshot(false), SNAPSHOT_NEXT);
	now_ms += SNAPSHOT_REST_FACTOR + SNAPSHOT_REST_MIN_MS;
	/* As if its thread was at work. */
	pages.event = INT_MAX;
	pages.has_thread = true;
	ck_assert(take_turn(0));
	ck_assert_uint_gt(turn_expire_sessions(turn, true), 0);
	ck_assert_uint_eq(snapshotter.tries, 1);
	pages.event = -1;
	ck_assert(take_turn(0));
	ck_assert_uint_eq(snapshotter.tries, 2);
}

TEST(so_many_calls_that_wait_put_the_disk_behind) {
	ck_assert(!turn_is_backlogged(turn));
	dispatch.is_backlogged = true;
	ck_assert(turn_is_backlogged(turn));
}

TEST(a_turn_is_due_when_a_call_has_waited_long_enough) {
	dispatch.waiting_due_ms = 17;
	ck_assert(take_turn(1));
	ck_assert_uint_eq(dispatch.ended_turns, 1);
	ck_assert_uint_eq(turn_expire_sessions(turn, true), 17);
	dispatch.waiting_due_ms = UINT64_MAX;
}

TEST(replies_made_by_the_end_of_a_ttl_leave_in_a_turn_that_comes_at_once) {
	ck_assert(take_turn(1));
	dispatch.has_run = true;
	ck_assert_uint_eq(turn_expire_sessions(turn, true), 0);
}

TEST(one_that_cannot_begin_is_not_tried_again_and_again) {
	snapshotter.is_refused = true;
	(void)turn_request_snapshot(turn);
	ck_assert(take_turn(1));
	ck_assert(take_turn(1));
	ck_assert_uint_eq(snapshotter.tries, 1);
	ck_assert_int_eq(turn_request_snapshot(turn), SNAPSHOT_BEGINS);
	ck_assert(take_turn(1));
	ck_assert_uint_eq(snapshotter.tries, 2);
}

TEST(without_a_journal_there_are_no_snapshots_and_nothing_waits) {
	turn_free(turn);
	open_turn(NULL, NULL);
	ck_assert_int_eq(turn_request_snapshot(turn), SNAPSHOT_NO_JOURNAL);
	turn_begin(turn, ++now_ms);
	ck_assert(turn_end(turn, false));
	ck_assert(!turn_is_backlogged(turn));
	ck_assert_uint_eq(turn_expire_sessions(turn, true), UINT64_MAX);
	ck_assert(turn_stop(turn));
}

TEST(what_a_published_snapshot_holds_is_forgotten) {
	size_t size = 0;
	unsigned segments = 0;

	for (unsigned i = 0; segments < 2; i++) {
		ck_assert_uint_lt(i, 10000);
		ck_assert(take_turn(20));
		step(JOURNAL_WROTE);
		step(JOURNAL_IDLE);
		segments += fake_disk_bytes(world.disk, "journal-0000000000000002", &size) != NULL;
	}
	(void)turn_request_snapshot(turn);
	ck_assert(take_turn(0));
	ck_assert_ptr_nonnull(fake_disk_bytes(world.disk, "journal-0000000000000001", &size));
	snapshotter.news = SNAPSHOTTER_PUBLISHED;
	ck_assert(take_turn(0));
	step(JOURNAL_IDLE);
	ck_assert_ptr_null(fake_disk_bytes(world.disk, "journal-0000000000000001", &size));
}

TEST(when_it_is_unknown_what_the_disk_holds_after_a_snapshot_it_stops) {
	snapshotter.news = SNAPSHOTTER_BROKEN;
	ck_assert(!take_turn(0));
}

/* --- Memory that goes back ---------------------------------------------------------------------
 */

static unsigned given_back;

static void *map_region(void *context, bool *is_whole) {
	void *region;

	(void)context;
	*is_whole = false;
	return posix_memalign(&region, REGION_SIZE, REGION_SIZE) == 0 ? region : NULL;
}

static void unmap_region(void *context, void *region) {
	(void)context;
	free(region);
	given_back++;
}

static void discard(void *context, void *bytes, size_t size) {
	(void)context;
	(void)bytes;
	(void)size;
	given_back++;
}

static void refill(void *context, void *region) {
	(void)context;
	(void)region;
}

CASE(turn_alone);

TEST(memory_goes_back_one_call_a_turn) {
	enum { BLOCKS = 10 * REGION_SIZE / SLAB_BLOCK_MAX, TURNS_MAX = 1000 };
	static void *blocks[BLOCKS];
	const struct region_source source = {
	    .map = map_region, .unmap = unmap_region, .discard = discard, .refill = refill};
	const struct server_identity identity = {.epoch = EPOCH, .seed = 4711};
	struct service_limits limits = *usual_limits();
	unsigned turns = 0;

	limits.memory = &source;
	service = service_new(&identity, &limits, NULL);
	ck_assert_ptr_nonnull(service);
	open_turn(NULL, NULL);
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = mem_account_alloc(service_memory(service), SLAB_BLOCK_MAX);
		ck_assert_ptr_nonnull(blocks[i]);
	}
	now_ms = REGIONS_PERIOD_MS;
	turn_begin(turn, now_ms);
	(void)turn_give_back(turn);
	for (unsigned i = 0; i < BLOCKS; i++)
		mem_account_free(service_memory(service), blocks[i], SLAB_BLOCK_MAX);
	given_back = 0;
	for (uint64_t due_ms = 0; due_ms != UINT64_MAX && !SLAB_IS_MALLOC; turns++) {
		unsigned before = given_back;

		ck_assert_uint_lt(turns, TURNS_MAX);
		turn_begin(turn, now_ms += due_ms);
		due_ms = turn_give_back(turn);
		ck_assert_uint_le(given_back - before, 1);
	}
	if (!SLAB_IS_MALLOC)
		ck_assert_uint_ge(given_back, 10);
	turn_free(turn);
	service_free(service);
}

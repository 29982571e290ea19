/* SPDX-License-Identifier: BSD-3-Clause */
#include "turn.h"

#include <errno.h>
#include <stdlib.h>

#include "core/stats.h"
#include "log.h"

enum { EXPIRIES_A_TURN = 256 }; /* sessions that end, so that a turn stays short */

struct turn {
	struct service *service;
	struct dispatch *dispatch;
	struct journal *journal;
	struct snapshotter *snapshotter;
	struct heap *heap; /* or NULL */
	uint64_t replayed; /* bytes, before this start */
	uint64_t now_ms;
	bool is_snapshot_under_way;
	bool is_snapshot_wanted;
	bool has_wish; /* that no turn's end has seen */
	bool is_full;  /* the disk, and that was said */
	count_others *transports;
	void *context;
};

static void count_journal(const struct turn *turn, struct counters *counters) {
	struct journal_counters journal;

	journal_get_stats(turn->journal, &journal);
	stats_add(counters, "journal_batches", journal.batches);
	stats_add(counters, "journal_bytes", journal.bytes);
	stats_add(counters, "journal_behind", journal.behind);
	stats_add(counters, "disk_full", journal.is_disk_full ? 1 : 0);
}

/* As the number of a status. */
static uint64_t snapshot_error(int error) {
	if (error == 0)
		return KV_OK;
	return error == ENOSPC || error == EDQUOT || error == EFBIG ? KV_FULL : KV_UNAVAILABLE;
}

static void count_snapshots(const struct turn *turn, struct counters *counters) {
	struct snapshotter_counters snapshots;

	snapshotter_get_stats(turn->snapshotter, &snapshots);
	stats_add(counters, "snapshots", snapshots.published);
	stats_add(counters, "snapshots_failed", snapshots.failed);
	stats_add(counters, "snapshot_position", snapshots.last_position);
	stats_add(counters, "snapshot_bytes", snapshots.last_bytes);
	stats_add(counters, "snapshot_ms", snapshots.last_ms);
	stats_add(counters, "snapshot_pause_us", snapshots.pause_us);
	stats_add(counters, "snapshot_error", snapshot_error(snapshots.last_error));
	stats_add(counters, "snapshot_under_way",
		     (turn->is_snapshot_under_way ? 1 : 0) + (turn->is_snapshot_wanted ? 1 : 0));
	stats_add(counters, "snapshot_writing", snapshots.bytes);
	stats_add(counters, "snapshot_expected", snapshots.bytes_about);
}

static void count(void *context, struct counters *counters) {
	const struct turn *turn = context;

	if (turn->transports != NULL)
		turn->transports(turn->context, counters);
	if (turn->journal != NULL)
		count_journal(turn, counters);
	if (turn->snapshotter != NULL)
		count_snapshots(turn, counters);
}

static enum snapshot_answer want_snapshot(void *context, uint64_t *position) {
	struct snapshotter_counters snapshots;
	struct turn *turn = context;

	if (turn->snapshotter == NULL)
		return SNAPSHOT_NO_JOURNAL;
	*position = journal_last_position(turn->journal);
	snapshotter_get_stats(turn->snapshotter, &snapshots);
	/* Anybody may ask, as often as he likes: the same one is not written twice. */
	if (snapshots.published > 0 && snapshots.last_position == *position)
		return SNAPSHOT_BEGINS;
	return turn_request_snapshot(turn);
}

struct turn *turn_new(const struct turn_options *options) {
	struct turn *turn = calloc(1, sizeof(*turn));
	const struct dispatch_others others = {
	    .count = count, .want_snapshot = want_snapshot, .context = turn};

	if (turn == NULL)
		return NULL;
	turn->service = options->service;
	turn->journal = options->journal;
	turn->snapshotter = options->snapshotter;
	turn->heap = options->heap;
	turn->replayed = options->replayed;
	turn->transports = options->transports;
	turn->context = options->context;
	turn->dispatch = dispatch_new(options->service, options->program, &others);
	if (turn->dispatch != NULL)
		return turn;
	turn_free(turn);
	return NULL;
}

void turn_free(struct turn *turn) {
	if (turn == NULL)
		return;
	dispatch_free(turn->dispatch);
	free(turn);
}

struct dispatch *turn_dispatch(struct turn *turn) {
	return turn->dispatch;
}

void turn_begin(struct turn *turn, uint64_t now_ms) {
	turn->now_ms = now_ms;
	dispatch_set_time(turn->dispatch, now_ms);
}

/* --- Snapshots ----------------------------------------------------------------------------------
 */

enum snapshot_answer turn_request_snapshot(struct turn *turn) {
	if (turn->snapshotter == NULL)
		return SNAPSHOT_NO_JOURNAL;
	turn->is_snapshot_wanted = turn->has_wish = true;
	return turn->is_snapshot_under_way ? SNAPSHOT_NEXT : SNAPSHOT_BEGINS;
}

/* What became of the one under way. False: the disk failed (logged). */
static bool poll_snapshot(struct turn *turn, uint64_t durable) {
	uint64_t position = 0;

	switch (snapshotter_poll(turn->snapshotter, durable, turn->now_ms, &position)) {
	case SNAPSHOTTER_WRITING:
	case SNAPSHOTTER_WAITING:
	case SNAPSHOTTER_PUBLISHING:
		turn->is_snapshot_under_way = true;
		return true;
	case SNAPSHOTTER_PUBLISHED:
		journal_truncate(turn->journal, position);
		break;
	case SNAPSHOTTER_IDLE:
	case SNAPSHOTTER_FAILED:
		break;
	case SNAPSHOTTER_BROKEN:
		return false;
	}
	turn->is_snapshot_under_way = false;
	return true;
}

static void begin_snapshot(struct turn *turn) {
	struct journal_counters journal;
	uint64_t bytes;

	if (turn->is_snapshot_under_way)
		return;
	journal_get_stats(turn->journal, &journal);
	bytes = turn->replayed + journal.bytes;
	if (!turn->is_snapshot_wanted &&
	    !snapshotter_is_due(turn->snapshotter, bytes, turn->now_ms))
		return;
	if (turn->heap != NULL && !huge_pages_collapse(turn->heap))
		return;
	turn->is_snapshot_wanted = false;
	/* If it fails, that was logged; whoever wants one may ask again. */
	turn->is_snapshot_under_way = snapshotter_start(
	    turn->snapshotter, journal_last_position(turn->journal), bytes, turn->now_ms);
}

/* --- The journal --------------------------------------------------------------------------------
 */

static bool say_failure(struct turn *turn) {
	log_error("%s: what is on the disk is not known, so kvd stops; start it again to find out",
		  journal_error(turn->journal));
	return false;
}

static void say_room(struct turn *turn) {
	bool is_full = journal_is_full(turn->journal);

	if (is_full == turn->is_full)
		return;
	turn->is_full = is_full;
	if (is_full)
		log_warn("the disk has no room for another segment of the journal: when this one "
			 "is full, writes are refused until there is");
	else
		log_info("the disk has room for the journal again");
}

bool turn_end(struct turn *turn, bool waits) {
	struct journal *journal = turn->journal;
	uint64_t durable;
	bool is_written;

	turn->has_wish = false;
	if (turn->heap != NULL)
		huge_pages_advise(turn->heap);
	if (journal == NULL)
		return true;
	is_written = waits && journal_write_inline(journal);
	durable = journal_durable(journal);
	if (journal_error(journal) != NULL)
		return say_failure(turn);
	/* First the disk, which then works while answers are made. */
	if (!is_written)
		journal_submit(journal);
	say_room(turn);
	dispatch_release_durable(turn->dispatch, durable);
	if (turn->snapshotter == NULL)
		return true;
	if (!poll_snapshot(turn, durable))
		return false;
	begin_snapshot(turn);
	return true;
}

bool turn_has_pending(const struct turn *turn) {
	return turn->journal != NULL && journal_has_pending(turn->journal);
}

bool turn_is_backlogged(const struct turn *turn) {
	return turn->journal != NULL && journal_is_backlogged(turn->journal);
}

uint64_t turn_expire_sessions(struct turn *turn) {
	uint64_t due_ms = service_expire(turn->service, EXPIRIES_A_TURN, turn->now_ms);

	/* Sessions that ended are recorded too, and so is what the transports ran meanwhile. */
	if (turn->journal != NULL)
		journal_submit(turn->journal);
	return turn->has_wish ? 0 : due_ms;
}

bool turn_stop(struct turn *turn) {
	if (turn->journal == NULL)
		return true;
	if (!journal_stop(turn->journal))
		return say_failure(turn);
	dispatch_release_durable(turn->dispatch, journal_durable(turn->journal));
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/stats.h"
#include "log.h"
#include "storage/held_snapshots.h"

/* So that a turn stays short. */
enum {
	EXPIRIES_A_TURN = 256, /* sessions that end */
	TTL_ENDS_A_TURN = 512, /* keys that end */
	GIVE_BACKS_A_TURN = 1, /* calls that give memory back, of at most a region */
};

struct turn {
	struct service *service;
	struct dispatch *dispatch;
	struct journal *journal;
	struct snapshotter *snapshotter;
	struct held_snapshots held;    /* that clients read */
	struct huge_pages *huge_pages; /* or NULL */
	uint64_t replayed;	       /* bytes, before this start */
	uint64_t now_ms;
	bool is_snapshot_under_way;
	bool is_snapshot_wanted;
	bool is_snapshot_wanted_later; /* once it is snapshot_rests_ms */
	uint64_t snapshot_began_ms;
	uint64_t snapshot_rests_ms; /* until then */
	bool has_new_request;	    /* that no turn's end has seen */
	int disk_error;		    /* journal_disk_error(), as it was logged last */
	void (*add_stats)(void *context, struct stats *stats);
	void *context;
};

static void count_journal(const struct turn *turn, struct stats *counters) {
	static const char *const sync_names[] = STAT_HISTOGRAM_NAMES("journal_sync_");
	static const char *const batch_names[] = STAT_HISTOGRAM_NAMES("journal_batch_");
	struct journal_counters journal;

	journal_get_stats(turn->journal, &journal);
	stats_add(counters, "journal_batches", journal.batches);
	stats_add(counters, "journal_bytes", journal.bytes);
	stat_histogram_add_stats(&journal.sync_us, sync_names, counters);
	stat_histogram_add_stats(&journal.operations, batch_names, counters);
	stats_add(counters, "journal_unsynced_bytes", journal.behind);
	stats_add(counters, "disk_full", journal.is_disk_full ? 1 : 0);
}

/* As the number of a status. */
static uint64_t snapshot_error(int error) {
	if (error == 0)
		return KV_OK;
	return vfs_is_full(-error) ? KV_FULL : KV_UNAVAILABLE;
}

static void count_snapshots(const struct turn *turn, struct stats *counters) {
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
		  (turn->is_snapshot_under_way ? 1 : 0) +
		      (turn->is_snapshot_wanted || turn->is_snapshot_wanted_later ? 1 : 0));
	stats_add(counters, "snapshot_writing", snapshots.bytes);
	stats_add(counters, "snapshot_expected", snapshots.bytes_about);
	stats_add(counters, "backups_read", turn->held.count);
}

void turn_add_stats(const struct turn *turn, struct stats *stats) {
	if (turn->journal != NULL)
		count_journal(turn, stats);
	if (turn->snapshotter != NULL)
		count_snapshots(turn, stats);
}

static void add_stats(void *context, struct stats *stats) {
	const struct turn *turn = context;

	if (turn->add_stats != NULL)
		turn->add_stats(turn->context, stats);
	else
		turn_add_stats(turn, stats);
}

static enum snapshot_answer want_snapshot(void *context, bool is_root, uint64_t *position) {
	struct snapshotter_counters snapshots;
	struct turn *turn = context;

	if (turn->snapshotter == NULL)
		return SNAPSHOT_NO_JOURNAL;
	*position = journal_last_position(turn->journal);
	snapshotter_get_stats(turn->snapshotter, &snapshots);
	/* Because any client may ask at any time: the same one is not written twice. */
	if (snapshots.published > 0 && snapshots.last_position == *position)
		return SNAPSHOT_BEGINS;
	if (is_root || (!turn->is_snapshot_under_way && turn->now_ms >= turn->snapshot_rests_ms))
		return turn_request_snapshot(turn);
	turn->is_snapshot_wanted_later = true;
	return SNAPSHOT_NEXT;
}

static bool is_behind(void *context) {
	const struct turn *turn = context;

	return turn->journal != NULL && journal_is_backlogged(turn->journal);
}

static enum kv_status read_backup(void *context, struct backup_page *page) {
	struct turn *turn = context;
	int64_t got;

	page->total = 0;
	if (turn->held.vfs == NULL)
		return KV_UNAVAILABLE;
	got = held_snapshots_read(&turn->held, page->position, page->offset, page->data, page->size,
				  turn->now_ms, &page->total);
	page->size = got > 0 ? (size_t)got : 0;
	if (got >= 0 || got == -EAGAIN)
		return KV_OK;
	if (got == -ENOENT)
		return KV_COMPACTED;
	if (got == -EMFILE)
		return KV_FULL;
	log_warn("a backup cannot be read: %s", strerror((int)-got));
	return KV_UNAVAILABLE;
}

uint64_t turn_give_back(struct turn *turn) {
	return service_give_back(turn->service, GIVE_BACKS_A_TURN, turn->now_ms);
}

uint64_t turn_expire_backups(struct turn *turn) {
	return held_snapshots_expire(&turn->held, turn->now_ms);
}

struct turn *turn_new(const struct turn_options *options) {
	struct turn *turn = calloc(1, sizeof(*turn));
	const struct dispatch_hooks others = {.add_stats = add_stats,
					      .want_snapshot = want_snapshot,
					      .is_behind = is_behind,
					      .read_backup = read_backup,
					      .context = turn,
					      .changes_max = options->changes_max,
					      .waiting_max = options->waiting_max,
					      .sessions_each = options->sessions_each};

	if (turn == NULL)
		return NULL;
	turn->service = options->service;
	turn->journal = options->journal;
	turn->snapshotter = options->snapshotter;
	turn->held.vfs = options->vfs;
	turn->huge_pages = options->huge_pages;
	turn->replayed = options->replayed;
	service_renew_leases(options->service);
	turn->add_stats = options->add_stats;
	turn->context = options->context;
	turn->dispatch = dispatch_new(options->service, options->program, &others);
	if (turn->dispatch != NULL) {
		if (turn->journal != NULL)
			dispatch_release_durable(turn->dispatch, journal_durable(turn->journal));
		return turn;
	}
	turn_free(turn);
	return NULL;
}

void turn_free(struct turn *turn) {
	if (turn == NULL)
		return;
	dispatch_free(turn->dispatch);
	held_snapshots_close(&turn->held);
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
	turn->is_snapshot_wanted = turn->has_new_request = true;
	return turn->is_snapshot_under_way ? SNAPSHOT_NEXT : SNAPSHOT_BEGINS;
}

static void end_snapshot(struct turn *turn) {
	uint64_t took_ms = turn->now_ms - turn->snapshot_began_ms;

	turn->is_snapshot_under_way = false;
	turn->snapshot_rests_ms =
	    turn->now_ms + SNAPSHOT_REST_MIN_MS + SNAPSHOT_REST_FACTOR * took_ms;
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
	if (turn->is_snapshot_under_way)
		end_snapshot(turn);
	return true;
}

static void begin_snapshot(struct turn *turn) {
	struct journal_counters journal;
	uint64_t bytes;

	if (turn->is_snapshot_under_way)
		return;
	/* Once, so that the loop sleeps while the snapshot waits for large pages. */
	if (turn->is_snapshot_wanted_later && turn->now_ms >= turn->snapshot_rests_ms) {
		turn->is_snapshot_wanted = true;
		turn->is_snapshot_wanted_later = false;
	}
	journal_get_stats(turn->journal, &journal);
	bytes = turn->replayed + journal.bytes;
	if (!turn->is_snapshot_wanted &&
	    !snapshotter_is_due(turn->snapshotter, bytes, turn->now_ms))
		return;
	if (turn->huge_pages != NULL && !huge_pages_collapse(turn->huge_pages))
		return;
	turn->is_snapshot_wanted = turn->is_snapshot_wanted_later = false;
	turn->snapshot_began_ms = turn->now_ms;
	/* If it fails, that was logged; it can be requested again. */
	turn->is_snapshot_under_way = snapshotter_start(
	    turn->snapshotter, journal_last_position(turn->journal), bytes, turn->now_ms);
	if (!turn->is_snapshot_under_way)
		end_snapshot(turn);
}

/* --- The journal --------------------------------------------------------------------------------
 */

static bool log_failure(struct turn *turn) {
	log_error("%s: the on-disk state is uncertain, so kvd is exiting; restart it to recover",
		  journal_error(turn->journal));
	return false;
}

/* Logs when the disk begins or ceases to refuse what the journal needs. */
static void log_disk(struct turn *turn) {
	int error = journal_disk_error(turn->journal);

	if (error == turn->disk_error)
		return;
	turn->disk_error = error;
	if (error == 0)
		log_info("the disk takes the journal again");
	else if (vfs_is_full(error))
		log_warn(
		    "no space for the next segment of the journal: %s: writes are refused once "
		    "this segment is full (make space on the disk)",
		    strerror(-error));
	else
		log_warn("cannot make the next segment of the journal: %s: writes are refused once "
			 "this segment is full (look at the disk)",
			 strerror(-error));
}

bool turn_end(struct turn *turn, bool waits) {
	struct journal *journal = turn->journal;
	uint64_t durable;
	bool is_written;

	turn->has_new_request = false;
	dispatch_end_turn(turn->dispatch);
	if (turn->huge_pages != NULL)
		huge_pages_advise(turn->huge_pages);
	if (journal == NULL)
		return true;
	is_written = waits && journal_write_inline(journal);
	durable = journal_durable(journal);
	if (journal_error(journal) != NULL)
		return log_failure(turn);
	/* First the disk, which then works while replies are made. */
	if (!is_written)
		journal_submit(journal);
	log_disk(turn);
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
	return turn->journal != NULL &&
	       (journal_is_backlogged(turn->journal) || dispatch_is_backlogged(turn->dispatch));
}

uint64_t turn_expire_sessions(struct turn *turn, bool may_expire) {
	uint64_t due_ms =
	    service_expire(turn->service, may_expire ? EXPIRIES_A_TURN : 0, turn->now_ms);
	uint64_t ttl_due_ms =
	    service_end_ttls(turn->service, may_expire ? TTL_ENDS_A_TURN : 0, turn->now_ms);

	if (ttl_due_ms < due_ms)
		due_ms = ttl_due_ms;
	/* While nothing is received nothing expires, and the journal ends that: it wakes the loop.
	 */
	if (due_ms == 0 && !may_expire && turn_is_backlogged(turn))
		due_ms = UINT64_MAX;
	/* Their replies leave in the next turn, which is to come at once. */
	if (dispatch_run_waiting(turn->dispatch))
		due_ms = 0;
	uint64_t waiting_due_ms = dispatch_waiting_due(turn->dispatch);
	if (waiting_due_ms < due_ms)
		due_ms = waiting_due_ms;
	/* Sessions and keys that ended are recorded too, and so is what the transports ran
	 * meanwhile. */
	if (turn->journal != NULL)
		journal_submit(turn->journal);
	if (turn->has_new_request)
		return 0;
	if (!turn->is_snapshot_wanted_later || turn->is_snapshot_under_way)
		return due_ms;
	uint64_t rests_ms =
	    turn->snapshot_rests_ms > turn->now_ms ? turn->snapshot_rests_ms - turn->now_ms : 0;
	return rests_ms < due_ms ? rests_ms : due_ms;
}

bool turn_stop(struct turn *turn) {
	if (turn->journal == NULL)
		return true;
	if (!journal_stop(turn->journal))
		return log_failure(turn);
	dispatch_release_durable(turn->dispatch, journal_durable(turn->journal));
	return true;
}

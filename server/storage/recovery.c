/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "le.h"
#include "log.h"
#include "random.h"
#include "storage/copy_mark.h"
#include "storage/journal.h"
#include "storage/journal_scan.h"
#include "storage/progress_bar.h"
#include "storage/restore.h"

enum {
	PROGRESS_MS = 1000,
	OPERATIONS_A_LOOK = 65536, /* between two looks at the clock */
};

/* What replay carries along. */
struct replay {
	struct service *service;
	struct huge_pages *huge_pages; /* or NULL */
	uint64_t memory_allowed;       /* 0: not told, or told already */
	const char *memory_source;
	uint64_t operation_bytes; /* in the journal */
	uint64_t operations;
	uint64_t time_ms;   /* logged last */
	uint64_t logged_ms; /* by the clock */

	/* For --check: NULL, and what it has read and prints. */
	struct progress *bar;
	uint64_t done;
	FILE *out;
};

static bool is_log_due(struct replay *replay) {
	uint64_t now_ms = clock_ms();

	if (now_ms - replay->logged_ms < PROGRESS_MS)
		return false;
	replay->logged_ms = now_ms;
	return true;
}

static void advise_huge_pages(struct replay *replay) {
	if (replay->huge_pages != NULL)
		huge_pages_advise(replay->huge_pages);
}

/* The kernel may end a process that takes too much without a word: it is said before. */
static void report_memory(struct replay *replay) {
	uint64_t used;

	if (replay->memory_allowed == 0)
		return;
	/* A segment is in memory as far as it was read. */
	used =
	    service_memory_used(replay->service) + replay->operation_bytes % JOURNAL_SEGMENT_SIZE;
	if (used <= replay->memory_allowed / 4 * 3)
		return;
	log_warn("reading the store takes more than %" PRIu64 " MiB, and kvd may use %" PRIu64
		 " MiB (%s): if it is ended while it reads, raise that limit",
		 used >> 20, replay->memory_allowed >> 20, replay->memory_source);
	replay->memory_allowed = 0;
}

static void snapshot_progressed(void *context, uint64_t done, uint64_t size) {
	struct replay *replay = context;

	advise_huge_pages(replay);
	report_memory(replay);
	if (replay->bar != NULL)
		progress_bar_update(replay->bar, replay->done + done);
	else if (size > 0 && is_log_due(replay))
		log_info("reading the snapshot: %" PRIu64 " of %" PRIu64 " MiB", done >> 20,
			 size >> 20);
}

static bool replay_one(void *context, uint64_t position, const struct operation *operation,
		       uint64_t time_ms) {
	struct replay *replay = context;

	advise_huge_pages(replay);
	replay->operation_bytes += operation->key.size + operation->value.size;
	report_memory(replay);
	replay->time_ms = time_ms;
	if (++replay->operations % OPERATIONS_A_LOOK == 0 && replay->bar == NULL &&
	    is_log_due(replay))
		log_info("reading the journal: %" PRIu64 " operations so far", replay->operations);
	service_set_position(replay->service, position - 1);
	return service_apply(replay->service, operation, time_ms, NULL);
}

/* What stands on the terminal makes room for a line of the log. */
static void clear_bar(struct replay *replay) {
	if (replay->bar != NULL)
		progress_bar_clear(replay->bar);
}

/* The snapshot to begin with; size 0: there is none. False: logged. */
static bool find_snapshot(struct vfs *vfs, struct replay *replay, struct snapshot *snapshot) {
	char why[SNAPSHOT_WHY_SIZE];

	memset(snapshot, 0, sizeof(*snapshot));
	switch (snapshot_find_latest(vfs, snapshot_progressed, replay, snapshot, why)) {
	case SEARCH_NONE:
		memset(snapshot, 0, sizeof(*snapshot));
		return true;
	case SEARCH_FOUND:
		replay->done += snapshot->size;
		if (why[0] != '\0')
			clear_bar(replay);
		if (why[0] != '\0')
			log_warn("%s; going on from an older snapshot", why);
		return true;
	case SEARCH_BAD:
		break;
	}
	clear_bar(replay);
	log_error("%s", why);
	return false;
}

static bool load_snapshot(struct vfs *vfs, const struct snapshot *snapshot, struct replay *replay) {
	char why[SNAPSHOT_WHY_SIZE];

	if (snapshot->size == 0)
		return true;
	replay->time_ms = snapshot->time_ms;
	service_set_position(replay->service, snapshot->position);
	if (snapshot_load(vfs, snapshot->position, snapshot_progressed, replay, replay->service,
			  why)) {
		replay->done += snapshot->size;
		return true;
	}
	clear_bar(replay);
	log_error("%s", why);
	return false;
}

/* Whose store it is: a new one if there is nothing. */
static bool find_store(struct recovery *recovery) {
	struct replay replay = {.logged_ms = clock_ms()};

	if (!find_snapshot(&recovery->vfs, &replay, &recovery->snapshot))
		return false;
	if (recovery->snapshot.size > 0)
		memcpy(recovery->store, recovery->snapshot.store, STORE_ID_SIZE);
	else if (!journal_read_store_id(&recovery->vfs, recovery->store))
		for (size_t i = 0; i < STORE_ID_SIZE; i += sizeof(uint64_t))
			le_put64(recovery->store + i, recovery->options.chance());
	return true;
}

static bool is_finished(struct vfs *vfs) {
	const char *unfinished = restore_unfinished(vfs);

	if (unfinished != NULL)
		log_error(
		    "there is a file \"%s\": kvd --restore or --restored was interrupted; run "
		    "it again",
		    unfinished);
	return unfinished == NULL;
}

/* False, logged: it is not the whole of a store, or one that may go on elsewhere. */
static bool may_serve(struct vfs *vfs) {
	char why[COPY_MARK_WHY_SIZE];

	if (!is_finished(vfs))
		return false;
	if (copy_mark_check(vfs, why) != COPY_MARK_OTHER)
		return true;
	log_error("%s", why);
	return false;
}

bool recovery_open(struct recovery *recovery, const char *directory) {
	char why[JOURNAL_WHY_SIZE];

	*recovery = (struct recovery){
	    .options = {.segment_size = JOURNAL_SEGMENT_SIZE, .chance = random_id}};
	recovery->has_disk = vfs_open(directory, true, &recovery->vfs, why, sizeof(why));
	if (!recovery->has_disk) {
		log_error("%s", why);
		return false;
	}
	return may_serve(&recovery->vfs) && find_store(recovery);
}

bool recovery_open_disk(struct recovery *recovery, const struct vfs *vfs,
			const struct journal_file_options *options) {
	*recovery = (struct recovery){.vfs = *vfs, .options = *options};
	return find_store(recovery);
}

void recovery_close(struct recovery *recovery) {
	if (recovery->has_disk)
		vfs_close(&recovery->vfs);
	recovery->has_disk = false;
}

/*
 * Whether the journal's store, which is that of all its segments, is the one expected: that of the
 * snapshot; without one, what journal_read_store_id() could read.
 */
static bool is_one_store(const uint8_t store[STORE_ID_SIZE], const uint8_t expected[STORE_ID_SIZE],
			 const struct snapshot *snapshot, const struct journal_found *found) {
	char segment[VFS_NAME_MAX];
	char name[VFS_NAME_MAX];

	if (memcmp(store, expected, STORE_ID_SIZE) == 0)
		return true;
	segment_name(found->first_segment, segment);
	snapshot_name(snapshot->position, name);
	if (snapshot->size > 0)
		log_error("%s and %s belong to different stores: restore a copy of the directory",
			  name, segment);
	else
		log_error("%s could be read at the second try only: look at the disk, and start "
			  "kvd again",
			  segment);
	return false;
}

/* What a start logs of the end of the journal, and goes on. */
static void log_end(const struct journal_found *found) {
	char name[VFS_NAME_MAX];

	segment_name(found->last_segment, name);
	if (found->torn > 0)
		log_info(
		    "the last batch was cut short by a crash and is left out (%" PRIu64
		    " bytes, in %s): its writes were not acknowledged, unless the disk damaged "
		    "that batch since",
		    found->torn, name);
	if (found->missing > 0)
		log_warn("the last segment lacks %" PRIu64 " bytes (%s): it was cut after it was "
			 "written, and acknowledged writes may be lost with them",
			 found->missing, name);
}

/*
 * A store has its id before its first operation, and clients that only read remember it: so it is
 * made durable, as a snapshot of nothing. It is written again at each start until there is an
 * operation, because what was found may be in the cache alone; but for one with keys: that was
 * restored, and the name that it has is synced with that of the first segment. False: logged.
 */
static bool keep_store(struct vfs *vfs, const struct service *service) {
	int error;

	if (service_key_count(service) > 0)
		return true;
	error = snapshot_write(vfs, service, 0, NULL, NULL);

	if (error == 0 && snapshot_publish(vfs, 0, &error) == PUBLISH_DONE)
		return true;
	log_error("cannot write the id of the new store: %s: make room for it, or look at the disk",
		  strerror(-error));
	return false;
}

/* For the next start: a directory without it is none the worse. */
static void keep_copy_mark(struct vfs *vfs) {
	char why[COPY_MARK_WHY_SIZE];
	int error = copy_mark_check(vfs, why) == COPY_MARK_NONE ? copy_mark_make(vfs) : 0;

	if (error < 0)
		log_verbose("cannot write %s: %s", copy_mark_name, strerror(-error));
}

bool recovery_run(struct recovery *recovery, struct service *service) {
	struct replay replay = {.service = service,
				.huge_pages = recovery->huge_pages,
				.memory_allowed = recovery->memory_allowed,
				.memory_source = recovery->memory_source,
				.logged_ms = clock_ms()};
	struct vfs *vfs = &recovery->vfs;
	uint64_t began_ms = clock_ms();
	uint8_t store[STORE_ID_SIZE];
	struct journal_found *found = &recovery->found;
	char why[JOURNAL_WHY_SIZE];
	int error = snapshot_discard(vfs);

	if (error < 0) {
		log_error("cannot remove an unfinished snapshot: %s", strerror(-error));
		return false;
	}
	if (!load_snapshot(vfs, &recovery->snapshot, &replay))
		return false;
	memcpy(store, recovery->store, STORE_ID_SIZE);
	recovery->file =
	    journal_file_open(vfs, &recovery->options, store, recovery->snapshot.position,
			      replay_one, &replay, found, why);
	if (recovery->file == NULL) {
		log_error("%s", why);
		return false;
	}
	if (!is_one_store(store, recovery->store, &recovery->snapshot, found) ||
	    (found->last == 0 && !keep_store(vfs, service))) {
		journal_file_close(recovery->file, false);
		recovery->file = NULL;
		return false;
	}
	if (found->last == 0 && recovery->snapshot.size == 0)
		log_info("a new store begins: the directory held none");
	recovery->last = found->last;
	recovery->time_ms = replay.time_ms;
	/*
	 * Each start begins a segment, which is read whole: by what is written in them alone, one
	 * start after another would fill the disk, and take longer and longer, without a snapshot.
	 * One is always there.
	 */
	recovery->replayed =
	    found->segments > 0 ? (found->segments - 1) * recovery->options.segment_size : 0;
	log_end(found);
	keep_copy_mark(vfs);
	log_info("recovered in %" PRIu64 " ms: %" PRIu64 " keys from snapshot, %" PRIu64
		 " operations replayed%s",
		 clock_ms() - began_ms, recovery->snapshot.entries, replay.operations,
		 found->last > 0 && !found->was_stopped ? " (previous shutdown was not clean)"
							: "");
	return true;
}

/* --- kvd --check --------------------------------------------------------------------------------
 */

/* Adds up the sizes of the files that are read. */
struct sum {
	struct vfs *vfs;
	uint64_t size;
};

static bool add_file(void *context, const char *name) {
	struct sum *sum = context;
	struct vfs *vfs = sum->vfs;
	uint64_t number;
	int64_t size;
	int file;

	if (!segment_number(name, &number) && !snapshot_position(name, &number))
		return true;
	/* One that cannot be opened is reported when it is read. */
	file = vfs->open(vfs->context, name, VFS_READ);
	if (file < 0)
		return true;
	size = vfs->size(vfs->context, file);
	vfs->close(vfs->context, file);
	sum->size += size > 0 ? (uint64_t)size : 0;
	return true;
}

/* The beginning of a line. */
static void print_file(FILE *out, const char *name, uint64_t size, uint64_t first, uint64_t last) {
	(void)fprintf(out, "file %s bytes %" PRIu64, name, size);
	if (first <= last)
		(void)fprintf(out, " operations %" PRIu64 "-%" PRIu64, first, last);
}

static void print_segment(void *context, const char *name, uint64_t size, uint64_t first,
			  uint64_t last) {
	struct replay *replay = context;

	if (replay->out == NULL)
		return;
	replay->done += size;
	progress_bar_update(replay->bar, replay->done);
	progress_bar_clear(replay->bar);
	print_file(replay->out, name, size, first, last);
	(void)fputs("\n", replay->out);
}

/*
 * Verifies all snapshots, though one is enough to start with. *newest is the newest sound one; size
 * 0: there is none.
 */
static bool check_snapshots(struct vfs *vfs, struct replay *replay, struct snapshot *newest) {
	uint64_t positions[SNAPSHOTS_MAX];
	int count = snapshot_list(vfs, positions);
	char why[SNAPSHOT_WHY_SIZE];
	bool sound = count >= 0;

	memset(newest, 0, sizeof(*newest));
	if (count < 0)
		log_error("cannot list the directory: %s", strerror(-count));
	for (int i = 0; i < count; i++) {
		struct snapshot snapshot;
		char name[VFS_NAME_MAX];

		if (!snapshot_check(vfs, positions[i], snapshot_progressed, replay, &snapshot,
				    why)) {
			clear_bar(replay);
			log_error("%s", why);
			sound = false;
			continue;
		}
		if (newest->size == 0)
			*newest = snapshot;
		replay->done += snapshot.size;
		snapshot_name(snapshot.position, name);
		clear_bar(replay);
		print_file(replay->out, name, snapshot.size, 1, snapshot.position);
		(void)fprintf(replay->out, " keys %" PRIu64 " sessions %" PRIu64 "\n",
			      snapshot.entries, snapshot.sessions);
	}
	return sound;
}

static void print_found(FILE *out, const struct snapshot *snapshot,
			const struct journal_found *found, const struct service *service) {

	(void)fprintf(out,
		      "snapshot_position %" PRIu64 "\nsnapshot_bytes %" PRIu64 "\nsegments %" PRIu64
		      "\nfirst_operation %" PRIu64 "\nlast_operation %" PRIu64 "\nkeys %" PRIu64
		      "\nsessions %" PRIu64 "\nclean_stop %s\ntorn_bytes %" PRIu64 "\n",
		      snapshot->position, snapshot->size, found->segments, found->first,
		      found->last, service_key_count(service), service_session_count(service),
		      found->was_stopped ? "yes" : "no", found->torn);
}

static bool check_journal(struct vfs *vfs, const struct snapshot *snapshot, struct replay *replay,
			  struct journal_found *found) {
	uint8_t store[STORE_ID_SIZE];
	char name[VFS_NAME_MAX];
	char why[JOURNAL_WHY_SIZE];

	memcpy(store, snapshot->store, STORE_ID_SIZE);
	if (!journal_file_check(vfs, store, snapshot->position, replay_one, print_segment, replay,
				found, why)) {
		clear_bar(replay);
		log_error("%s", why);
		return false;
	}
	clear_bar(replay);
	/* A store without an operation has a snapshot of nothing. */
	if (snapshot->size == 0 && found->segments == 0) {
		log_error("there is no store: the directory holds neither a snapshot nor a journal "
			  "(is it the right one?)");
		return false;
	}
	if (found->missing > 0) {
		segment_name(found->last_segment, name);
		log_error("the last segment lacks %" PRIu64 " bytes (%s): restore a copy of the "
			  "directory",
			  found->missing, name);
		return false;
	}
	return snapshot->size == 0 || found->segments == 0 ||
	       is_one_store(store, snapshot->store, snapshot, found);
}

struct service *recovery_reader(const uint8_t store[STORE_ID_SIZE]) {
	const struct service_limits limits = {
	    .value_max = VALUE_MAX, .memory_max = SIZE_MAX / 2, .sessions_max = UINT32_MAX};
	struct server_identity identity = {.epoch = 1, .seed = random_id()};
	struct service *service;

	memcpy(identity.store, store, STORE_ID_SIZE);
	service = service_new(&identity, &limits, NULL);
	if (service == NULL)
		log_error("no memory to read the store with");
	return service;
}

bool recovery_read(struct vfs *vfs, struct service **service) {
	struct replay replay = {.logged_ms = clock_ms()};
	struct snapshot snapshot;
	struct journal_found found;

	*service = NULL;
	if (!find_snapshot(vfs, &replay, &snapshot))
		return false;
	*service = replay.service = recovery_reader(snapshot.store);
	return *service != NULL && load_snapshot(vfs, &snapshot, &replay) &&
	       check_journal(vfs, &snapshot, &replay, &found);
}

bool recovery_check_disk(struct vfs *vfs, FILE *out) {
	struct progress bar;
	struct replay replay = {.logged_ms = clock_ms(), .bar = &bar, .out = out};
	struct snapshot snapshot;
	struct journal_found found;
	struct sum sum = {.vfs = vfs};
	bool has_sound_snapshots;
	bool sound;

	(void)vfs->list(vfs->context, add_file, &sum);
	progress_bar_init(&bar, sum.size);
	has_sound_snapshots = check_snapshots(vfs, &replay, &snapshot);
	/* An older one may serve: whether the journal is whole from there is worth knowing. */
	if (!has_sound_snapshots && snapshot.size == 0)
		return false;
	/* It is read once more, to be loaded. */
	bar.total += snapshot.size;
	replay.service = recovery_reader(snapshot.store);
	if (replay.service == NULL)
		return false;
	sound = load_snapshot(vfs, &snapshot, &replay) &&
		check_journal(vfs, &snapshot, &replay, &found);
	progress_bar_clear(&bar);
	if (sound)
		print_found(out, &snapshot, &found, replay.service);
	service_free(replay.service);
	return sound && has_sound_snapshots;
}

bool recovery_check(const char *directory) {
	char why[JOURNAL_WHY_SIZE];
	struct vfs vfs;
	bool sound;

	if (!vfs_open(directory, false, &vfs, why, sizeof(why))) {
		log_error("%s", why);
		return false;
	}
	sound = recovery_check_disk(&vfs, stdout) && is_finished(&vfs);
	vfs_close(&vfs);
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return sound;
	log_error("cannot write to standard output: %s", strerror(errno));
	return false;
}

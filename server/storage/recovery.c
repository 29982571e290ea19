/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "random.h"
#include "clock.h"
#include "storage/journal.h"
#include "storage/journal_scan.h"
#include "le.h"
#include "log.h"
#include "storage/progress_bar.h"

enum {
	PROGRESS_MS = 1000,
	OPERATIONS_A_LOOK = 65536, /* between two looks at the clock */
};

/* What reading carries along. */
struct reading {
	struct service *service;
	struct heap *heap; /* or NULL */
	uint64_t operations;
	uint64_t time_ms; /* logged last */
	uint64_t said_ms; /* by the clock */

	/* For --check: NULL, and what it has read and prints. */
	struct progress *bar;
	uint64_t done;
	FILE *out;
};

static bool is_time_to_speak(struct reading *reading) {
	uint64_t now_ms = clock_ms();

	if (now_ms - reading->said_ms < PROGRESS_MS)
		return false;
	reading->said_ms = now_ms;
	return true;
}

static void tend(struct reading *reading) {
	if (reading->heap != NULL)
		huge_pages_advise(reading->heap);
}

static void snapshot_goes_on(void *context, uint64_t done, uint64_t size) {
	struct reading *reading = context;

	tend(reading);
	if (reading->bar != NULL)
		progress_bar_update(reading->bar, reading->done + done);
	else if (size > 0 && is_time_to_speak(reading))
		log_info("reading the snapshot: %" PRIu64 " of %" PRIu64 " MiB", done >> 20,
			 size >> 20);
}

static bool replay_one(void *context, uint64_t position, const struct operation *operation,
		       uint64_t time_ms) {
	struct reading *reading = context;

	(void)position;
	tend(reading);
	reading->time_ms = time_ms;
	if (++reading->operations % OPERATIONS_A_LOOK == 0 && reading->bar == NULL &&
	    is_time_to_speak(reading))
		log_info("reading the journal: %" PRIu64 " operations so far", reading->operations);
	return service_apply(reading->service, operation, time_ms, NULL);
}

/* What stands on the terminal makes room for a line of the log. */
static void clear_bar(struct reading *reading) {
	if (reading->bar != NULL)
		progress_bar_clear(reading->bar);
}

/* The snapshot to begin with; size 0: there is none. False: logged. */
static bool find_snapshot(struct disk *disk, struct reading *reading, struct snapshot *snapshot) {
	char why[SNAPSHOT_WHY_SIZE];

	memset(snapshot, 0, sizeof(*snapshot));
	switch (snapshot_find_latest(disk, snapshot_goes_on, reading, snapshot, why)) {
	case SEARCH_NONE:
		memset(snapshot, 0, sizeof(*snapshot));
		return true;
	case SEARCH_FOUND:
		reading->done += snapshot->size;
		if (why[0] != '\0')
			clear_bar(reading);
		if (why[0] != '\0')
			log_warn("%s; going on from an older snapshot", why);
		return true;
	case SEARCH_BAD:
		break;
	}
	clear_bar(reading);
	log_error("%s", why);
	return false;
}

static bool load_snapshot(struct disk *disk, const struct snapshot *snapshot,
			  struct reading *reading) {
	char why[SNAPSHOT_WHY_SIZE];

	if (snapshot->size == 0)
		return true;
	reading->time_ms = snapshot->time_ms;
	if (snapshot_load(disk, snapshot->position, snapshot_goes_on, reading, reading->service,
			  why)) {
		reading->done += snapshot->size;
		return true;
	}
	clear_bar(reading);
	log_error("%s", why);
	return false;
}

/* Whose store it is: a new one if there is nothing. */
static bool find_store(struct recovery *recovery) {
	struct reading reading = {.said_ms = clock_ms()};

	if (!find_snapshot(&recovery->disk, &reading, &recovery->snapshot))
		return false;
	if (recovery->snapshot.size > 0)
		memcpy(recovery->store, recovery->snapshot.store, STORE_ID_SIZE);
	else if (!journal_read_store_id(&recovery->disk, recovery->store))
		for (size_t i = 0; i < STORE_ID_SIZE; i += sizeof(uint64_t))
			le_put64(recovery->store + i, recovery->options.chance());
	return true;
}

bool recovery_open(struct recovery *recovery, const char *directory) {
	char why[JOURNAL_WHY_SIZE];

	*recovery = (struct recovery){
	    .options = {.segment_size = JOURNAL_SEGMENT_SIZE, .chance = random_id}};
	recovery->has_disk = vfs_open(directory, true, &recovery->disk, why, sizeof(why));
	if (!recovery->has_disk) {
		log_error("%s", why);
		return false;
	}
	return find_store(recovery);
}

bool recovery_open_disk(struct recovery *recovery, const struct disk *disk,
			const struct journal_file_options *options) {
	*recovery = (struct recovery){.disk = *disk, .options = *options};
	return find_store(recovery);
}

void recovery_close(struct recovery *recovery) {
	if (recovery->has_disk)
		vfs_close(&recovery->disk);
	recovery->has_disk = false;
}

/*
 * Whether the journal's store, which is that of all its segments, is the one expected: that of the
 * snapshot; without one, what journal_read_store_id() could read.
 */
static bool is_one_store(const uint8_t store[STORE_ID_SIZE], const uint8_t expected[STORE_ID_SIZE],
			 const struct snapshot *snapshot, const struct journal_found *found) {
	char segment[DISK_NAME_MAX];
	char name[DISK_NAME_MAX];

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

/* What a start tells of the end of the journal, and goes on. */
static void say_end(const struct journal_found *found) {
	char name[DISK_NAME_MAX];

	segment_name(found->last_segment, name);
	if (found->torn > 0)
		log_info("the last batch was cut short by a crash and is left out (%" PRIu64
			 " bytes, in %s): nobody had been answered",
			 found->torn, name);
	if (found->missing > 0)
		log_warn("the last segment lacks %" PRIu64 " bytes (%s): it was cut after it was "
			 "written, and what was answered may be lost with them",
			 found->missing, name);
}

/*
 * A store has its id before its first operation, and clients that only read remember it: so it is
 * made durable, as a snapshot of nothing. Anew at each start until there is an operation, for what
 * was found may be in the cache alone. False: logged.
 */
static bool keep_store(struct disk *disk, const struct service *service) {
	int error = snapshot_write(disk, service, 0, NULL, NULL);

	if (error == 0 && snapshot_publish(disk, 0, &error) == PUBLISH_DONE)
		return true;
	log_error("cannot write the id of the new store: %s: make room for it, or look at the disk",
		  strerror(-error));
	return false;
}

bool recovery_run(struct recovery *recovery, struct service *service) {
	struct reading reading = {
	    .service = service, .heap = recovery->heap, .said_ms = clock_ms()};
	struct disk *disk = &recovery->disk;
	uint64_t began_ms = clock_ms();
	uint8_t store[STORE_ID_SIZE];
	struct journal_found *found = &recovery->found;
	char why[JOURNAL_WHY_SIZE];
	int error = snapshot_discard(disk);

	if (error < 0) {
		log_error("cannot remove an unfinished snapshot: %s", strerror(-error));
		return false;
	}
	if (!load_snapshot(disk, &recovery->snapshot, &reading))
		return false;
	memcpy(store, recovery->store, STORE_ID_SIZE);
	recovery->file =
	    journal_file_open(disk, &recovery->options, store, recovery->snapshot.position,
			      replay_one, &reading, found, why);
	if (recovery->file == NULL) {
		log_error("%s", why);
		return false;
	}
	if (!is_one_store(store, recovery->store, &recovery->snapshot, found) ||
	    (found->last == 0 && !keep_store(disk, service))) {
		journal_file_close(recovery->file, false);
		recovery->file = NULL;
		return false;
	}
	recovery->last = found->last;
	recovery->time_ms = reading.time_ms;
	/*
	 * Each start begins a segment, which is read whole: by what is written in them alone, one
	 * start after another would fill the disk, and take longer and longer, without a snapshot.
	 * One is always there.
	 */
	recovery->replayed =
	    found->segments > 0 ? (found->segments - 1) * recovery->options.segment_size : 0;
	say_end(found);
	log_info("%" PRIu64 " entries from a snapshot and %" PRIu64 " operations from the journal "
		 "in %" PRIu64 " ms%s",
		 recovery->snapshot.entries, reading.operations, clock_ms() - began_ms,
		 found->last > 0 && !found->was_stopped ? " (the last stop was not a clean one)"
							: "");
	return true;
}

/* --- kvd --check --------------------------------------------------------------------------------
 */

/* Adds up the sizes of the files that are read. */
struct sum {
	struct disk *disk;
	uint64_t size;
};

static bool add_file(void *context, const char *name) {
	struct sum *sum = context;
	struct disk *disk = sum->disk;
	uint64_t number;
	int64_t size;
	int file;

	if (!segment_number(name, &number) && !snapshot_position(name, &number))
		return true;
	/* One that cannot be opened is found out by whoever reads it. */
	file = disk->open(disk->context, name, DISK_READ);
	if (file < 0)
		return true;
	size = disk->size(disk->context, file);
	disk->close(disk->context, file);
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
	struct reading *reading = context;

	reading->done += size;
	progress_bar_update(reading->bar, reading->done);
	progress_bar_clear(reading->bar);
	print_file(reading->out, name, size, first, last);
	(void)fputs("\n", reading->out);
}

/*
 * Verifies all snapshots, though one is enough to start with. *newest is the newest sound one; size
 * 0: there is none.
 */
static bool check_snapshots(struct disk *disk, struct reading *reading, struct snapshot *newest) {
	uint64_t positions[SNAPSHOTS_MAX];
	int count = snapshot_list(disk, positions);
	char why[SNAPSHOT_WHY_SIZE];
	bool sound = count >= 0;

	memset(newest, 0, sizeof(*newest));
	if (count < 0)
		log_error("cannot list the directory: %s", strerror(-count));
	for (int i = 0; i < count; i++) {
		struct snapshot snapshot;
		char name[DISK_NAME_MAX];

		if (!snapshot_check(disk, positions[i], snapshot_goes_on, reading, &snapshot,
				    why)) {
			clear_bar(reading);
			log_error("%s", why);
			sound = false;
			continue;
		}
		if (newest->size == 0)
			*newest = snapshot;
		reading->done += snapshot.size;
		snapshot_name(snapshot.position, name);
		clear_bar(reading);
		print_file(reading->out, name, snapshot.size, 1, snapshot.position);
		(void)fprintf(reading->out, " keys %" PRIu64 " sessions %" PRIu64 "\n",
			      snapshot.entries, snapshot.sessions);
	}
	return sound;
}

static void print_found(FILE *out, const struct snapshot *snapshot,
			const struct journal_found *found, const struct service *service) {
	struct service_counters counters;

	service_get_stats(service, &counters);
	(void)fprintf(out,
		      "snapshot_position %" PRIu64 "\nsnapshot_bytes %" PRIu64 "\nsegments %" PRIu64
		      "\nfirst_operation %" PRIu64 "\nlast_operation %" PRIu64 "\nkeys %" PRIu64
		      "\nsessions %" PRIu64 "\nclean_stop %s\ntorn_bytes %" PRIu64 "\n",
		      snapshot->position, snapshot->size, found->segments, found->first,
		      found->last, counters.keys, counters.sessions,
		      found->was_stopped ? "yes" : "no", found->torn);
}

static bool check_journal(struct disk *disk, const struct snapshot *snapshot,
			  struct reading *reading, struct journal_found *found) {
	uint8_t store[STORE_ID_SIZE];
	char name[DISK_NAME_MAX];
	char why[JOURNAL_WHY_SIZE];

	memcpy(store, snapshot->store, STORE_ID_SIZE);
	if (!journal_file_check(disk, store, snapshot->position, replay_one, print_segment, reading,
				found, why)) {
		clear_bar(reading);
		log_error("%s", why);
		return false;
	}
	clear_bar(reading);
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

bool recovery_check_disk(struct disk *disk, FILE *out) {
	const struct service_limits limits = {.value_max = VALUE_MAX,
					      .memory_max = SIZE_MAX / 2,
					      .sessions_max = UINT32_MAX,
					      .lease_ms = 1};
	struct identity identity = {.epoch = 1, .seed = random_id()};
	struct progress bar;
	struct reading reading = {.said_ms = clock_ms(), .bar = &bar, .out = out};
	struct snapshot snapshot;
	struct journal_found found;
	struct sum sum = {.disk = disk};
	bool has_sound_snapshots;
	bool sound;

	(void)disk->list(disk->context, add_file, &sum);
	progress_bar_init(&bar, sum.size);
	has_sound_snapshots = check_snapshots(disk, &reading, &snapshot);
	/* An older one may serve: whether the journal is whole from there is worth knowing. */
	if (!has_sound_snapshots && snapshot.size == 0)
		return false;
	/* It is read once more, to be loaded. */
	bar.total += snapshot.size;
	memcpy(identity.store, snapshot.store, STORE_ID_SIZE);
	reading.service = service_new(&identity, &limits, NULL);
	if (reading.service == NULL) {
		log_error("no memory to check with");
		return false;
	}
	sound = load_snapshot(disk, &snapshot, &reading) &&
		check_journal(disk, &snapshot, &reading, &found);
	progress_bar_clear(&bar);
	if (sound)
		print_found(out, &snapshot, &found, reading.service);
	service_free(reading.service);
	return sound && has_sound_snapshots;
}

bool recovery_check(const char *directory) {
	char why[JOURNAL_WHY_SIZE];
	struct disk disk;
	bool sound;

	if (!vfs_open(directory, false, &disk, why, sizeof(why))) {
		log_error("%s", why);
		return false;
	}
	sound = recovery_check_disk(&disk, stdout);
	vfs_close(&disk);
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return sound;
	log_error("cannot write to standard output: %s", strerror(errno));
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/journal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum {
	FIRST_CAPACITY = 64 * 1024,
	KEPT_CAPACITY = 1 << 20, /* a larger buffer is given back once it was written */
	RETRY_MS = 1000,	 /* when the disk was full */
	CHECK_MS = 1000,	 /* between two looks whether the files are still there */
	INLINE_MAX = 64 << 10,	 /* payload that the turn itself writes */
};

/* A batch: room for its header, its payload, room for its padding. */
struct batch_buf {
	uint8_t *bytes;
	size_t capacity;
	size_t payload;
	uint32_t count;
};

/*
 * The turn owns `gathering`, `recorded` and `room`. What the thread uses, too, is under the mutex,
 * `writing` so: the turn fills it while has_batch is false, the writer reads it while it is
 * true. `file` belongs to the thread that made is_file_taken true: the journal's, or the turn when
 * it writes itself.
 *
 * `room` is what the segment in use will have left once all batches handed over are written;
 * has_spare becomes true when a spare segment was made, false when a batch is planned into it;
 * until that one is written, the file still has that spare, and another cannot be made.
 */
struct journal {
	struct batch_buf gathering;
	uint64_t recorded; /* position of the last operation */
	uint64_t room;
	uint64_t segment_room;
	uint64_t durable_seen;
	bool is_backlogged;
	bool refuses; /* `is_blocked`, as the turn saw it last */
	int error;    /* `spare_error`, as the turn saw it last */
	int event;
	pthread_t thread;
	bool has_thread;
	atomic_bool is_notified; /* `event` has been written to */

	struct journal_file *file;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct batch_buf writing;
	uint64_t writing_last; /* position */
	bool has_batch;
	bool is_file_taken;
	bool is_file_awaited;
	bool is_spare_planned; /* the batch goes there */
	bool has_spare;
	bool is_blocked;   /* the disk has no space for the batch, which is tried again */
	int spare_error;   /* why there is no spare: a negative errno; 0: it was not tried */
	uint64_t check_ms; /* when the files were looked at last */
	bool is_stopping;
	bool has_failed;
	uint64_t durable;
	uint64_t truncate_to;	 /* position of a snapshot; 0: nothing is to be done */
	size_t spare_pieces_due; /* pieces of it to be made before the next batch is written */
	uint64_t batches;
	uint64_t bytes;
	struct stat_histogram sync_us;
	struct stat_histogram operations; /* of a batch */
	char why[JOURNAL_WHY_SIZE];
};

struct journal *journal_new(void) {
	struct journal *journal = calloc(1, sizeof(*journal));
	pthread_condattr_t monotonic;

	if (journal == NULL)
		return NULL;
	journal->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (journal->event < 0) {
		free(journal);
		return NULL;
	}
	(void)pthread_mutex_init(&journal->mutex, NULL);
	/* The time of day may be set back for hours. */
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&journal->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	return journal;
}

void journal_free(struct journal *journal) {
	if (journal == NULL)
		return;
	assert(!journal->has_thread);
	journal_file_close(journal->file, false);
	(void)close(journal->event);
	(void)pthread_cond_destroy(&journal->changed);
	(void)pthread_mutex_destroy(&journal->mutex);
	free(journal->gathering.bytes);
	free(journal->writing.bytes);
	free(journal);
}

/* --- What the thread does -----------------------------------------------------------------------
 */

static void notify_turn(struct journal *journal) {
	uint64_t one = 1;

	/* It can only fail if the counter is full, and then the turn is already notified. */
	(void)!write(journal->event, &one, sizeof(one));
	/* Last: else the turn might read what is not there yet, and never again. */
	atomic_store(&journal->is_notified, true);
}

/* With the mutex held, which is given up until leave_file(). */
static void acquire_file(struct journal *journal) {
	assert(!journal->is_file_taken);
	journal->is_file_taken = true;
	(void)pthread_mutex_unlock(&journal->mutex);
}

/*
 * With the mutex held. What there is to be done is known when the turn has left the file, which it
 * does not take again before the thread was there: else it could keep it from the thread for long.
 */
static void await_file(struct journal *journal) {
	while (journal->is_file_taken) {
		journal->is_file_awaited = true;
		(void)pthread_cond_wait(&journal->changed, &journal->mutex);
	}
	journal->is_file_awaited = false;
}

static void release_file(struct journal *journal) {
	(void)pthread_mutex_lock(&journal->mutex);
	journal->is_file_taken = false;
	if (journal->is_file_awaited)
		(void)pthread_cond_broadcast(&journal->changed);
}

/* With the mutex held, which is given up meanwhile. */
static enum journal_work write_batch(struct journal *journal) {
	struct batch_buf *batch = &journal->writing;
	uint64_t began_ns;
	bool is_full;
	bool written;

	acquire_file(journal);
	began_ns = clock_ns();
	written = journal_file_append(journal->file, batch->bytes, batch->payload, batch->count,
				      &is_full, journal->why);
	release_file(journal);
	journal->is_blocked = !written && is_full && !journal->is_stopping;
	if (journal->is_blocked)
		return JOURNAL_NO_ROOM;
	if (written) {
		journal->durable = journal->writing_last;
		journal->batches++;
		stat_histogram_add(&journal->sync_us, (clock_ns() - began_ns) / 1000, 1);
		stat_histogram_add(&journal->operations, batch->count, 1);
		journal->bytes += batch_size(batch->payload);
		/* The spare keeps ahead: it is there when the segment is full. */
		journal->spare_pieces_due = 2 * batch->payload / (1 << 20) + 1;
	} else {
		journal->has_failed = true;
	}
	journal->has_batch = false;
	journal->is_spare_planned = false;
	return written ? JOURNAL_WROTE : JOURNAL_FAILED;
}

/* With the mutex held, which is given up meanwhile. */
static void publish(struct journal *journal) {
	(void)pthread_cond_broadcast(&journal->changed);
	/* Not under the mutex, which is the first thing that the turn will want. */
	(void)pthread_mutex_unlock(&journal->mutex);
	notify_turn(journal);
	(void)pthread_mutex_lock(&journal->mutex);
}

/* With the mutex held, which is given up meanwhile. */
static enum journal_work write_and_notify(struct journal *journal) {
	enum journal_work work = write_batch(journal);

	publish(journal);
	return work;
}

/* With the mutex held, which is given up meanwhile. */
static enum journal_work make_spare(struct journal *journal) {
	enum journal_spare spare;
	size_t pieces = journal->spare_pieces_due;
	int error;

	acquire_file(journal);
	do
		spare = journal_file_make_spare(journal->file);
	while (spare == SPARE_BEGUN && pieces-- > 1);
	error = journal_file_spare_error(journal->file);
	release_file(journal);
	journal->spare_pieces_due = 0;
	switch (spare) {
	case SPARE_READY:
		journal->has_spare = true;
		journal->spare_error = 0;
		notify_turn(journal);
		break;
	case SPARE_BEGUN:
		break;
	case SPARE_NO_ROOM:
	case SPARE_FAILED:
		journal->spare_error = error;
		notify_turn(journal);
		return JOURNAL_NO_ROOM;
	}
	return JOURNAL_PREPARED;
}

/* With the mutex held, which is given up meanwhile. */
static enum journal_work truncate_file(struct journal *journal) {
	uint64_t position = journal->truncate_to;

	journal->truncate_to = 0;
	acquire_file(journal);
	journal_file_truncate(journal->file, position);
	release_file(journal);
	return JOURNAL_PREPARED;
}

/* With the mutex held. The file's spare is the journal's until the batch planned into it is there.
 */
static bool lacks_spare(const struct journal *journal) {
	return !journal->has_spare && !journal->is_spare_planned;
}

/*
 * With the mutex held, which is given up meanwhile. A batch comes first; but after one, the rest
 * gets its turn, even if the next batch waits already.
 */
static enum journal_work step(struct journal *journal) {
	bool is_batch_first;

	await_file(journal);
	is_batch_first = journal->spare_pieces_due == 0 || journal->is_stopping;
	if (journal->has_failed)
		return JOURNAL_FAILED;
	if (journal->has_batch && is_batch_first &&
	    !(journal->is_blocked && journal->truncate_to > 0))
		return write_and_notify(journal);
	if (journal->truncate_to > 0)
		return truncate_file(journal);
	if (journal->is_stopping)
		return JOURNAL_IDLE;
	if (lacks_spare(journal) && (!journal->has_batch || journal->spare_pieces_due > 0))
		return make_spare(journal);
	journal->spare_pieces_due = 0;
	return journal->has_batch ? write_and_notify(journal) : JOURNAL_IDLE;
}

enum journal_work journal_step(struct journal *journal) {
	enum journal_work work;

	(void)pthread_mutex_lock(&journal->mutex);
	work = step(journal);
	(void)pthread_mutex_unlock(&journal->mutex);
	return work;
}

/* With the mutex held, which is given up meanwhile. */
static void wait_ms(struct journal *journal, unsigned wanted_ms) {
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wanted_ms / 1000;
	(void)pthread_cond_timedwait(&journal->changed, &journal->mutex, &until);
}

static bool has_work(const struct journal *journal) {
	return (journal->has_batch && !journal->is_blocked) || journal->truncate_to > 0 ||
	       journal->is_stopping;
}

/*
 * With the mutex held, which is given up meanwhile. Once a second: a write to a file that was
 * removed succeeds, and is gone with the process. False: that happened.
 */
static bool files_are_there(struct journal *journal) {
	uint64_t now_ms = clock_ms();
	bool are_there;

	if (now_ms - journal->check_ms < CHECK_MS || journal->has_failed)
		return true;
	journal->check_ms = now_ms;
	await_file(journal);
	acquire_file(journal);
	are_there = journal_file_is_there(journal->file, journal->why);
	release_file(journal);
	if (are_there)
		return true;
	journal->has_failed = true;
	publish(journal);
	return false;
}

static void *journal_thread(void *argument) {
	struct journal *journal = argument;
	bool goes_on = true;

	(void)pthread_mutex_lock(&journal->mutex);
	while (goes_on && files_are_there(journal))
		switch (step(journal)) {
		case JOURNAL_WROTE:
		case JOURNAL_PREPARED:
			break;
		case JOURNAL_IDLE:
			goes_on = !journal->is_stopping;
			if (goes_on)
				wait_ms(journal, CHECK_MS);
			break;
		case JOURNAL_NO_ROOM:
			if (!has_work(journal))
				wait_ms(journal, RETRY_MS);
			break;
		case JOURNAL_FAILED:
			goes_on = false;
			break;
		}
	(void)pthread_mutex_unlock(&journal->mutex);
	return NULL;
}

void journal_start_threadless(struct journal *journal, struct journal_file *file, uint64_t last) {
	journal->file = file;
	journal->room = journal_file_room(file);
	journal->segment_room = journal_file_segment_room(file);
	journal->recorded = journal->durable = journal->durable_seen = last;
	/* The first spare is made before the first call comes. */
	while (!journal->has_spare && journal->spare_error == 0)
		(void)journal_step(journal);
}

bool journal_start(struct journal *journal, struct journal_file *file, uint64_t last) {
	journal_start_threadless(journal, file, last);
	journal->has_thread = pthread_create(&journal->thread, NULL, journal_thread, journal) == 0;
	return journal->has_thread;
}

/* --- The turn -----------------------------------------------------------------------------------
 */

static bool batch_reserve(struct batch_buf *batch, size_t more) {
	size_t needed = BATCH_HEADER_SIZE + batch->payload + more + BATCH_ALIGNMENT;
	size_t capacity = batch->capacity == 0 ? FIRST_CAPACITY : batch->capacity;
	uint8_t *bytes;

	if (needed <= batch->capacity)
		return true;
	while (capacity < needed)
		capacity *= 2;
	bytes = realloc(batch->bytes, capacity);
	if (bytes == NULL)
		return false;
	batch->bytes = bytes;
	batch->capacity = capacity;
	return true;
}

static void batch_clear(struct batch_buf *batch) {
	batch->payload = 0;
	batch->count = 0;
	if (batch->capacity > KEPT_CAPACITY) {
		free(batch->bytes);
		*batch = (struct batch_buf){.bytes = NULL};
	}
}

/* "A batch is applied only if its bytes are already reserved on disk." */
static bool reserve(void *context, const struct operation *operation) {
	struct journal *journal = context;
	size_t size = operation_encoded_size(operation);
	uint64_t needed = batch_size(journal->gathering.payload + size);
	bool fits = needed <= journal->room;

	if (!fits && needed <= journal->segment_room) {
		(void)pthread_mutex_lock(&journal->mutex);
		fits = journal->has_spare;
		(void)pthread_mutex_unlock(&journal->mutex);
	}
	return fits && !journal->refuses && batch_reserve(&journal->gathering, size);
}

static uint64_t record(void *context, const struct operation *operation, uint64_t now_ms) {
	struct journal *journal = context;
	struct batch_buf *batch = &journal->gathering;

	operation_encode(batch->bytes + BATCH_HEADER_SIZE + batch->payload, operation, now_ms);
	batch->payload += operation_encoded_size(operation);
	batch->count++;
	/* Told at once: the rest of this turn could fill more than a segment. */
	if (batch->payload > JOURNAL_BEHIND_MAX)
		journal->is_backlogged = true;
	return ++journal->recorded;
}

struct journal_sink journal_recorder(struct journal *journal) {
	return (struct journal_sink){.journal = journal, .reserve = reserve, .record = record};
}

/* With the mutex held. */
static void hand_over(struct journal *journal) {
	struct batch_buf empty = journal->writing;
	uint64_t size = batch_size(journal->gathering.payload);

	batch_clear(&empty);
	journal->writing = journal->gathering;
	journal->gathering = empty;
	journal->writing_last = journal->recorded;
	if (size > journal->room) {
		assert(journal->has_spare);
		journal->has_spare = false;
		journal->is_spare_planned = true;
		journal->room = journal->segment_room;
	}
	journal->room -= size;
	journal->has_batch = true;
}

/* With the mutex held. */
static void refresh(struct journal *journal) {
	size_t behind =
	    journal->gathering.payload + (journal->has_batch ? journal->writing.payload : 0);
	bool is_short = !journal->has_spare && journal->spare_error == 0 &&
			journal->room < 2 * (uint64_t)JOURNAL_BEHIND_MAX;

	journal->durable_seen = journal->durable;
	journal->refuses = journal->is_blocked;
	journal->error = journal->is_blocked ? -ENOSPC : journal->spare_error;
	journal->is_backlogged = behind > JOURNAL_BEHIND_MAX || is_short;
}

void journal_submit(struct journal *journal) {
	bool hands_over;

	(void)pthread_mutex_lock(&journal->mutex);
	hands_over = journal->gathering.count > 0 && !journal->has_batch && !journal->has_failed;
	if (hands_over)
		hand_over(journal);
	refresh(journal);
	(void)pthread_mutex_unlock(&journal->mutex);
	/* Not under the mutex, which is the first thing that the thread will want. */
	if (hands_over)
		(void)pthread_cond_broadcast(&journal->changed);
}

/* With the mutex held. */
static bool can_write_inline(const struct journal *journal) {
	return journal->gathering.count > 0 && journal->gathering.payload <= INLINE_MAX &&
	       !journal->has_batch && !journal->is_file_taken && !journal->is_file_awaited &&
	       !journal->has_failed;
}

bool journal_write_inline(struct journal *journal) {
	bool can_write;
	bool has_more = false;

	(void)pthread_mutex_lock(&journal->mutex);
	can_write = can_write_inline(journal);
	if (can_write) {
		hand_over(journal);
		(void)write_batch(journal);
		refresh(journal);
		has_more = lacks_spare(journal) || journal->is_blocked;
	}
	(void)pthread_mutex_unlock(&journal->mutex);
	if (has_more)
		(void)pthread_cond_broadcast(&journal->changed);
	return can_write;
}

int journal_fd(const struct journal *journal) {
	return journal->event;
}

uint64_t journal_durable(struct journal *journal) {
	uint64_t count;

	if (atomic_exchange(&journal->is_notified, false))
		(void)!read(journal->event, &count, sizeof(count));
	(void)pthread_mutex_lock(&journal->mutex);
	refresh(journal);
	(void)pthread_mutex_unlock(&journal->mutex);
	return journal->durable_seen;
}

uint64_t journal_last_position(const struct journal *journal) {
	return journal->recorded;
}

bool journal_has_pending(const struct journal *journal) {
	return journal->recorded > journal->durable_seen;
}

void journal_truncate(struct journal *journal, uint64_t position) {
	(void)pthread_mutex_lock(&journal->mutex);
	journal->truncate_to = position;
	(void)pthread_cond_broadcast(&journal->changed);
	(void)pthread_mutex_unlock(&journal->mutex);
}

bool journal_is_backlogged(const struct journal *journal) {
	return journal->is_backlogged;
}

int journal_disk_error(const struct journal *journal) {
	return journal->error;
}

const char *journal_error(struct journal *journal) {
	bool has_failed;

	(void)pthread_mutex_lock(&journal->mutex);
	has_failed = journal->has_failed;
	(void)pthread_mutex_unlock(&journal->mutex);
	/* The thread writes it once, before it says so. */
	return has_failed ? journal->why : NULL;
}

/* With the mutex held. Until no batch is on its way, or one cannot be written for lack of space. */
static void await_batch(struct journal *journal) {
	while (journal->has_batch && !journal->has_failed && !journal->is_blocked)
		if (journal->has_thread)
			(void)pthread_cond_wait(&journal->changed, &journal->mutex);
		else
			(void)step(journal);
}

bool journal_stop(struct journal *journal) {
	if (journal->file == NULL)
		return !journal->has_failed;
	(void)pthread_mutex_lock(&journal->mutex);
	await_batch(journal);
	journal->has_failed = journal->has_failed || journal->is_blocked;
	if (journal->gathering.count > 0 && !journal->has_failed)
		hand_over(journal);
	journal->is_stopping = true;
	(void)pthread_cond_broadcast(&journal->changed);
	await_batch(journal);
	while (!journal->has_thread && step(journal) == JOURNAL_PREPARED)
		;
	(void)pthread_mutex_unlock(&journal->mutex);
	if (journal->has_thread)
		(void)pthread_join(journal->thread, NULL);
	journal->has_thread = false;
	journal->durable_seen = journal->durable;
	journal_file_close(journal->file, !journal->has_failed);
	journal->file = NULL;
	return !journal->has_failed;
}

void journal_get_stats(struct journal *journal, struct journal_counters *counters) {
	(void)pthread_mutex_lock(&journal->mutex);
	*counters = (struct journal_counters){
	    .batches = journal->batches,
	    .bytes = journal->bytes,
	    .sync_us = journal->sync_us,
	    .operations = journal->operations,
	    .behind =
		journal->gathering.payload + (journal->has_batch ? journal->writing.payload : 0),
	    .is_disk_full = journal->is_blocked || vfs_is_full(journal->spare_error),
	};
	(void)pthread_mutex_unlock(&journal->mutex);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_PROCESS_H
#define JOURNAL_PROCESS_H

/* journal_process.h - a journal with its thread on a fake disk, whose syncs a gate can hold. */

#include <poll.h>
#include <pthread.h>

#include "journal_fixture.h"
#include "storage/journal.h"

enum {
	SEGMENT = 64 << 10,
	NEWS_MS = 100000, /* long: a machine may have much to do */
};

/* Holds the journal's thread where it is about to sync a segment. */
struct gate {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_shut;
	bool is_reached;
};

static struct journal_world world;
static struct journal *journal;
static struct journal_sink recorder;
static struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void pass(void *context, struct fake_disk *disk, uint64_t change) {
	(void)context;
	(void)change;
	if (strncmp(fake_disk_last(disk), "sync journal", strlen("sync journal")) != 0)
		return;
	(void)pthread_mutex_lock(&gate.mutex);
	gate.is_reached = true;
	(void)pthread_cond_broadcast(&gate.changed);
	while (gate.is_shut)
		(void)pthread_cond_wait(&gate.changed, &gate.mutex);
	(void)pthread_mutex_unlock(&gate.mutex);
}

static inline void gate_set(bool is_shut) {
	(void)pthread_mutex_lock(&gate.mutex);
	gate.is_shut = is_shut;
	gate.is_reached = false;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.mutex);
}

/* Until the thread stands there. */
static inline void gate_await(void) {
	(void)pthread_mutex_lock(&gate.mutex);
	while (!gate.is_reached)
		(void)pthread_cond_wait(&gate.changed, &gate.mutex);
	(void)pthread_mutex_unlock(&gate.mutex);
}

static inline void begin(uint64_t segment_size) {
	const struct fake_plan plan = {.before = pass};

	gate_set(false);
	journal_world_open(&world, segment_size, 1);
	fake_disk_plan(world.disk, &plan);
	world_start(&world);
	journal = journal_new();
	ck_assert_ptr_nonnull(journal);
	recorder = journal_recorder(journal);
}

static inline void start(void) {
	begin(SEGMENT);
	ck_assert(journal_start(journal, world.file, world.found.last));
	world.file = NULL;
}

static inline void stop(void) {
	gate_set(false);
	(void)journal_stop(journal);
	journal_free(journal);
	journal_world_close(&world);
}

static inline bool put(size_t size) {
	uint64_t number = world.tape.count + 1;
	struct operation operation = put_call(1000, number, "key", "");

	operation.value = zeros(size);
	if (!recorder.reserve(recorder.journal, &operation))
		return false;
	(void)tape_record(&world.tape, &operation, number);
	ck_assert_uint_eq(recorder.record(recorder.journal, &operation, number), number);
	return true;
}

/*
 * One turn of the server: hands over what was gathered, waits for news, takes it in. Nothing takes
 * news in but what looks again at what it waits for.
 */
static inline void turn(void) {
	struct pollfd news = {.fd = journal_fd(journal), .events = POLLIN};

	journal_submit(journal);
	ck_assert_msg(poll(&news, 1, NEWS_MS) == 1, "no news");
	(void)journal_durable(journal);
}

static inline void turn_until(uint64_t position) {
	while (journal_durable(journal) < position) {
		ck_assert_ptr_null(journal_error(journal));
		turn();
	}
}

static inline void turn_while_behind(void) {
	while (journal_is_backlogged(journal))
		turn();
}

/* Until the thread has nothing to do but what it is given. */
static inline void await_spare(void) {
	struct operation large = put_call(1000, 1, "key", "");

	large.value = zeros(SEGMENT / 2);
	while (journal_durable(journal) < world.tape.count ||
	       !recorder.reserve(recorder.journal, &large))
		turn();
}

/* What the next process finds. */
static inline void assert_found(uint64_t last, bool was_stopped) {
	struct journal_file *file;

	fake_disk_kill(world.disk);
	ck_assert_msg(world_read(&world, world.disk, 0, &file), "%s", world.why);
	journal_file_close(file, false);
	ck_assert_uint_eq(world.found.last, last);
	ck_assert(world.found.was_stopped == was_stopped);
}

#endif

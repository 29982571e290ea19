/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: calloc realloc eventfd pthread_create */
/* The journal where the system refuses it memory, a descriptor or a thread: it says so, or stops.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "journal_fixture.h"
#include "storage/journal.h"
#include "test.h"

enum { SEGMENT = 256 << 10 };

/* Which call from now is refused; 0: none. */
static unsigned calloc_in;
static unsigned realloc_in;
static unsigned eventfd_in;
static unsigned thread_in;

static struct journal_world world;
static struct journal *journal;
static struct journal_sink recorder;

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
int __real_eventfd(unsigned count, int flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*body)(void *), void *argument);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*body)(void *), void *argument);

static bool is_refused(unsigned *in) {
	return *in != 0 && --*in == 0;
}

void *__wrap_calloc(size_t count, size_t size) {
	return is_refused(&calloc_in) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
	return is_refused(&realloc_in) ? NULL : __real_realloc(block, size);
}

int __wrap_eventfd(unsigned count, int flags) {
	if (!is_refused(&eventfd_in))
		return __real_eventfd(count, flags);
	errno = EMFILE;
	return -1;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*body)(void *), void *argument) {
	return is_refused(&thread_in) ? EAGAIN
				      : __real_pthread_create(thread, attributes, body, argument);
}

static void start(void) {
	journal_world_open(&world, SEGMENT, 1);
	world_start(&world);
	journal = journal_new();
	ck_assert_ptr_nonnull(journal);
	recorder = journal_recorder(journal);
}

static void stop(void) {
	journal_free(journal);
	journal_world_close(&world);
}

static void begin(void) {
	journal_start_threadless(journal, world.file, world.found.last);
	world.file = NULL;
}

static bool put(size_t size) {
	uint64_t number = world.tape.count + 1;
	struct operation operation = put_call(1000, number, "key", "");

	operation.value = zeros(size);
	if (!recorder.reserve(recorder.journal, &operation))
		return false;
	(void)tape_record(&world.tape, &operation, number);
	ck_assert_uint_eq(recorder.record(recorder.journal, &operation, number), number);
	return true;
}

/* What the next process finds. */
static void assert_found(uint64_t last) {
	struct journal_file *file;

	fake_disk_kill(world.disk);
	ck_assert_msg(world_read(&world, world.disk, 0, &file), "%s", world.why);
	journal_file_close(file, false);
	ck_assert_uint_eq(world.found.last, last);
}

CASE(journal_refused, .setup = start, .teardown = stop);

TEST(without_memory_or_a_descriptor_there_is_no_journal) {
	calloc_in = 1;
	ck_assert_ptr_null(journal_new());
	eventfd_in = 1;
	errno = 0;
	ck_assert_ptr_null(journal_new());
	ck_assert_int_eq(errno, EMFILE);
}

TEST(without_a_thread_it_does_not_start_and_the_files_are_whole) {
	thread_in = 1;
	ck_assert(!journal_start(journal, world.file, 0));
	world.file = NULL;
	(void)journal_stop(journal);
	ck_assert_uint_eq(fake_disk_open_files(world.disk), 0);
	world_start(&world);
	ck_assert(world_put(&world, 10));
	ck_assert_uint_eq(world.found.last, 0);
}

TEST(without_memory_for_the_batch_an_operation_is_refused_and_those_before_are_kept) {
	begin();
	ck_assert(put(10));
	/* More than the batch has room for. */
	realloc_in = 1;
	ck_assert(!put(SEGMENT / 2));
	ck_assert_uint_eq(journal_last_position(journal), 1);
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_WROTE);
	ck_assert_uint_eq(journal_durable(journal), 1);
	/* And taken when there is memory again. */
	ck_assert(put(SEGMENT / 2));
	ck_assert(journal_stop(journal));
	assert_found(2);
}

TEST(without_memory_for_the_first_batch_nothing_is_recorded) {
	begin();
	realloc_in = 1;
	ck_assert(!put(10));
	ck_assert_uint_eq(journal_last_position(journal), 0);
	journal_submit(journal);
	ck_assert_int_eq(journal_step(journal), JOURNAL_IDLE);
	ck_assert(journal_stop(journal));
	assert_found(0);
}

TEST(without_memory_for_a_new_segment_it_stops_and_what_was_answered_is_there) {
	begin();
	while (put(SEGMENT / 3)) {
		enum journal_work work;

		journal_submit(journal);
		if (world.tape.count > 2) {
			/* It fits no more; the next segment must be remembered first. */
			realloc_in = 1;
			ck_assert_int_eq(journal_step(journal), JOURNAL_FAILED);
			ck_assert_uint_eq(realloc_in, 0);
			break;
		}
		do
			work = journal_step(journal);
		while (work == JOURNAL_PREPARED || work == JOURNAL_WROTE);
		ck_assert_uint_eq(journal_durable(journal), world.tape.count);
	}
	ck_assert_uint_eq(world.tape.count, 3);
	ck_assert_ptr_nonnull(strstr(journal_error(journal), "journal-0000000000000002"));
	ck_assert_uint_eq(journal_durable(journal), 2);
	ck_assert(!journal_stop(journal));
	assert_found(2);
}

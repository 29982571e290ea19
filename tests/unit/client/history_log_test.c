/* SPDX-License-Identifier: BSD-3-Clause */
/* The history that a client writes: when which line, and what if it cannot be written. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history_log.h"
#include "test.h"

enum { TEXT_SIZE = 4096, PATH_SIZE = 512 };

static char path[PATH_SIZE];
static struct history_log *history;
static char text[TEXT_SIZE];

static void setup(void) {
	const char *place = getenv("TMPDIR");
	int file;

	(void)snprintf(path, sizeof(path), "%s/kv-history.XXXXXX", place != NULL ? place : "/tmp");
	file = mkstemp(path);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(close(file), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(history_log_open(path, &history), KV_OK);
}

static void teardown(void) {
	history_log_close(history, false);
	(void)unlink(path);
}

/* How many lines there are; they are in `text`. */
static size_t lines(void) {
	FILE *file = fopen(path, "r");
	size_t size;
	size_t count = 0;

	ck_assert_ptr_nonnull(file);
	size = fread(text, 1, sizeof(text) - 1, file);
	text[size] = '\0';
	(void)fclose(file);
	for (size_t i = 0; i < size; i++)
		count += text[i] == '\n';
	return count;
}

static struct history_call call_of(enum history_op op) {
	return (struct history_call){
	    .op = op, .key = {"k", 1}, .value = {"v", op == HISTORY_GET ? 0 : 1}, .expected = 3};
}

CASE(notes, .setup = setup, .teardown = teardown);

TEST(a_write_is_noted_before_and_after) {
	struct history_call call = call_of(HISTORY_PUT);

	ck_assert_int_eq(history_log_begin(history, &call, 1), KV_OK);
	ck_assert_uint_eq(lines(), 1);
	ck_assert_ptr_nonnull(strstr(text, "\"op\":\"put\",\"key\":\"k\",\"value\":\"v\","
					   "\"expected\":3,\"boot\":"));
	ck_assert_ptr_null(strstr(text, "return"));
	ck_assert_ptr_null(strstr(text, "status"));
	call.status = KV_OK;
	call.version = 4;
	history_log_end(history, &call, 1);
	ck_assert_uint_eq(lines(), 2);
	ck_assert_ptr_nonnull(strstr(text, "\"status\":\"KV_OK\",\"version\":4,\"boot\":"));
	ck_assert_ptr_nonnull(strstr(text, "\"return\":"));
	ck_assert_int_eq(history_log_error(history), 0);
}

TEST(a_get_is_noted_after_it_only) {
	struct history_call call = call_of(HISTORY_GET);

	ck_assert_int_eq(history_log_begin(history, &call, 1), KV_OK);
	ck_assert_uint_eq(lines(), 0);
	call.status = KV_NOKEY;
	history_log_end(history, &call, 1);
	ck_assert_uint_eq(lines(), 1);
}

TEST(the_file_is_appended_to_and_for_its_owner_only) {
	struct history_log *other = NULL;
	struct history_call first = call_of(HISTORY_PUT);
	struct history_call second = call_of(HISTORY_PUT);
	struct stat found;

	ck_assert_int_eq(history_log_open(path, &other), KV_OK);
	ck_assert_int_eq(history_log_begin(history, &first, 1), KV_OK);
	ck_assert_int_eq(history_log_begin(other, &second, 1), KV_OK);
	ck_assert_uint_eq(lines(), 2);
	ck_assert_uint_ne(first.client, second.client);
	ck_assert_int_eq(stat(path, &found), 0);
	ck_assert_int_eq(found.st_mode & 0777, 0600);
	history_log_close(other, false);
}

TEST(all_calls_on_one_clock_have_its_number) {
	struct history_log *other = NULL;
	struct history_call first = call_of(HISTORY_GET);
	struct history_call second = call_of(HISTORY_GET);

	ck_assert_int_eq(history_log_open(path, &other), KV_OK);
	ck_assert_int_eq(history_log_begin(history, &first, 1), KV_OK);
	ck_assert_int_eq(history_log_begin(other, &second, 1), KV_OK);
	ck_assert_uint_ne(first.boot, 0);
	ck_assert_uint_lt(first.boot, (uint64_t)1 << 53);
	ck_assert_uint_eq(first.boot, second.boot);
	history_log_close(other, false);
}

TEST(no_two_calls_of_a_client_have_the_same_time) {
	uint64_t last_ns = 0;

	for (int i = 0; i < 100000; i++) {
		struct history_call call = call_of(HISTORY_GET);
		ck_assert_int_eq(history_log_begin(history, &call, 1), KV_OK);
		ck_assert_uint_gt(call.call_ns, last_ns);
		last_ns = call.call_ns;
	}
}

TEST(a_write_that_cannot_be_noted_is_not_to_be_sent) {
	struct history_log *full = NULL;
	struct history_call put = call_of(HISTORY_PUT);
	struct history_call get = call_of(HISTORY_GET);

	ck_assert_int_eq(history_log_open("/dev/full", &full), KV_OK);
	ck_assert_int_eq(history_log_begin(full, &get, 1), KV_OK);
	ck_assert_int_eq(history_log_error(full), 0);
	ck_assert_int_eq(history_log_begin(full, &put, 1), KV_INVALID);
	ck_assert_int_eq(history_log_error(full), ENOSPC);
	history_log_close(full, false);
}

TEST(a_file_that_cannot_be_opened_is_told) {
	struct history_log *none = NULL;

	errno = 0;
	ck_assert_int_eq(history_log_open("/nonexistent/history", &none), KV_INVALID);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_ptr_null(none);
}

TEST(a_pipe_is_refused_for_it_may_block_and_raise_a_signal) {
	struct history_log *none = NULL;

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(history_log_open(path, &none), KV_INVALID);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(none);
}

TEST(a_limit_on_the_size_of_files_kills_no_process_that_writes_a_history) {
	const struct rlimit nothing = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
	struct history_call put = call_of(HISTORY_PUT);
	sigset_t mask;

	struct rlimit before;
	enum kv_status status;

	/* libcheck writes to a file at each assertion. */
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)setrlimit(RLIMIT_FSIZE, &nothing);
	status = history_log_begin(history, &put, 1);
	(void)setrlimit(RLIMIT_FSIZE, &before);
	ck_assert_int_eq(status, KV_INVALID);
	ck_assert_int_eq(history_log_error(history), EFBIG);
	ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	ck_assert_int_eq(sigismember(&mask, SIGXFSZ), 0);
}

/* The number of the descriptor that the history has. */
static int descriptor_of_history(void) {
	struct stat wanted, found;

	ck_assert_int_eq(stat(path, &wanted), 0);
	for (int fd = 3; fd < 100; fd++)
		if (fstat(fd, &found) == 0 && found.st_ino == wanted.st_ino)
			return fd;
	ck_abort_msg("the history is not open");
	return -1;
}

TEST(a_child_that_has_closed_all_descriptors_keeps_its_own) {
	int fd = descriptor_of_history();
	int own = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(dup2(own, fd), fd);
	history_log_close(history, true);
	ck_assert_int_ne(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(history_log_open(path, &history), KV_OK);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The history that a client writes: when which line, and what if it cannot be written. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history_log.h"

enum { TEXT_SIZE = 4096, PATH_SIZE = 512 };

static char path[PATH_SIZE];
static struct recorder *recorder;
static char text[TEXT_SIZE];

static void setup(void) {
	const char *place = getenv("TMPDIR");
	int file;

	(void)snprintf(path, sizeof(path), "%s/recorder.XXXXXX", place != NULL ? place : "/tmp");
	file = mkstemp(path);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(close(file), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(history_log_open(path, &recorder), KV_OK);
}

static void teardown(void) {
	history_log_close(recorder);
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

START_TEST(a_write_is_noted_before_and_after) {
	struct history_call call = call_of(HISTORY_PUT);

	ck_assert_int_eq(history_log_begin(recorder, &call), KV_OK);
	ck_assert_uint_eq(lines(), 1);
	ck_assert_ptr_nonnull(strstr(text, "\"op\":\"put\",\"key\":\"k\",\"value\":\"v\","
					   "\"expected\":3,\"call\":"));
	ck_assert_ptr_null(strstr(text, "return"));
	ck_assert_ptr_null(strstr(text, "status"));
	call.status = KV_OK;
	call.version = 4;
	history_log_end(recorder, &call);
	ck_assert_uint_eq(lines(), 2);
	ck_assert_ptr_nonnull(strstr(text, "\"status\":\"KV_OK\",\"version\":4,\"call\":"));
	ck_assert_ptr_nonnull(strstr(text, "\"return\":"));
	ck_assert_int_eq(history_log_error(recorder), 0);
}
END_TEST

START_TEST(a_get_is_noted_after_it_only) {
	struct history_call call = call_of(HISTORY_GET);

	ck_assert_int_eq(history_log_begin(recorder, &call), KV_OK);
	ck_assert_uint_eq(lines(), 0);
	call.status = KV_NOKEY;
	history_log_end(recorder, &call);
	ck_assert_uint_eq(lines(), 1);
}
END_TEST

START_TEST(the_file_is_appended_to_and_for_its_owner_only) {
	struct recorder *other = NULL;
	struct history_call first = call_of(HISTORY_PUT);
	struct history_call second = call_of(HISTORY_PUT);
	struct stat found;

	ck_assert_int_eq(history_log_open(path, &other), KV_OK);
	ck_assert_int_eq(history_log_begin(recorder, &first), KV_OK);
	ck_assert_int_eq(history_log_begin(other, &second), KV_OK);
	ck_assert_uint_eq(lines(), 2);
	ck_assert_uint_ne(first.client, second.client);
	ck_assert_int_eq(stat(path, &found), 0);
	ck_assert_int_eq(found.st_mode & 0777, 0600);
	history_log_close(other);
}
END_TEST

START_TEST(no_two_calls_of_a_client_have_the_same_time) {
	uint64_t last_ns = 0;

	for (int i = 0; i < 100000; i++) {
		struct history_call call = call_of(HISTORY_GET);
		ck_assert_int_eq(history_log_begin(recorder, &call), KV_OK);
		ck_assert_uint_gt(call.call_ns, last_ns);
		last_ns = call.call_ns;
	}
}
END_TEST

START_TEST(a_write_that_cannot_be_noted_is_not_to_be_sent) {
	struct recorder *full = NULL;
	struct history_call put = call_of(HISTORY_PUT);
	struct history_call get = call_of(HISTORY_GET);

	ck_assert_int_eq(history_log_open("/dev/full", &full), KV_OK);
	ck_assert_int_eq(history_log_begin(full, &get), KV_OK);
	ck_assert_int_eq(history_log_error(full), 0);
	ck_assert_int_eq(history_log_begin(full, &put), KV_INVALID);
	ck_assert_int_eq(history_log_error(full), ENOSPC);
	history_log_close(full);
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_told) {
	struct recorder *none = NULL;

	errno = 0;
	ck_assert_int_eq(history_log_open("/nonexistent/history", &none), KV_INVALID);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_ptr_null(none);
}
END_TEST

START_TEST(without_a_path_nothing_is_noted) {
	struct recorder *none = NULL;
	struct history_call put = call_of(HISTORY_PUT);

	ck_assert_int_eq(history_log_open(NULL, &none), KV_OK);
	ck_assert_ptr_null(none);
	ck_assert_int_eq(history_log_begin(none, &put), KV_OK);
	history_log_end(none, &put);
	ck_assert_int_eq(history_log_error(none), 0);
	history_log_close(none);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("client_recorder");
	TCase *notes = tcase_create("notes");
	tcase_add_checked_fixture(notes, setup, teardown);
	tcase_add_test(notes, a_write_is_noted_before_and_after);
	tcase_add_test(notes, a_get_is_noted_after_it_only);
	tcase_add_test(notes, the_file_is_appended_to_and_for_its_owner_only);
	tcase_add_test(notes, no_two_calls_of_a_client_have_the_same_time);
	tcase_add_test(notes, a_write_that_cannot_be_noted_is_not_to_be_sent);
	tcase_add_test(notes, a_file_that_cannot_be_opened_is_told);
	tcase_add_test(notes, without_a_path_nothing_is_noted);
	suite_add_tcase(suite, notes);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

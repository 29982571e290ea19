/* SPDX-License-Identifier: BSD-3-Clause */
#include "history_capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "suite.h"
#include "text_report.h"

enum { PATH_SIZE = 256 };

void history_capture_begin(struct history_capture *capture) {
	char place[64];

	suite_directory(place);
	(void)snprintf(capture->path, sizeof capture->path, "%s/history", place);
}

/* Beside the suite's own directory, which is removed. */
static void make_place(char path[PATH_SIZE]) {
	const char *suite = getenv("TMPDIR");
	const char *slash = suite != NULL ? strrchr(suite, '/') : NULL;

	if (slash == NULL || slash == suite)
		(void)snprintf(path, PATH_SIZE, "/tmp/kv-history-XXXXXX");
	else
		(void)snprintf(path, PATH_SIZE, "%.*s/kv-history-XXXXXX", (int)(slash - suite),
			       suite);
	if (mkdtemp(path) == NULL)
		(void)snprintf(path, PATH_SIZE, "/nowhere");
}

static FILE *open_in(const char *place, const char *name) {
	char path[PATH_SIZE + 32];

	(void)snprintf(path, sizeof path, "%s/%s", place, name);
	return fopen(path, "we");
}

/* What cannot be written is not there: the test fails anyway. */
static void leave_behind(const struct history *history, const struct checker_report *report) {
	char place[PATH_SIZE];
	FILE *file;

	make_place(place);
	file = open_in(place, "history.jsonl");
	if (file != NULL) {
		(void)history_write(history, file);
		(void)fclose(file);
	}
	file = open_in(place, "history.html");
	if (file != NULL) {
		(void)report_html(file, history, report);
		(void)fclose(file);
	}
	report_print(stdout, history, report);
	(void)printf("the history and a page of it are in %s\n", place);
}

void history_capture_judge(const struct history_capture *capture) {
	struct history *history = history_new();
	struct history_input input = {.file = fopen(capture->path, "re"), .name = capture->path};
	char error[HISTORY_ERROR_MAX] = "";
	struct checker_report report;

	ck_assert_ptr_nonnull(history);
	ck_assert_ptr_nonnull(input.file);
	ck_assert_msg(history_read(history, &input, error) == HISTORY_READ, "%s", error);
	ck_assert_int_eq(fclose(input.file), 0);
	ck_assert_uint_gt(history_count(history), 0);
	checker_run(history, NULL, &report);
	if (report.verdict != CHECKER_LINEARIZABLE)
		leave_behind(history, &report);
	ck_assert_msg(report.verdict != CHECKER_NOT, "the history is not linearizable");
	ck_assert_msg(report.verdict != CHECKER_UNDECIDED, "undecided: %s", report.reason);
	checker_report_free(&report);
	history_free(history);
}

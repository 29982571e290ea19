/* SPDX-License-Identifier: BSD-3-Clause */
#include "tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checker.h"
#include "report.h"
#include "suite.h"

enum { PATH_SIZE = 256 };

uint64_t tape_now_ns(void) {
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void tape_begin(struct tape *tape) {
	tape->history = history_new();
	ck_assert_ptr_nonnull(tape->history);
	ck_assert_int_eq(pthread_mutex_init(&tape->mutex, NULL), 0);
}

void tape_keep(struct tape *tape, const struct history_call *call) {
	ck_assert_int_eq(pthread_mutex_lock(&tape->mutex), 0);
	ck_assert(history_add(tape->history, call));
	ck_assert_int_eq(pthread_mutex_unlock(&tape->mutex), 0);
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

void tape_judge(struct tape *tape) {
	struct checker_report report;
	enum checker_verdict verdict;

	checker_run(tape->history, NULL, &report);
	verdict = report.verdict;
	if (verdict != CHECKER_LINEARIZABLE)
		leave_behind(tape->history, &report);
	ck_assert_msg(verdict != CHECKER_NOT, "the history is not linearizable");
	ck_assert_msg(verdict != CHECKER_UNDECIDED, "undecided: %s", report.reason);
	checker_report_free(&report);
	history_free(tape->history);
	ck_assert_int_eq(pthread_mutex_destroy(&tape->mutex), 0);
}

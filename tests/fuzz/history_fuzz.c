/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * history_fuzz.c - whatever stands in a file of history: it is refused, or it is read, and then it
 * can be judged and shown, and what is written of it is read as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "text_report.h"

static void show(const struct history *history, const struct checker_report *report) {
	char *page = NULL;
	char *lines = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&page, &size);

	must(file != NULL);
	must(report_html(file, history, report));
	must(fclose(file) == 0);
	must(strstr(page, "<script") == NULL);
	file = open_memstream(&lines, &size);
	must(file != NULL);
	report_print(file, history, report);
	must(fclose(file) == 0);
	must(strlen(lines) == size);
	free(page);
	free(lines);
}

static enum checker_verdict judge(const struct history *history, bool any_start) {
	struct checker_limits limits = {
	    .steps_max = 20000, .memory_max = 1 << 20, .any_start = any_start};
	struct checker_report report;
	enum checker_verdict verdict;

	checker_run(history, &limits, &report);
	verdict = report.verdict;
	show(history, &report);
	checker_report_free(&report);
	return verdict;
}

static void write_and_read(const struct history *history, enum checker_verdict verdict) {
	struct history *again = history_new();
	struct history_input input = {.name = "again"};
	char error[HISTORY_ERROR_MAX];
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	must(again != NULL && file != NULL);
	must(history_write(history, file));
	must(fclose(file) == 0);
	/* fmemopen() has no files of nothing. */
	if (size > 0) {
		input.file = fmemopen(text, size, "r");
		must(input.file != NULL);
		must(history_read(again, &input, error) == HISTORY_READ);
		must(fclose(input.file) == 0);
	}
	must(history_count(again) == history_count(history));
	must(judge(again, false) == verdict);
	history_free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct history *history = history_new();
	struct history_input input = {.name = "input"};
	char error[HISTORY_ERROR_MAX] = "";
	enum history_answer answer;

	if (size == 0) {
		history_free(history);
		return 0;
	}
	input.file = fmemopen((void *)(uintptr_t)data, size, "r");
	must(history != NULL && input.file != NULL);
	answer = history_read(history, &input, error);
	must(fclose(input.file) == 0);
	must(answer != HISTORY_WRONG || strncmp(error, "input:", 6) == 0);
	if (answer != HISTORY_WRONG) {
		enum checker_verdict verdict = judge(history, false);
		/* What holds from an empty store holds from any. */
		if (verdict == CHECKER_LINEARIZABLE)
			must(judge(history, true) != CHECKER_NOT);
		else
			(void)judge(history, true);
		write_and_read(history, verdict);
	}
	history_free(history);
	return 0;
}

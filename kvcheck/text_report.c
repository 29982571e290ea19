/* SPDX-License-Identifier: BSD-3-Clause */
#include "text_report.h"

#include <string.h>

#include "format_call.h"

static const char *plural(size_t count) {
	return count == 1 ? "" : "s";
}

static void print_call(FILE *file, const struct history_call *call, uint64_t start_ns,
		       bool has_key) {
	char key[DESCRIBE_BYTES_MAX + 2] = "";
	char what[DESCRIBE_CALL_MAX];
	char answer[DESCRIBE_CALL_MAX];
	char end[32] = "...";

	if (has_key) {
		describe_bytes(call->key, key);
		(void)strcat(key, ": ");
	}
	describe_call(call, what);
	describe_answer(call, answer);
	if (call->return_ns != HISTORY_OPEN)
		(void)snprintf(end, sizeof(end), "%.6f",
			       (double)(call->return_ns - start_ns) / 1e6);
	(void)fprintf(file, "  client %llu, %.6f to %s ms: %s%s: %s\n",
		      (unsigned long long)call->client, (double)(call->call_ns - start_ns) / 1e6,
		      end, key, what, answer);
}

static void print_part(FILE *file, const struct history *history,
		       const struct checker_report *report) {
	uint64_t start_ns;

	if (report->call_count == 0)
		return;
	start_ns = history_at(history, report->calls[0])->call_ns;
	if (report->is_of_keys)
		(void)fprintf(file, "The part that cannot be ordered, %zu call%s:\n",
			      report->call_count, plural(report->call_count));
	else
		(void)fprintf(
		    file,
		    "The %spart that cannot be ordered, %zu call%s; before it the key was at "
		    "version %llu%s:\n",
		    report->is_shortest ? "shortest " : "", report->call_count,
		    plural(report->call_count), (unsigned long long)report->start_version,
		    report->start_version == 0 ? " (missing)" : "");
	for (size_t i = 0; i < report->call_count && i < REPORT_CALLS_MAX; i++)
		print_call(file, history_at(history, report->calls[i]), start_ns,
			   report->is_of_keys);
	if (report->call_count > REPORT_CALLS_MAX)
		(void)fprintf(file, "  ... and %zu more\n", report->call_count - REPORT_CALLS_MAX);
}

void report_print(FILE *file, const struct history *history, const struct checker_report *report) {
	char key[DESCRIBE_BYTES_MAX];
	size_t count = history_count(history);

	describe_bytes(report->key, key);
	switch (report->verdict) {
	case CHECKER_LINEARIZABLE:
		(void)fprintf(file, "linearizable: %zu call%s on %zu key%s\n", count, plural(count),
			      report->keys, plural(report->keys));
		break;
	case CHECKER_NOT:
		(void)fprintf(file, "not linearizable: key %s: %s\n", key, report->reason);
		print_part(file, history, report);
		break;
	case CHECKER_UNDECIDED:
		(void)fprintf(file, "undecided: key %s: %s\n", key, report->reason);
		break;
	}
}

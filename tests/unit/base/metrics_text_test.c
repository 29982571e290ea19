/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters as text for Prometheus. */
#include <stdlib.h>
#include <string.h>

#include "metrics_text.h"
#include "test.h"

/* The text, to be freed. */
static char *text_of(const char *software, const struct metrics_value *values, size_t count) {
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	ck_assert(metrics_text_write(out, software, values, count));
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

static void check_has(const char *text, const char *part) {
	ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

CASE(metrics_text);

TEST(a_counter_has_its_help_type_and_unit) {
	static const struct metrics_value values[] = {
	    {"uptime_ms", 1500}, {"keys", 7}, {"calls_of_get", 3}, {"calls_of_put", 4}};
	char *text = text_of("kvd 1", values, 4);

	check_has(text, "kvd_build_info{version=\"kvd 1\"} 1\n");
	check_has(text, "# TYPE kvd_uptime_seconds gauge\nkvd_uptime_seconds 1.5\n");
	check_has(text, "# HELP kvd_keys Keys.\n# TYPE kvd_keys gauge\nkvd_keys 7\n");
	check_has(text, "# TYPE kvd_calls_total counter\nkvd_calls_total{procedure=\"get\"} 3\n"
			"kvd_calls_total{procedure=\"put\"} 4\n");
	free(text);
}

TEST(buckets_of_a_histogram_add_up) {
	static const struct metrics_value values[] = {
	    {"latency_get_le_4", 1},   {"latency_get_le_inf", 2},   {"latency_get_sum", 9},
	    {"latency_put_le_4", 5},   {"latency_put_le_inf", 0},   {"latency_put_sum", 5},
	    {"journal_batch_le_4", 6}, {"journal_batch_le_inf", 1}, {"journal_batch_sum", 70}};
	char *text = text_of("", values, 9);

	check_has(text, "kvd_call_duration_seconds_bucket{procedure=\"get\",le=\"4e-06\"} 1\n"
			"kvd_call_duration_seconds_bucket{procedure=\"get\",le=\"+Inf\"} 3\n"
			"kvd_call_duration_seconds_count{procedure=\"get\"} 3\n"
			"kvd_call_duration_seconds_sum{procedure=\"get\"} 9e-06\n"
			"kvd_call_duration_seconds_bucket{procedure=\"put\",le=\"4e-06\"} 5\n");
	check_has(text,
		  "kvd_journal_batch_operations_bucket{le=\"4\"} 6\n"
		  "kvd_journal_batch_operations_bucket{le=\"+Inf\"} 7\n"
		  "kvd_journal_batch_operations_count 7\nkvd_journal_batch_operations_sum 70\n");
	free(text);
}

TEST(what_a_peer_chose_is_no_syntax) {
	static const struct metrics_value values[] = {{"evil\n\"{} 1", 1},
						      {"calls_of_x\"} 9\n", 2},
						      {"latency_", 3},
						      {"latency_le_le_", 4},
						      {"journal_sync_x_le_5", 5}};
	char *text = text_of("a\"b\\c\nd", values, 5);

	check_has(text, "version=\"a_b_c_d\"} 1\n");
	check_has(text, "# TYPE kvd_evil_____1 untyped\nkvd_evil_____1 1\n");
	check_has(text, "kvd_calls_total{procedure=\"x___9_\"} 2\n");
	check_has(text, "kvd_latency_ 3\n");
	check_has(text, "kvd_journal_sync_x_le_5 5\n");
	free(text);
}

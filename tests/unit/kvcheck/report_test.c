/* SPDX-License-Identifier: BSD-3-Clause */
/* What people are shown: lines that are safe on a terminal, a page that is safe in a browser. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "format_call.h"
#include "test.h"
#include "text_report.h"

#define NASTY "<script>alert('&\"')</script>\x1b[31m\xff"

static struct history *history;
static struct checker_report report;
static char *text;

/* A stale read of a key and values that want to break out. */
static void setup(void) {
	struct kv_bytes nasty = {NASTY, sizeof(NASTY) - 1};
	struct history_call call = {.client = 1,
				    .op = HISTORY_PUT,
				    .key = nasty,
				    .value = nasty,
				    .expected = HISTORY_ANY,
				    .version = 1,
				    .call_ns = 1000,
				    .return_ns = 2000};

	history = history_new();
	ck_assert(history_add(history, &call));
	call.version = 2;
	call.call_ns = 3000;
	call.return_ns = 4000;
	ck_assert(history_add(history, &call));
	call = (struct history_call){.client = 2,
				     .op = HISTORY_GET,
				     .key = nasty,
				     .version = 1,
				     .has_got = true,
				     .got = nasty,
				     .call_ns = 5000,
				     .return_ns = 6000};
	ck_assert(history_add(history, &call));
	checker_run(history, NULL, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	text = NULL;
}

static void teardown(void) {
	free(text);
	checker_report_free(&report);
	history_free(history);
}

static void print(bool is_page) {
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(file);
	if (is_page)
		ck_assert(report_html(file, history, &report));
	else
		report_print(file, history, &report);
	ck_assert_int_eq(fclose(file), 0);
}

static size_t count(const char *what) {
	size_t found = 0;

	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		found++;
	return found;
}

CASE(reports, .setup = setup, .teardown = teardown);

TEST(the_lines_tell_the_part_in_printable_characters) {
	print(false);
	ck_assert_str_eq(
	    text, "not linearizable: key "
		  "\"<script>alert('&\\x22')</script>\\x1b[31m\\xff\": version 1 was seen after "
		  "version 2 had been answered\n"
		  "The shortest part that cannot be ordered, 2 calls; before it the key was at "
		  "version 1:\n"
		  "  client 1, 0.000000 to 0.001000 ms: put "
		  "\"<script>alert('&\\x22')</script>\\x1b[31m\\xff\": KV_OK, made version 2\n"
		  "  client 2, 0.002000 to 0.003000 ms: get: KV_OK, version 1, value "
		  "\"<script>alert('&\\x22')</script>\\x1b[31m\\xff\"\n");
}

TEST(the_page_escapes_what_it_shows) {
	print(true);
	ck_assert_uint_eq(count("<script"), 0);
	ck_assert_uint_eq(count("alert('"), 0);
	ck_assert_uint_eq(count("\x1b"), 0);
	ck_assert_uint_ge(count("&lt;script&gt;alert(&#39;&amp;\\x22&#39;)&lt;/script&gt;"), 5);
}

TEST(the_page_needs_nothing_from_elsewhere) {
	print(true);
	ck_assert_uint_eq(count("http:"), 0);
	ck_assert_uint_eq(count("https:"), 0);
	ck_assert_uint_eq(count("<meta http-equiv=\"Content-Security-Policy\" "
				"content=\"default-src 'none'; style-src 'unsafe-inline'\">"),
			  1);
	ck_assert_uint_eq(count("src="), 0);
	ck_assert_uint_eq(count("url("), 0);
	ck_assert_uint_eq(count("@import"), 0);
}

TEST(the_page_has_a_bar_with_words_and_a_row_for_each_call) {
	print(true);
	ck_assert_uint_eq(count("<g class=\"bar "), 2);
	ck_assert_uint_eq(count("</title><rect "), 2);
	ck_assert_uint_eq(count("<tr><td>"), 2);
	ck_assert_uint_eq(count("<svg "), count("</svg>"));
	ck_assert_uint_eq(count("<g "), count("</g>"));
}

TEST(a_large_part_is_shown_up_to_a_limit) {
	size_t *calls = malloc((REPORT_CALLS_MAX + 7) * sizeof(*calls));

	ck_assert_ptr_nonnull(calls);
	for (size_t i = 0; i < REPORT_CALLS_MAX + 7; i++)
		calls[i] = i % 3;
	free(report.calls);
	report.calls = calls;
	report.call_count = REPORT_CALLS_MAX + 7;
	print(true);
	ck_assert_uint_eq(count("<g class=\"bar "), REPORT_CALLS_MAX);
	ck_assert_uint_eq(count("... and 7 more"), 1);
	free(text);
	print(false);
	ck_assert_uint_eq(count("... and 7 more"), 1);
}

TEST(of_long_bytes_both_ends_and_the_size_are_told) {
	char words[DESCRIBE_BYTES_MAX];
	static char many[1000];

	memset(many, 1, sizeof(many));
	describe_bytes((struct kv_bytes){many, sizeof(many)}, words);
	ck_assert_str_eq(words,
			 "\"\\x01\\x01\\x01\\x01\\x01\\x01...\\x01\\x01\\x01\\x01\\x01\\x01\" "
			 "(1000 bytes)");
	memset(many, 'a', sizeof(many));
	many[sizeof(many) - 1] = 'z';
	describe_bytes((struct kv_bytes){many, 48}, words);
	ck_assert_uint_eq(strlen(words), 50);
	describe_bytes((struct kv_bytes){many, sizeof(many)}, words);
	ck_assert_str_eq(words, "\"aaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaz\" "
				"(1000 bytes)");
	describe_bytes((struct kv_bytes){NULL, 0}, words);
	ck_assert_str_eq(words, "\"\"");
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The rate limit of lines for each peer: one in a period, and a table that is full. */
#include <string.h>

#include "log_table.h"
#include "test.h"

enum { START_MS = 5, SETS = LOG_TABLE_MAX / LOG_TABLE_WAYS };

static struct log_table table;
static char more[LOG_LIMIT_TEXT_MAX];

static void empty(void) {
	memset(&table, 0, sizeof(table));
}

static bool allows(uint64_t key, uint64_t now_ms) {
	return log_table_allows(&table, key, now_ms, more);
}

CASE(log_table, .setup = empty);

TEST(each_key_has_a_line_in_a_period_and_then_the_number_of_the_others) {
	for (uint64_t key = 0; key < 3; key++) {
		ck_assert(allows(key + SETS, START_MS) && more[0] == '\0');
		for (unsigned i = 0; i < 7; i++)
			ck_assert(!allows(key + SETS, START_MS + LOG_LIMIT_PERIOD_MS - 1));
	}
	for (uint64_t key = 0; key < 3; key++) {
		ck_assert(allows(key + SETS, START_MS + LOG_LIMIT_PERIOD_MS));
		ck_assert_str_eq(more, " (and 7 more like it)");
		ck_assert(allows(key + SETS, START_MS + 2 * LOG_LIMIT_PERIOD_MS));
		ck_assert_str_eq(more, "");
	}
}

TEST(a_key_of_no_bits_is_a_key) {
	ck_assert(allows(0, START_MS));
	ck_assert(!allows(0, START_MS));
}

TEST(when_the_places_are_taken_the_others_share_a_few_lines) {
	unsigned lines = 0;

	for (uint64_t key = 1; key <= LOG_TABLE_MAX; key++)
		ck_assert(allows(key, START_MS));
	for (uint64_t key = 1; key <= 100; key++)
		lines += allows(LOG_TABLE_MAX + key, START_MS + 1);
	ck_assert_uint_eq(lines, LOG_LIMIT_LINES);
	/* Those that have a place keep it. */
	for (uint64_t key = 1; key <= LOG_TABLE_MAX; key++)
		ck_assert(!allows(key, START_MS + 1));
	ck_assert(allows(LOG_TABLE_MAX + 1, START_MS + 1 + LOG_LIMIT_PERIOD_MS));
}

TEST(the_place_of_the_oldest_line_is_taken_first) {
	for (uint64_t i = 0; i < LOG_TABLE_WAYS; i++)
		ck_assert(allows(1 + i * SETS, START_MS + i));
	ck_assert(allows(1 + LOG_TABLE_WAYS * SETS, START_MS + LOG_LIMIT_PERIOD_MS));
	for (uint64_t i = 1; i < LOG_TABLE_WAYS; i++)
		ck_assert(!allows(1 + i * SETS, START_MS + LOG_LIMIT_PERIOD_MS));
}

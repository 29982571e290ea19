/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers in options. */

#include <string.h>

#include "number.h"
#include "test.h"

static const struct {
	const char *text;
	enum number_kind kind;
	uint64_t number;
} good[] = {
    {"0", NUMBER_COUNT, 0},
    {"007", NUMBER_COUNT, 7},
    {"0x10", NUMBER_COUNT, 16},
    {"0XfF", NUMBER_COUNT, 255},
    {"18446744073709551615", NUMBER_COUNT, UINT64_MAX},
    {"4096", NUMBER_SIZE, 4096},
    {"512k", NUMBER_SIZE, 512 << 10},
    {"1K", NUMBER_SIZE, 1024},
    {"16M", NUMBER_SIZE, 16 << 20},
    {"2G", NUMBER_SIZE, (uint64_t)2 << 30},
    {"10", NUMBER_SECONDS, 10000},
    {"1.5", NUMBER_SECONDS, 1500},
    {".25", NUMBER_SECONDS, 250},
    {"3.", NUMBER_SECONDS, 3000},
    {"0.0001", NUMBER_SECONDS, 1},
    {"1.0000", NUMBER_SECONDS, 1000},
};

LOOP_TEST(a_number_is_read, 0, sizeof(good) / sizeof(good[0])) {
	char error[NUMBER_ERROR_MAX];
	uint64_t number = 4711;

	ck_assert_msg(number_parse(good[_i].text, good[_i].kind, 0, UINT64_MAX, &number, error),
		      "%s: %s", good[_i].text, error);
	ck_assert_uint_eq(number, good[_i].number);
}

static const struct {
	const char *text;
	enum number_kind kind;
	const char *about;
} bad[] = {
    {"", NUMBER_COUNT, "\"\" is not a number"},
    {"x", NUMBER_COUNT, "\"x\" is not a number"},
    {"-1", NUMBER_COUNT, "not a number"},
    {"+1", NUMBER_COUNT, "not a number"},
    {" 1", NUMBER_COUNT, "not a number"},
    {"1 ", NUMBER_COUNT, "not a number"},
    {"1k", NUMBER_COUNT, "not a number"},
    {"0x", NUMBER_COUNT, "not a number"},
    {"1.5", NUMBER_COUNT, "not a number"},
    {"1e3", NUMBER_COUNT, "not a number"},
    {"4", NUMBER_COUNT, "4 is out of range: it must be from 5 to 9000"},
    {"9001", NUMBER_COUNT, "it must be from 5 to 9000"},
    {"18446744073709551616", NUMBER_COUNT, "out of range"},
    {"1MM", NUMBER_SIZE, "such as 4096, 512k, 16M or 2G"},
    {"k", NUMBER_SIZE, "not a size"},
    {"17179869184G", NUMBER_SIZE, "out of range"},
    {"9k", NUMBER_SIZE, "from 5 to 9000 bytes"},
    {".", NUMBER_SECONDS, "not a number of seconds"},
    {"1.2.3", NUMBER_SECONDS, "not a number of seconds"},
    {"0x1", NUMBER_SECONDS, "not a number of seconds"},
    {"9.1", NUMBER_SECONDS, "from 0.005 to 9 seconds"},
};

LOOP_TEST(what_is_no_number_is_refused_with_the_reason, 0, sizeof(bad) / sizeof(bad[0])) {
	char error[NUMBER_ERROR_MAX] = "";
	uint64_t number;

	ck_assert(!number_parse(bad[_i].text, bad[_i].kind, 5, 9000, &number, error));
	ck_assert_msg(strstr(error, bad[_i].about) != NULL, "%s", error);
}

TEST(the_largest_number_is_not_taken_for_a_larger_one) {
	char error[NUMBER_ERROR_MAX];
	uint64_t number;

	ck_assert(
	    !number_parse("18446744073709551616", NUMBER_COUNT, 0, UINT64_MAX, &number, error));
	ck_assert(
	    !number_parse("36893488147419103231", NUMBER_COUNT, 0, UINT64_MAX, &number, error));
}

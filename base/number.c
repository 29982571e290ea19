/* SPDX-License-Identifier: BSD-3-Clause */
#include "number.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { MS_DIGITS = 3, SHOWN_MAX = 40 };

static const char *const syntax[] = {
    [NUMBER_COUNT] = "a number",
    [NUMBER_SIZE] = "a size in bytes (such as 4096, 512k, 16M or 2G)",
    [NUMBER_SECONDS] = "a number of seconds (such as 10 or 0.5)",
};

/* The value of a digit, or `base` if it is none. */
static unsigned digit_value(char digit, unsigned base) {
	unsigned value = base;

	if (digit >= '0' && digit <= '9')
		value = (unsigned)(digit - '0');
	else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
		value = (unsigned)((digit | 0x20) - 'a') + 10;
	return value < base ? value : base;
}

/* Multiplies and adds, up to UINT64_MAX, which stands for all that is larger. */
static uint64_t append_digit(uint64_t number, unsigned base, unsigned digit) {
	uint64_t larger;

	if (__builtin_mul_overflow(number, base, &larger) ||
	    __builtin_add_overflow(larger, digit, &larger))
		return UINT64_MAX;
	return larger;
}

/* Reads digits at `*text` and moves it behind them; false if there are none. */
static bool read_digits(const char **text, unsigned base, uint64_t *number) {
	const char *start = *text;

	for (unsigned digit; (digit = digit_value(**text, base)) < base; (*text)++)
		*number = append_digit(*number, base, digit);
	return *text != start;
}

/* Reads ".5" and the like as thousandths, rounded up, so that a short time is not none. */
static bool read_fraction(const char **text, uint64_t *number) {
	bool has_digits = false;
	bool has_rest = false;
	unsigned digit;

	if (**text == '.')
		(*text)++;
	for (int i = 0; i < MS_DIGITS || digit_value(**text, 10) < 10; i++) {
		digit = digit_value(**text, 10);
		has_digits = has_digits || digit < 10;
		*text += digit < 10;
		if (i < MS_DIGITS)
			*number = append_digit(*number, 10, digit % 10);
		else
			has_rest = has_rest || digit != 0;
	}
	*number = append_digit(*number, 1, has_rest);
	return has_digits;
}

static unsigned unit_shift(char unit) {
	return unit == 'k' || unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;
}

static bool read_number(const char *text, enum number_kind kind, uint64_t *number) {
	bool is_hex = kind != NUMBER_SECONDS && text[0] == '0' && (text[1] | 0x20) == 'x';
	bool has_digits;

	*number = 0;
	text += is_hex ? 2 : 0;
	has_digits = read_digits(&text, is_hex ? 16 : 10, number);
	if (kind == NUMBER_SECONDS)
		has_digits = read_fraction(&text, number) || has_digits;
	if (kind == NUMBER_SIZE && has_digits && unit_shift(*text) != 0) {
		unsigned shift = unit_shift(*text++);

		*number = *number > UINT64_MAX >> shift ? UINT64_MAX : *number << shift;
	}
	return has_digits && *text == '\0';
}

static void format_bound(char *text, size_t size, enum number_kind kind, uint64_t bound) {
	if (kind == NUMBER_SECONDS && bound % 1000 != 0)
		(void)snprintf(text, size, "%" PRIu64 ".%03" PRIu64, bound / 1000, bound % 1000);
	else
		(void)snprintf(text, size, "%" PRIu64,
			       kind == NUMBER_SECONDS ? bound / 1000 : bound);
}

bool number_parse(const char *text, enum number_kind kind, uint64_t min, uint64_t max,
		  uint64_t *number, char error[NUMBER_ERROR_MAX]) {
	char low[24];
	char high[24];

	if (!read_number(text, kind, number)) {
		(void)snprintf(error, NUMBER_ERROR_MAX, "\"%.*s\" is not %s", SHOWN_MAX, text,
			       syntax[kind]);
		return false;
	}
	/* UINT64_MAX may stand for a larger number, so it is accepted as itself only. */
	if (*number >= min && *number <= max &&
	    (*number != UINT64_MAX || strcmp(text, "18446744073709551615") == 0))
		return true;
	format_bound(low, sizeof(low), kind, min);
	format_bound(high, sizeof(high), kind, max);
	(void)snprintf(error, NUMBER_ERROR_MAX, "%.*s is out of range: it must be from %s to %s%s",
		       SHOWN_MAX, text, low, high,
		       kind == NUMBER_SIZE	? " bytes"
		       : kind == NUMBER_SECONDS ? " seconds"
						: "");
	return false;
}

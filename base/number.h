/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NUMBER_H
#define NUMBER_H

/*
 * number.h - parser of the numbers in options: decimal, or hexadecimal after 0x, within a range.
 * Signs, blanks and anything behind the number are refused.
 */

#include <stdbool.h>
#include <stdint.h>

enum { NUMBER_ERROR_MAX = 160 }; /* bytes of an error text, with its NUL */

enum number_kind {
	NUMBER_COUNT,	/* digits only */
	NUMBER_SIZE,	/* bytes: k, M or G may follow, for 1024, 1024^2 and 1024^3 */
	NUMBER_SECONDS, /* to milliseconds, as decimal digits with a point: 1.5 is read as 1500 */
};

/*
 * Reads `text` into `*number`, from `min` to `max` (both in the unit of `*number`: for seconds,
 * milliseconds). Returns false with one line in `error`, which says what is wrong and what is
 * accepted, and does not name the option: "\"7x\" is not a number".
 */
bool number_parse(const char *text, enum number_kind kind, uint64_t min, uint64_t max,
		  uint64_t *number, char error[NUMBER_ERROR_MAX]);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

/*
 * metrics_text.h - the counters of a server as text for Prometheus (its text format 0.0.4): kvd
 * and kvctl make the same of them. A table in metrics_text.c has each counter's metric, its unit
 * and what it is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A counter, as docs/PROTOCOL.md has them. */
struct metrics_value {
	const char *name;
	uint64_t value;
};

/*
 * Writes all of them, one family behind the other. What is not in the table is written, untyped,
 * under its own name; of a name only letters, digits and '_' are taken, because a peer chose it.
 * False: the stream has an error.
 */
bool metrics_text_write(FILE *out, const char *software, const struct metrics_value *values,
			size_t count);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTPUT_H
#define OUTPUT_H

/*
 * output.h - Standard output, which carries data only. Each function writes all, or reports on
 * standard error why it could not, and returns the exit code: CODE_DONE or CODE_REFUSED.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

/*
 * Writes all bytes to a descriptor; waits for one that is set O_NONBLOCK. False with errno set. It
 * is one write(2) if the kernel takes all at once, so that lines of several processes do not mix.
 */
bool output_write(int descriptor, struct kv_bytes bytes);

/*
 * Bytes exactly as they are. On a terminal a newline follows, so that the prompt is readable, and
 * control characters are escaped unless `is_raw`, because a value may come from any client.
 */
int output_value(struct kv_bytes value, bool is_raw);

/* Bytes exactly as they are, on a terminal too. */
int output_bytes(struct kv_bytes bytes);

/* A line, or part of one, formatted as by printf. */
int output_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One JSON object on a line. Takes ownership of `object`; NULL: there was no memory to make it. */
int output_json(json_t *object);

/* The same without the report: false with errno set. For a caller that reports more. */
bool output_try_value(struct kv_bytes value, bool is_raw);
bool output_try_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool output_try_json(json_t *object);

/* Adds bytes as `name`, or as base64 under NAME_base64 if they are not UTF-8. False: no memory. */
bool output_add_bytes(json_t *object, const char *name, struct kv_bytes bytes);

/* Adds a number; above 2^63 - 1, which JSON's readers do not take, as a real. False: no memory. */
bool output_add_number(json_t *object, const char *name, uint64_t number);

#endif

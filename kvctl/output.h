/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTPUT_H
#define OUTPUT_H

/*
 * output.h - standard output, which carries data only. Each function writes all or says on
 * standard error why it could not, and answers the exit code: CODE_DONE or CODE_REFUSED.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

/* Bytes exactly as they are; on a terminal a newline follows, so that the prompt is readable. */
int output_value(struct kv_bytes value);

/* A line, or part of one, in the words of printf. */
int output_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One JSON object on a line. Takes `object`; NULL: there was no memory to make it. */
int output_json(json_t *object);

/* The same, but nothing is said: false with errno set. For whoever has more to say of it. */
bool output_try_value(struct kv_bytes value);
bool output_try_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool output_try_json(json_t *object);

/*
 * Adds bytes as `name`, or as base64 under NAME_base64 if they are not UTF-8. False: no memory.
 */
bool output_add_bytes(json_t *object, const char *name, struct kv_bytes bytes);

/* Adds a number; above 2^63 - 1, which JSON's readers do not take, as a real. */
bool output_add_number(json_t *object, const char *name, uint64_t number);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXAMPLE_H
#define EXAMPLE_H

/*
 * example.h - what the example programs share: they end at the first thing that goes wrong.
 *
 * They find the server by $KV_SERVER, as every program of libkv does, and its RPC program number,
 * if it is not the usual one, by $KV_PROGRAM.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kv/kv.h>

/* One call has this long, retries included. */
#define EXAMPLE_TIMEOUT_MS 30000

static inline void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

/* Ends the program unless `status` is KV_OK; `what` was done to `name`. */
static inline void must(enum kv_status status, const char *what, const char *name) {
	if (status != KV_OK)
		die("%s %s: %s (%s)", what, name, kv_status_text(status), kv_status_name(status));
}

static inline struct kv_bytes bytes_of(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

/* Prints to `text`, of `size` bytes, and returns it. */
static inline struct kv_bytes __attribute__((format(printf, 3, 4)))
print_to(char *text, size_t size, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(text, size, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= size)
		die("too long: %.40s...", text);
	return (struct kv_bytes){text, (size_t)length};
}

/* A number from `least` up, of the whole text. */
static inline unsigned long number(const char *text, unsigned long least) {
	char *end;

	errno = 0;
	unsigned long value = strtoul(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || value < least)
		die("%s: not a number from %lu up", text, least);
	return value;
}

static inline bool holds(const struct kv_value *value, const char *text) {
	return value->size == strlen(text) && memcmp(value->data, text, value->size) == 0;
}

static inline void pause_ms(long ms) {
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* A handle with the examples' options, to be closed with kv_close(). */
static inline struct kv_client *open_client(void) {
	struct kv_options options = {.timeout_ms = EXAMPLE_TIMEOUT_MS};
	const char *program_number = getenv("KV_PROGRAM");
	struct kv_client *client;

	if (program_number != NULL)
		options.program = (unsigned)number(program_number, 1);
	must(kv_open(&options, &client), "open", "a client");
	return client;
}

#endif

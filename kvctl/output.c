/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <errno.h>
#include <nettle/base64.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "escape.h"
#include "signals.h"

bool output_write(int descriptor, struct kv_bytes bytes) {
	const char *at = bytes.data;
	size_t left = bytes.size;

	while (left > 0) {
		ssize_t written = write(descriptor, at, left);
		if (written < 0 && errno == EAGAIN) {
			struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
			(void)poll(&ready, 1, -1);
		} else if (written < 0 && errno != EINTR) {
			return false;
		}
		if (written > 0) {
			at += written;
			left -= (size_t)written;
		}
	}
	return true;
}

static int report(bool is_written) {
	if (is_written)
		return CODE_DONE;
	if (errno == EPIPE)
		signals_default_pipe(); /* as in any pipeline: head(1) has had enough */
	return error_report(CODE_REFUSED, NULL, "cannot write to standard output: %s",
			    strerror(errno));
}

static bool write_escaped(struct kv_bytes value) {
	const char *at = value.data;
	size_t left = value.size;
	char text[4096];

	while (left > 0) {
		size_t taken =
		    escape_bytes((struct kv_bytes){at, left}, ESCAPE_TEXT, text, sizeof(text));
		if (!output_write(STDOUT_FILENO, (struct kv_bytes){text, strlen(text)}))
			return false;
		at += taken;
		left -= taken;
	}
	return true;
}

bool output_try_value(struct kv_bytes value, bool is_raw) {
	if (!isatty(STDOUT_FILENO))
		return output_write(STDOUT_FILENO, value);
	bool is_written = is_raw ? output_write(STDOUT_FILENO, value) : write_escaped(value);
	return is_written && output_write(STDOUT_FILENO, (struct kv_bytes){"\n", 1});
}

int output_value(struct kv_bytes value, bool is_raw) {
	return report(output_try_value(value, is_raw));
}

int output_bytes(struct kv_bytes bytes) {
	return report(output_write(STDOUT_FILENO, bytes));
}

static ERROR_FORMAT(1, 0) bool try_text(const char *format, va_list arguments) {
	char *text = NULL;
	int size = vasprintf(&text, format, arguments);
	if (size < 0) {
		errno = ENOMEM;
		return false;
	}
	bool is_written = output_write(STDOUT_FILENO, (struct kv_bytes){text, (size_t)size});
	int error = errno;
	free(text);
	errno = error;
	return is_written;
}

bool output_try_text(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	bool is_written = try_text(format, arguments);
	va_end(arguments);
	return is_written;
}

int output_text(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	bool is_written = try_text(format, arguments);
	va_end(arguments);
	return report(is_written);
}

bool output_try_json(json_t *object) {
	/* Six digits of a real: microseconds in ping's milliseconds. */
	size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6);
	/* JSON lets U+0080 to U+009F pass, which are control characters to a terminal. */
	if (isatty(STDOUT_FILENO))
		flags |= JSON_ENSURE_ASCII;
	char *text = object != NULL ? json_dumps(object, flags) : NULL;
	json_decref(object);
	if (text == NULL) {
		errno = ENOMEM;
		return false;
	}
	bool is_written = output_try_text("%s\n", text);
	int error = errno;
	free(text);
	errno = error;
	return is_written;
}

int output_json(json_t *object) {
	return report(output_try_json(object));
}

static json_t *encode(struct kv_bytes bytes) {
	size_t size = BASE64_ENCODE_RAW_LENGTH(bytes.size);
	char *text = malloc(size > 0 ? size : 1);
	if (text == NULL)
		return NULL;
	base64_encode_raw(text, bytes.size, bytes.data);
	json_t *string = json_stringn(text, size);
	free(text);
	return string;
}

bool output_add_bytes(json_t *object, const char *name, struct kv_bytes bytes) {
	/* NULL for what is not UTF-8. */
	json_t *string = json_stringn(bytes.size > 0 ? bytes.data : "", bytes.size);
	if (string != NULL)
		return json_object_set_new(object, name, string) == 0;

	char encoded_name[64];
	(void)snprintf(encoded_name, sizeof(encoded_name), "%s_base64", name);
	return json_object_set_new(object, encoded_name, encode(bytes)) == 0;
}

bool output_add_number(json_t *object, const char *name, uint64_t number) {
	json_t *value =
	    number <= INT64_MAX ? json_integer((json_int_t)number) : json_real((double)number);
	return json_object_set_new(object, name, value) == 0;
}

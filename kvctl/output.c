/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <errno.h>
#include <nettle/base64.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"

/* Flushed at once: an error of the disk or pipe is known while there is somebody to tell. */
static bool finish(bool is_written) {
	return is_written && fflush(stdout) == 0;
}

static int tell(bool is_written) {
	if (is_written)
		return CODE_DONE;
	return error_report(CODE_REFUSED, NULL, "cannot write to standard output: %s",
			    strerror(errno));
}

bool output_try_value(struct kv_bytes value) {
	bool is_written =
	    value.size == 0 || fwrite(value.data, 1, value.size, stdout) == value.size;
	if (is_written && isatty(STDOUT_FILENO))
		is_written = fputc('\n', stdout) != EOF;
	return finish(is_written);
}

int output_value(struct kv_bytes value) {
	return tell(output_try_value(value));
}

static FAILURE_FORMAT(1, 0) bool try_text(const char *format, va_list arguments) {
	return finish(vfprintf(stdout, format, arguments) >= 0);
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
	return tell(is_written);
}

bool output_try_json(json_t *object) {
	/* Six digits of a real: microseconds in ping's milliseconds. */
	size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6);
	char *text = object != NULL ? json_dumps(object, flags) : NULL;
	json_decref(object);
	if (text == NULL) {
		errno = ENOMEM;
		return false;
	}
	bool is_written = finish(fputs(text, stdout) >= 0 && fputc('\n', stdout) != EOF);
	int error = errno;
	free(text);
	errno = error;
	return is_written;
}

int output_json(json_t *object) {
	return tell(output_try_json(object));
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

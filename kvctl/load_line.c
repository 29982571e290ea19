/* SPDX-License-Identifier: BSD-3-Clause */
#include "load_line.h"

#include <jansson.h>
#include <nettle/base64.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t ttl_max_ms = 10ull * 365 * 24 * 3600 * 1000;

static bool fail(char error[LOAD_ERROR_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool fail(char error[LOAD_ERROR_MAX], const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(error, LOAD_ERROR_MAX, format, arguments);
	va_end(arguments);
	return false;
}

/* Appends what the base64 text stands for to the entry's memory. */
static bool decode(const char *name, const json_t *text, char *to, size_t *size, char *error) {
	struct base64_decode_ctx context;
	const char *from = json_string_value(text);

	base64_decode_init(&context);
	*size = BASE64_DECODE_LENGTH(json_string_length(text));
	if (base64_decode_update(&context, size, (uint8_t *)to, json_string_length(text), from) !=
		1 ||
	    base64_decode_final(&context) != 1)
		return fail(error, "\"%s_base64\" is not base64", name);
	return true;
}

/* The member NAME, or NAME_base64. NULL, with an error: it is missing, twice there, or no string.
 */
static const json_t *find(const json_t *object, const char *name, bool *is_base64, char *error) {
	char encoded_name[32];
	(void)snprintf(encoded_name, sizeof(encoded_name), "%s_base64", name);
	const json_t *plain = json_object_get(object, name);
	const json_t *encoded = json_object_get(object, encoded_name);

	*is_base64 = plain == NULL;
	if (plain == NULL && encoded == NULL)
		(void)fail(error, "there is no \"%s\" and no \"%s\"", name, encoded_name);
	else if (plain != NULL && encoded != NULL)
		(void)fail(error, "\"%s\" and \"%s\" exclude each other", name, encoded_name);
	else if (!json_is_string(plain != NULL ? plain : encoded))
		(void)fail(error, "\"%s\" is not a string", plain != NULL ? name : encoded_name);
	else
		return plain != NULL ? plain : encoded;
	return NULL;
}

static bool read_bytes(const json_t *object, const char *name, char *to, struct kv_bytes *bytes,
		       char *error) {
	bool is_base64 = false;
	const json_t *member = find(object, name, &is_base64, error);
	size_t size;

	if (member == NULL)
		return false;
	size = json_string_length(member);
	if (is_base64 && !decode(name, member, to, &size, error))
		return false;
	if (!is_base64)
		memcpy(to, json_string_value(member), size);
	*bytes = (struct kv_bytes){to, size};
	return true;
}

static bool read_ttl(const json_t *object, uint64_t *ttl_ms, char *error) {
	const json_t *ttl = json_object_get(object, "ttl_ms");

	if (ttl == NULL)
		return true;
	if (!json_is_integer(ttl) || json_integer_value(ttl) < 1 ||
	    (uint64_t)json_integer_value(ttl) > ttl_max_ms)
		return fail(error, "\"ttl_ms\" is not a number from 1 to %llu (ten years)",
			    (unsigned long long)ttl_max_ms);
	*ttl_ms = (uint64_t)json_integer_value(ttl);
	return true;
}

static bool check_sizes(const struct load_entry *entry, char *error) {
	if (entry->key.size == 0 || entry->key.size > KV_KEY_MAX)
		return fail(error, "the key has %zu bytes: a key has 1 to %d", entry->key.size,
			    KV_KEY_MAX);
	if (entry->value.size > KV_VALUE_MAX)
		return fail(error, "the value has %zu bytes: a value has at most %d (16 MiB)",
			    entry->value.size, KV_VALUE_MAX);
	return true;
}

bool load_line_parse(struct kv_bytes line, struct load_entry *entry, char error[LOAD_ERROR_MAX]) {
	json_error_t wrong;
	json_t *object =
	    json_loadb(line.data, line.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &wrong);
	bool is_right = false;

	/* A decoded string is never longer than its text, and a key and a value are two of them. */
	*entry = (struct load_entry){.memory = malloc(line.size + 2)};
	if (entry->memory == NULL)
		(void)fail(error, "no memory");
	else if (object == NULL && wrong.position >= (int)line.size)
		(void)fail(error, "the JSON is cut short (%s)", wrong.text);
	else if (object == NULL)
		(void)fail(error, "no JSON at byte %d: %s", wrong.position, wrong.text);
	else if (!json_is_object(object))
		(void)fail(error, "not a JSON object");
	else
		is_right = read_bytes(object, "key", entry->memory, &entry->key, error) &&
			   read_bytes(object, "value", entry->memory + entry->key.size,
				      &entry->value, error) &&
			   read_ttl(object, &entry->ttl_ms, error) && check_sizes(entry, error);
	json_decref(object);
	if (!is_right) {
		free(entry->memory);
		*entry = (struct load_entry){.memory = NULL};
	}
	return is_right;
}

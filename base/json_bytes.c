/* SPDX-License-Identifier: BSD-3-Clause */
#include "json_bytes.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
	NAME_SIZE = 32,	  /* the name, its suffix, quotes and colon */
	ESCAPED_SIZE = 6, /* \u001f */
	BASE64_LINE_MARGIN = 4,
};

/* The length of the character at `at`, 0 if it is none. RFC 3629, 4. */
static size_t character(const uint8_t *at, size_t left) {
	uint8_t least = 0x80;
	uint8_t most = 0xbf;
	size_t size;

	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		size = 2;
	else if (at[0] >= 0xe0 && at[0] <= 0xef)
		size = 3;
	else if (at[0] >= 0xf0 && at[0] <= 0xf4)
		size = 4;
	else
		return 0;
	if (size > left)
		return 0;
	if (at[0] == 0xe0)
		least = 0xa0;
	else if (at[0] == 0xf0)
		least = 0x90;
	else if (at[0] == 0xed)
		most = 0x9f;
	else if (at[0] == 0xf4)
		most = 0x8f;
	if (at[1] < least || at[1] > most)
		return 0;
	for (size_t i = 2; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

bool json_bytes_are_text(struct kv_bytes bytes) {
	const uint8_t *data = bytes.data;

	for (size_t at = 0; at < bytes.size;) {
		size_t size = character(data + at, bytes.size - at);
		if (size == 0)
			return false;
		at += size;
	}
	return true;
}

size_t json_bytes_size(struct kv_bytes bytes) {
	return NAME_SIZE + bytes.size * ESCAPED_SIZE + BASE64_LINE_MARGIN;
}

static char *put_text(char *to, struct kv_bytes bytes) {
	static const char digits[] = "0123456789abcdef";
	const uint8_t *data = bytes.data;

	for (size_t i = 0; i < bytes.size; i++) {
		if (data[i] >= 0x20 && data[i] != '"' && data[i] != '\\' && data[i] != 0x7f) {
			*to++ = (char)data[i];
			continue;
		}
		*to++ = '\\';
		if (data[i] == '"' || data[i] == '\\') {
			*to++ = (char)data[i];
		} else if (data[i] == '\n') {
			*to++ = 'n';
		} else if (data[i] == '\t') {
			*to++ = 't';
		} else {
			memcpy(to, "u00", 3);
			to[3] = digits[data[i] >> 4];
			to[4] = digits[data[i] & 15];
			to += 5;
		}
	}
	return to;
}

static char *put_base64(char *to, struct kv_bytes bytes) {
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *data = bytes.data;

	for (size_t i = 0; i < bytes.size; i += 3) {
		size_t left = bytes.size - i;
		uint32_t bits = (uint32_t)data[i] << 16;

		if (left > 1)
			bits |= (uint32_t)data[i + 1] << 8;
		if (left > 2)
			bits |= data[i + 2];
		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[bits & 63] : '=';
	}
	return to;
}

char *json_bytes_put(char *to, const char *name, struct kv_bytes bytes) {
	bool is_text = json_bytes_are_text(bytes);

	to += sprintf(to, "\"%s%s\":\"", name, is_text ? "" : "_base64");
	to = is_text ? put_text(to, bytes) : put_base64(to, bytes);
	*to++ = '"';
	return to;
}

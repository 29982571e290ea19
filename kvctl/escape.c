/* SPDX-License-Identifier: BSD-3-Clause */
#include "escape.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

static bool is_kept(enum escape_style style, wchar_t character) {
	if (character == L'\\')
		return style != ESCAPE_WORD;
	if (character == L'\n' || character == L'\t')
		return style == ESCAPE_TEXT;
	return iswprint((wint_t)character) != 0;
}

size_t escape_bytes(struct kv_bytes from, enum escape_style style, char *to, size_t size) {
	const char *at = from.data;
	size_t left = from.size;
	char *last = to + size - ESCAPE_SIZE_MIN;
	mbstate_t state;
	memset(&state, 0, sizeof(state));

	while (left > 0 && to <= last) {
		wchar_t character = 0;
		size_t length = mbrtowc(&character, at, left, &state);
		if (length != 0 && length <= left && is_kept(style, character)) {
			memcpy(to, at, length);
			to += length;
		} else {
			memset(&state, 0, sizeof(state));
			length = 1;
			to += sprintf(to, "\\x%02x", (unsigned)(unsigned char)*at);
		}
		at += length;
		left -= length;
	}
	*to = '\0';
	return from.size - left;
}

void escape_word(struct kv_bytes from, char to[ESCAPE_WORD_SIZE]) {
	if (escape_bytes(from, ESCAPE_WORD, to, ESCAPE_WORD_SIZE - sizeof("...")) < from.size)
		strcat(to, "...");
}

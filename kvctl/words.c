/* SPDX-License-Identifier: BSD-3-Clause */
#include "words.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char no_memory[] = "no memory";

/* The bytes of a line, one after the other. */
struct cursor {
	const char *at;
	const char *end;
	char *to; /* where the next byte of a word goes: never behind `at` */
};

static bool is_blank(char c) {
	return c == ' ' || c == '\t' || c == '\r';
}

static int digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The two digits behind \x. */
static const char *take_byte(struct cursor *cursor) {
	int high = cursor->end - cursor->at >= 2 ? digit(cursor->at[0]) : -1;
	int low = high >= 0 ? digit(cursor->at[1]) : -1;

	if (low < 0)
		return "\\x needs two hexadecimal digits";
	if (high == 0 && low == 0)
		return "a word cannot hold a NUL byte (a value with one comes from @FILE)";
	cursor->at += 2;
	*cursor->to++ = (char)(high * 16 + low);
	return NULL;
}

/* What is behind a backslash. */
static const char *take_escape(struct cursor *cursor) {
	static const char from[] = "ntr\\\"' #";
	static const char to[] = "\n\t\r\\\"' #";
	const char *found;
	char c;

	if (cursor->at == cursor->end)
		return "a backslash ends the line";
	c = *cursor->at++;
	if (c == 'x')
		return take_byte(cursor);
	found = strchr(from, c);
	if (found == NULL)
		return "an unknown escape: there are \\n \\t \\r \\\\ \\\" \\' \\# \\xNN, and one "
		       "for "
		       "a space";
	*cursor->to++ = to[found - from];
	return NULL;
}

/* What is behind an opening quote, and the closing one. */
static const char *take_quoted(struct cursor *cursor, char quote) {
	const char *error = NULL;

	while (error == NULL && cursor->at < cursor->end) {
		char c = *cursor->at++;

		if (c == quote)
			return NULL;
		if (c == '\\' && quote == '"')
			error = take_escape(cursor);
		else
			*cursor->to++ = c;
	}
	return error != NULL ? error : "a quote is not closed";
}

static const char *take_word(struct cursor *cursor) {
	const char *error = NULL;

	while (error == NULL && cursor->at < cursor->end && !is_blank(*cursor->at)) {
		char c = *cursor->at++;

		if (c == '\'' || c == '"')
			error = take_quoted(cursor, c);
		else if (c == '\\')
			error = take_escape(cursor);
		else
			*cursor->to++ = c;
	}
	return error;
}

/* Room for one more word and the NULL. */
static bool make_room(struct words *words) {
	size_t capacity = words->capacity * 2 + 16;
	char **larger;

	if ((size_t)words->count + 1 < words->capacity)
		return true;
	larger =
	    words->count < INT_MAX / 4 ? realloc(words->word, capacity * sizeof(*larger)) : NULL;
	if (larger == NULL)
		return false;
	words->word = larger;
	words->capacity = capacity;
	return true;
}

/* The text gets room for each word with a NUL behind it: one more byte than the line. */
static bool begin(struct words *words, struct kv_bytes line) {
	words->count = 0;
	if (words->text_capacity < line.size + 1) {
		char *larger = realloc(words->text, line.size + 1);

		if (larger == NULL)
			return false;
		words->text = larger;
		words->text_capacity = line.size + 1;
	}
	return true;
}

const char *words_split(struct words *words, struct kv_bytes line) {
	struct cursor cursor = {.at = line.data};
	const char *error = NULL;

	if (line.size > 0 && memchr(line.data, '\0', line.size) != NULL)
		return "the line has a NUL byte (a value with one comes from @FILE)";
	if (!begin(words, line))
		return no_memory;
	cursor.end = cursor.at + line.size;
	cursor.to = words->text;
	while (error == NULL) {
		while (cursor.at < cursor.end && is_blank(*cursor.at))
			cursor.at++;
		if (cursor.at == cursor.end || (words->count == 0 && *cursor.at == '#'))
			break;
		if (!make_room(words))
			return no_memory;
		words->word[words->count] = cursor.to;
		error = take_word(&cursor);
		*cursor.to++ = '\0';
		words->word[++words->count] = NULL;
	}
	return error;
}

void words_quote(struct kv_bytes word, char *to, size_t size) {
	const unsigned char *from = word.data;
	size_t used = 0;

	to[0] = '\0';
	for (size_t i = 0; i < word.size && used + 5 <= size; i++) {
		unsigned char c = from[i];
		if (c < ' ' || c == 0x7f) {
			used += (size_t)snprintf(to + used, size - used, "\\x%02x", c);
			continue;
		}
		if (strchr(" \\\"'#", c) != NULL)
			to[used++] = '\\';
		to[used++] = (char)c;
		to[used] = '\0';
	}
}

void words_free(struct words *words) {
	free(words->word);
	free(words->text);
	*words = (struct words){.count = 0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "format_call.h"

#include <stdio.h>
#include <string.h>

enum {
	SHOWN_MAX = 48, /* characters of the bytes */
	END_MAX = 40,	/* the quotes, "..." and " (16777216 bytes)" */
};
_Static_assert(SHOWN_MAX + END_MAX <= DESCRIBE_BYTES_MAX, "a description fits");

typedef unsigned long long number;

/* One byte as it is shown; answers its width. */
static size_t put_byte(unsigned char byte, char text[5]) {
	if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
		text[0] = (char)byte;
		text[1] = '\0';
		return 1;
	}
	return (size_t)snprintf(text, 5, "\\x%02x", byte);
}

/* How many of the bytes, from the front or from the back, take at most `width_max`. */
static size_t count_shown(struct kv_bytes bytes, bool is_back, size_t width_max) {
	const unsigned char *data = bytes.data;
	size_t width = 0;
	char text[5];

	for (size_t i = 0; i < bytes.size; i++) {
		width += put_byte(data[is_back ? bytes.size - 1 - i : i], text);
		if (width > width_max)
			return i;
	}
	return bytes.size;
}

static char *put_bytes(char *to, const unsigned char *data, size_t size) {
	for (size_t i = 0; i < size; i++)
		to += put_byte(data[i], to);
	return to;
}

void describe_bytes(struct kv_bytes bytes, char text[DESCRIBE_BYTES_MAX]) {
	const unsigned char *data = bytes.data;
	size_t front = count_shown(bytes, false, SHOWN_MAX);
	char *to = text;

	*to++ = '"';
	if (front == bytes.size) {
		to = put_bytes(to, data, bytes.size);
		(void)snprintf(to, END_MAX, "\"");
		return;
	}
	front = count_shown(bytes, false, SHOWN_MAX / 2);
	size_t back = count_shown(bytes, true, SHOWN_MAX / 2);
	to = put_bytes(to, data, front);
	to = put_bytes(stpcpy(to, "..."), data + bytes.size - back, back);
	(void)snprintf(to, END_MAX, "\" (%zu bytes)", bytes.size);
}

void describe_text(const char *from, char *text, size_t size) {
	char *to = text;

	*to = '\0';
	for (; *from != '\0' && (size_t)(to - text) + 5 <= size; from++) {
		if (*from == '"' || *from == '\\') {
			*to++ = *from;
			*to = '\0';
		} else {
			to += put_byte((unsigned char)*from, to);
		}
	}
}

void describe_call(const struct history_call *call, char text[DESCRIBE_CALL_MAX]) {
	char value[DESCRIBE_BYTES_MAX + 1] = "";
	char test[16] = "";
	char expected[48] = "";
	char ttl[48] = "";

	if (history_has_value(call)) {
		value[0] = ' ';
		describe_bytes(call->value, value + 1);
	}
	if (call->op == HISTORY_CHECK)
		(void)snprintf(test, sizeof(test), " %s", history_test_name(call->test));
	if (call->op == HISTORY_HOLD)
		(void)snprintf(expected, sizeof(expected), " the lock with token %llu",
			       (number)call->expected);
	else if (call->op == HISTORY_CHECK && call->test == HISTORY_AT)
		(void)snprintf(expected, sizeof(expected), " %llu", (number)call->expected);
	else if (history_is_write(call->op) && call->expected == 0)
		(void)snprintf(expected, sizeof(expected), " if there is none");
	else if (history_is_write(call->op) && call->expected != HISTORY_ANY)
		(void)snprintf(expected, sizeof(expected), " at version %llu",
			       (number)call->expected);
	if (call->ttl_ms != 0)
		(void)snprintf(ttl, sizeof(ttl), " for %llu ms", (number)call->ttl_ms);
	(void)snprintf(text, DESCRIBE_CALL_MAX, "%s%s%s%s%s", history_op_name(call->op), test,
		       value, expected, ttl);
}

static const char *name_of_version(enum history_op op) {
	switch (op) {
	case HISTORY_PUT:
	case HISTORY_APPEND:
		return "made version";
	case HISTORY_DELETE:
		return "spent version";
	case HISTORY_GET:
	case HISTORY_TOUCH:
	case HISTORY_CHECK:
	case HISTORY_HOLD:
		break;
	}
	return "version";
}

static void describe_ok(const struct history_call *call, char text[DESCRIBE_CALL_MAX]) {
	char got[DESCRIBE_BYTES_MAX] = "";
	char version[48] = "";

	if (call->has_got)
		describe_bytes(call->got, got);
	if (call->version != 0)
		(void)snprintf(version, sizeof(version), ", %s %llu", name_of_version(call->op),
			       (number)call->version);
	(void)snprintf(text, DESCRIBE_CALL_MAX, "KV_OK%s%s%s", version,
		       !call->has_got		 ? ""
		       : call->op == HISTORY_GET ? ", value "
						 : ", the old value was ",
		       got);
}

void describe_answer(const struct history_call *call, char text[DESCRIBE_CALL_MAX]) {
	if (call->op == HISTORY_HOLD)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s",
			       call->return_ns == HISTORY_OPEN ? "it is not known until when"
							       : "until then");
	else if (call->return_ns == HISTORY_OPEN)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "no answer");
	else if (call->status == KV_OK)
		describe_ok(call, text);
	else if ((call->status == KV_VERSION || call->status == KV_UNMET) && call->version != 0)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s, at version %llu",
			       kv_status_name(call->status), (number)call->version);
	else
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s", kv_status_name(call->status));
}

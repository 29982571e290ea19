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

void describe_call(const struct history_call *call, char text[DESCRIBE_CALL_MAX]) {
	const char *op = history_op_name(call->op);
	char value[DESCRIBE_BYTES_MAX];

	if (call->op == HISTORY_GET) {
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s", op);
		return;
	}
	describe_bytes(call->value, value);
	if (call->expected == HISTORY_ANY)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s %s", op, value);
	else if (call->expected == 0)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s %s if there is none", op, value);
	else
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s %s at version %llu", op, value,
			       (number)call->expected);
}

static void describe_ok(const struct history_call *call, char text[DESCRIBE_CALL_MAX]) {
	char got[DESCRIBE_BYTES_MAX] = "";
	char version[48] = "";

	if (call->has_got)
		describe_bytes(call->got, got);
	if (call->version != 0)
		(void)snprintf(version, sizeof(version), ", %sversion %llu",
			       call->op == HISTORY_GET ? "" : "made ", (number)call->version);
	(void)snprintf(text, DESCRIBE_CALL_MAX, "KV_OK%s%s%s", version,
		       !call->has_got		 ? ""
		       : call->op == HISTORY_GET ? ", value "
						 : ", the old value was ",
		       got);
}

void describe_answer(const struct history_call *call, char text[DESCRIBE_CALL_MAX]) {
	if (call->return_ns == HISTORY_OPEN)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "no answer");
	else if (call->status == KV_OK)
		describe_ok(call, text);
	else if (call->status == KV_VERSION && call->version != 0)
		(void)snprintf(text, DESCRIBE_CALL_MAX, "KV_VERSION, at version %llu",
			       (number)call->version);
	else
		(void)snprintf(text, DESCRIBE_CALL_MAX, "%s", kv_status_name(call->status));
}

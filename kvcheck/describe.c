/* SPDX-License-Identifier: BSD-3-Clause */
#include "describe.h"

#include <stdio.h>
#include <string.h>

enum {
	SHOWN_MAX = 48, /* characters of the bytes */
	END_MAX = 40,	/* "... (16777216 bytes)" and the quotes */
};
_Static_assert(SHOWN_MAX + END_MAX <= DESCRIBE_BYTES_MAX, "a description fits");

typedef unsigned long long number;

void describe_bytes(struct kv_bytes bytes, char text[DESCRIBE_BYTES_MAX]) {
	const unsigned char *data = bytes.data;
	size_t at = 0;
	size_t i;

	text[at++] = '"';
	for (i = 0; i < bytes.size && at < SHOWN_MAX - 4; i++) {
		if (data[i] >= 0x20 && data[i] < 0x7f && data[i] != '"' && data[i] != '\\')
			text[at++] = (char)data[i];
		else
			at += (size_t)snprintf(text + at, 5, "\\x%02x", data[i]);
	}
	if (i == bytes.size)
		(void)snprintf(text + at, END_MAX, "\"");
	else
		(void)snprintf(text + at, END_MAX, "...\" (%zu bytes)", bytes.size);
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

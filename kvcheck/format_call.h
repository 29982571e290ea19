/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FORMAT_CALL_H
#define FORMAT_CALL_H

/* format_call.h - a call as text that is safe on a terminal. */

#include "history.h"

enum {
	DESCRIBE_BYTES_MAX = 100,
	DESCRIBE_CALL_MAX = 400,
};

/*
 * Bytes in quotes: printable ASCII as it is, the rest as \xNN; of long ones the beginning, "...",
 * the end, where Appends show, and the size.
 */
void describe_bytes(struct kv_bytes bytes, char text[DESCRIBE_BYTES_MAX]);

/* Text of others, such as a path: printable ASCII as it is, the rest as \xNN; cut to fit. */
void describe_text(const char *from, char *text, size_t size);

/* "put \"v\" at version 3": what was called, without the key. */
void describe_call(const struct history_call *call, char text[DESCRIBE_CALL_MAX]);

/* "KV_OK, made version 4": what came of it. */
void describe_answer(const struct history_call *call, char text[DESCRIBE_CALL_MAX]);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEXT_BYTES_H
#define TEXT_BYTES_H

/* text_bytes.h - a C string as kv_bytes, without its zero byte; the string stays the caller's. */

#include <string.h>

#include <kv/bytes.h>

static inline struct kv_bytes bytes(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

#endif

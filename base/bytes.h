/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_BYTES_H
#define KV_BYTES_H

/* kv/bytes.h - bytes that belong to somebody else. */

#include <stddef.h>

/* `data` may be NULL if `size` is 0. Borrowed: whoever is given one copies what it keeps. */
struct kv_bytes {
	const void *data;
	size_t size;
};

#endif

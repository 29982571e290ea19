/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_BYTES_H
#define KV_BYTES_H

/* kv/bytes.h - a borrowed range of bytes: a key or a value that is passed to a function. */

#include <stddef.h>

/* `data` may be NULL if `size` is 0. Borrowed: a function that is given one copies what it keeps.
 */
struct kv_bytes {
	const void *data;
	size_t size;
};

/* The bytes of a string literal, without its NUL: kv_get(client, KV_STR("greeting"), &value). */
#ifdef __cplusplus
#define KV_STR(literal) (kv_bytes{"" literal, sizeof(literal) - 1})
#else
#define KV_STR(literal) ((struct kv_bytes){"" literal, sizeof(literal) - 1})
#endif

#endif

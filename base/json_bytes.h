/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JSON_BYTES_H
#define JSON_BYTES_H

/*
 * json_bytes.h - bytes as a member of a JSON object (RFC 8259): "NAME":"text" if they are UTF-8,
 * else "NAME_base64":"..." (RFC 4648, 4), as `kvctl -o json` has them.
 */

#include <stdbool.h>

#include "bytes.h"

/* Whether the bytes are UTF-8 (RFC 3629: no surrogates, nothing longer than it must be). */
bool json_bytes_are_text(struct kv_bytes bytes);

/* At most so many bytes does json_bytes_put() write for a name of up to 16. */
size_t json_bytes_size(struct kv_bytes bytes);

/* Writes the member and returns where it ends; no NUL. `name` is plain ASCII. */
char *json_bytes_put(char *to, const char *name, struct kv_bytes bytes);

#endif

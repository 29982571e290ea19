/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ENCODE_CALL_H
#define ENCODE_CALL_H

/* encode_call.h - calls as they are on a stream. */

#include <stddef.h>
#include <stdint.h>

#include <rpc/rpc.h>

enum { MARK = 4 }; /* bytes before each record: RFC 5531, 11 */

/* A call with its mark, to be freed. */
char *encode_call(uint32_t procedure, xdrproc_t encode, void *arguments, size_t *size);

/* A Put that creates the key "k". */
char *encode_put(uint32_t value_size, size_t *size);

#endif

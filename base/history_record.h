/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_CALL_H
#define HISTORY_CALL_H

/*
 * history_call.h - one call as a history tells of it: who called what, when, and what the answer
 * was; and the line that it is in a file.
 *
 * A history is a file of JSON objects, one a line, in any order:
 *
 *	{"client":1,"op":"put","key":"k","value":"v","expected":3,"status":"KV_OK","version":4,
 *	 "call":1000,"return":2000}
 *
 * "client" is any number; with "call" it tells one call from another. "op" is "get", "put" or
 * "append". "key" and "value" are what was sent; of a Get, "value" is what was got. Bytes that are
 * not UTF-8 are base64, under the names key_base64, value_base64 and old_base64. "expected" is left
 * out of a write that takes any version. "status" is KV_OK, KV_NOKEY and so on. "version" is with
 * KV_OK of a write the new one, of a Get that of the value, with KV_VERSION the current one; else
 * it is left out. "old" is there if an Append was answered KV_OK and the old value was asked for.
 * "call" and "return" are nanoseconds on one clock. Without "return", and then without "status",
 * the call is open: it was never answered. It has no other members.
 *
 * A line with the client and call of an open one that stands before it completes that one. So a
 * client that writes the open line before it sends, and the whole one after the answer, may be
 * killed at any moment.
 */

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "status.h"

enum history_op { HISTORY_GET, HISTORY_PUT, HISTORY_APPEND };

#define HISTORY_ANY UINT64_MAX	/* as `expected`: KV_ANY */
#define HISTORY_OPEN UINT64_MAX /* as `return_ns`: the call never returned */

struct history_call {
	uint64_t client;
	enum history_op op;
	struct kv_bytes key;
	struct kv_bytes value; /* of a write: what was sent */
	uint64_t expected;     /* of a write; HISTORY_ANY if it does not matter */
	enum kv_status status; /* what the caller was told; of an open call, nothing: any will do */
	uint64_t version;      /* as "version" above; 0: not told */
	bool has_got;	       /* `got` was told: false leaves the value out of the check */
	struct kv_bytes got;   /* of a Get: the value; of an Append: the old value */
	uint64_t call_ns;      /* before it was sent */
	uint64_t return_ns;    /* after the answer came; HISTORY_OPEN */
};

/* What an answer says of the store. */
enum history_outcome {
	HISTORY_DEFINITE, /* it took effect, or saw what it tells of, between its call and return */
	HISTORY_INDETERMINATE,	  /* it may take effect at any time after its call, or never */
	HISTORY_NO_EFFECT,  /* it changed nothing and tells nothing */
};

/*
 * Of every status, and of open calls: KV_OK, KV_NOKEY and KV_VERSION are answers; KV_MAYBE, open
 * and what libkv never returns (KV_STALE, KV_FALSE_RETRY, KV_EPOCH) leave a write open; with any
 * other a write did not happen (kv/kv.h). A Get that is not answered tells nothing.
 */
enum history_outcome history_outcome(const struct history_call *call);

/* "get", "put", "append". */
const char *history_op_name(enum history_op op);

/*
 * The call as one line with its newline in fresh memory, to be freed with free(); *size is its
 * length. NULL: no memory.
 */
char *history_line(const struct history_call *call, size_t *size);

#endif

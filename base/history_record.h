/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_RECORD_H
#define HISTORY_RECORD_H

/*
 * history_record.h - one call of a history: client, operation, times and reply; and its line in a
 * file.
 *
 * A history is a file of JSON objects, one a line, in any order:
 *
 *	{"client":1,"op":"put","key":"k","value":"v","expected":3,"status":"KV_OK","version":4,
 *	 "call":1000,"return":2000}
 *
 * "client" is any number; with "call" it tells one call from another. "op" is "get", "put",
 * "append", "delete", "touch", "check" or "hold". "key" and "value" are what was sent; of a Get,
 *"value" is what was got. Bytes that are not UTF-8 are base64, under the names key_base64,
 *value_base64 and old_base64. "expected" is left out of a write that takes any version. "ttl" is
 *that of a put (left out: none) or touch, in milliseconds. "status" is KV_OK, KV_NOKEY and so on.
 *"version" is with KV_OK of a write the new one (of a delete the one that it spent, of a touch that
 *of the key), of a Get that of the value, with KV_VERSION the current one; else it is left out.
 *"old" is there if an Append was answered KV_OK and the old value was asked for. "call" and
 *"return" are nanoseconds of one clock; "boot" is a number for that clock, another one after the
 *machine was booted again, or 0 or left out if it is not known. Without "return", and then without
 *"status", the call is open: no reply came. There are no other members but those of transactions:
 *
 *	{"client":1,"op":"check","part":1,"test":"at","key":"l","expected":7,"status":"KV_OK", ...}
 *	{"client":1,"op":"put","part":2,"key":"k","value":"v","position":12,"status":"KV_OK", ...}
 *
 * A transaction is one call of several lines, a "part" each, numbered from 1: its conditions, which
 * are of "op" "check" and have a "test" ("at" with "expected", "exists", "holds" and "free" with
 * "value"), and its changes. A change of a key that a condition is "at" has that as "expected",
 *too. "position" is the number of the operation, the same in each part. Of one that was refused the
 * part that refused it has KV_UNMET with the version of its key, or KV_NOKEY if that is missing,
 *and the other parts have KV_UNMET alone.
 *
 * What a client believed, and did not ask for, is a line as well:
 *
 *	{"client":1,"op":"hold","key":"l","expected":7,"status":"KV_OK","call":3000,"return":9000}
 *
 * From "call" to "return" the client counted on holding the lock "l" with the token "expected";
 *without "return", and then without "status", it is not known for how long.
 *
 * Lines with the same client and call are the same call: a line with "return" completes one
 * without. So a client that writes the open line before it sends, and the complete one after the
 * reply, may be killed at any moment, and a line that is there twice counts once.
 */

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "status.h"

enum history_op {
	HISTORY_GET,
	HISTORY_PUT,
	HISTORY_APPEND,
	HISTORY_DELETE,
	HISTORY_TOUCH,
	HISTORY_CHECK, /* a condition of a transaction */
	HISTORY_HOLD,  /* no call: the client counted on holding a lock */
};

/* Of a condition; as enum kv_test. */
enum history_test { HISTORY_AT, HISTORY_EXISTS, HISTORY_HOLDS, HISTORY_FREE };

/* The parts of a transaction, at most. */
enum { HISTORY_PARTS_MAX = 80 };

#define HISTORY_ANY UINT64_MAX	/* as `expected`: KV_ANY */
#define HISTORY_OPEN UINT64_MAX /* as `return_ns`: the call never returned */

struct history_call {
	uint64_t client;
	uint64_t boot; /* which clock the times are of; 0: not known */
	enum history_op op;
	unsigned part;		/* of a transaction, from 1; 0: it is none */
	enum history_test test; /* of a check */
	struct kv_bytes key;
	struct kv_bytes
	    value;	   /* of a put, an append, a check that holds or is free: what was sent */
	uint64_t expected; /* of a write or check; HISTORY_ANY if it does not matter */
	uint64_t ttl_ms;   /* of a put or touch; 0: none */
	uint64_t position; /* of a transaction that was done; 0: not known */
	enum kv_status status; /* that the caller got; of an open call, nothing: any will do */
	uint64_t version;      /* as "version" above; 0: not known */
	bool has_got;	       /* `got` is known: false leaves the value out of the check */
	struct kv_bytes got;   /* of a Get: the value; of an Append: the old value */
	uint64_t call_ns;      /* before it was sent */
	uint64_t return_ns;    /* after the answer came; HISTORY_OPEN */
};

/* What a reply shows of the store. */
enum history_outcome {
	HISTORY_DEFINITE, /* it took effect, or saw what it shows, between its call and return */
	HISTORY_INDETERMINATE, /* it may take effect at any time after its call, or never */
	HISTORY_NO_EFFECT,     /* it changed nothing and shows nothing */
};

/*
 * Of every status, and of open calls: KV_OK, KV_NOKEY and KV_VERSION are definite; KV_MAYBE, open
 * and what libkv never returns (KV_STALE, KV_FALSE_RETRY, KV_EPOCH) leave a write open; with any
 * other a write did not happen (kv/kv.h). A Get or check without a reply shows nothing; KV_UNMET
 * with a version is definite, of a check.
 */
enum history_outcome history_outcome(const struct history_call *call);

/* Whether it may change its key, or the end of it. */
bool history_is_write(enum history_op op);

/* Whether it sends a value. */
bool history_has_value(const struct history_call *call);

/* "get", "put", ...; "at", "exists", ... */
const char *history_op_name(enum history_op op);
const char *history_test_name(enum history_test test);

/*
 * The call as one line with its newline in fresh memory, to be freed with free(); *size is its
 * length. NULL: no memory.
 */
char *history_line(const struct history_call *call, size_t *size);

#endif

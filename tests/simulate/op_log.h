/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OP_LOG_H
#define OP_LOG_H

/*
 * op_log.h - the log of client operations with their replies: operations are made through here and
 * checked at the end. Each has two moments, its call and its return, and no two moments are equal;
 * an operation of a client that dies never returns.
 *
 * The locks' own operations are in it, too: their kv_get(), kv_put() and kv_txn() are linked to
 * these.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/kv.h>

#include "history_record.h"
#include "sim_network.h"

enum op_kind { OP_GET, OP_PUT, OP_APPEND, OP_DELETE, OP_TOUCH, OP_CHECK };

enum { OP_KEY_MAX = 16, OP_CHANGES_MAX = 8 /* of a transaction */ };

/* Of a transaction, and of a page of keys, there is one for each part, with the same moments. */
struct op {
	unsigned worker;
	enum op_kind kind;
	unsigned part; /* from 1; 0: none */
	enum history_test test;
	uint64_t ttl_ms;
	bool is_open; /* not returned */
	enum kv_status status;
	char key[OP_KEY_MAX]; /* text */
	uint8_t *value;	      /* written; owned */
	size_t value_size;
	uint64_t expected;
	uint64_t version;
	uint8_t *seen; /* what a Get showed, or the old value; owned */
	size_t seen_size;
	uint64_t seen_version;
	uint64_t called;
	uint64_t returned;
	uint64_t first_generation; /* of the server, when it was called: its first since ... */
	uint64_t last_generation;  /* ... and when it returned, or at the end */
	uint64_t heard_generation; /* whose answer decided it; 0: none did */
};

struct op_log;

struct op_log *op_log_new(void);
void op_log_free(struct op_log *op_log);
/* Where the calls of the world go from now on; `generation` tells how many servers there were.
 * NULL: nowhere. */
void op_log_set(struct op_log *op_log, uint64_t (*generation)(void *context), void *context);

size_t op_log_count(const struct op_log *op_log);
const struct op *op_log_at(const struct op_log *op_log, size_t index);
/* Calls that never returned end with the generation that there is now. */
void op_log_end(struct op_log *op_log);
/* The last one of the running task. */
const struct op *op_log_last(void);

/* The generation of the server that showed or made this version of the key in the worker's last
   such call; 0: none did. */
uint64_t op_log_life_of_version(const char *key, unsigned worker, uint64_t version);

/* The caller of a task's operations: the task's context begins with it. */
struct actor {
	unsigned worker;
	const struct host *host;
};

/* A moment, later than all before it. */
uint64_t op_log_moment(void);

/* As kv_get(), kv_put(), kv_append(), ... `old` is not NULL. Keys are text. */
enum kv_status op_get(struct kv_client *client, const char *key, struct kv_value *value);
enum kv_status op_put(struct kv_client *client, const char *key, struct kv_bytes value,
		      uint64_t expected, uint64_t *version);
enum kv_status op_append(struct kv_client *client, const char *key, struct kv_bytes value,
			 uint64_t expected, struct kv_value *old, uint64_t *version);
enum kv_status op_delete(struct kv_client *client, const char *key, uint64_t expected,
			 uint64_t *version);
enum kv_status op_txn(struct kv_client *client, struct kv_txn *txn);

/*
 * A page of keys of two bytes that begin with `prefix`, as a check of each of `keys`, which are
 * NULL- terminated and in order: at the version shown, or missing. *position as kv_list() tells it.
 */
enum kv_status op_list(struct kv_client *client, const char *prefix, const char *after,
		       size_t limit, const char *const *keys, uint64_t *position);

/*
 * The running task has learnt, by a call that began at that moment and ends now, that all of `keys`
 * (NULL-terminated) were at these versions at one point in time; 0: missing.
 */
void op_log_copy(const char *const *keys, const uint64_t *versions, uint64_t called);

#endif

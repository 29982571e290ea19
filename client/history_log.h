/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_LOG_H
#define HISTORY_LOG_H

/*
 * history_log.h - the history file of a handle (history_record.h), for kvcheck(1). Safe to use from
 * many threads; threads and processes may share the file, for each note is one write(2) in append
 * mode.
 *
 * A write is noted before it is sent, and again with its reply: if the process is killed in
 * between, an open call remains. A Get is noted with its reply only. A history must not lack a
 * write, or it would accuse the store: a write that cannot be noted beforehand is not sent. A reply
 * that cannot be noted leaves an open call, a Get none; both are no more than unused evidence.
 */

#include <stdbool.h>

#include <kv/kv.h>

#include "history_record.h"

struct history_log;

/*
 * Opens the file, or makes it, readable by its owner. KV_INVALID: it cannot be opened, or is a
 * pipe, a directory or a block device; errno says why. KV_NOMEM.
 */
enum kv_status history_log_open(const char *path, struct history_log **log);

/*
 * `is_child`: this process was forked off the owner's. It may have another file under the number of
 * the descriptor, so that stays open there until exec or exit. NULL does nothing.
 */
void history_log_close(struct history_log *log, bool is_child);

/*
 * Before the call, of `count` parts: sets their client, boot and call_ns, and notes a write, all
 * parts in one write(2). Returns KV_OK, or the status of a call that must not be sent.
 */
enum kv_status history_log_begin(struct history_log *log, struct history_call *parts, size_t count);

/* After the call: `parts` have their status, and on KV_OK what was read. Sets return_ns. */
void history_log_end(struct history_log *log, struct history_call *parts, size_t count);

/* A lock is held from now on; one that cannot be noted is left out. Returns its call_ns. */
uint64_t history_log_hold(struct history_log *log, struct kv_bytes name, uint64_t token);

/* The lock was held since `began`, the call_ns of that hold, until late_ms ago. */
void history_log_hold_end(struct history_log *log, struct kv_bytes name, uint64_t token,
			  uint64_t began, uint64_t late_ms);

/* The errno of the first note that was lost; 0: none was. */
int history_log_error(const struct history_log *log);

#endif

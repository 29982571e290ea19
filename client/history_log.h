/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RECORDER_H
#define RECORDER_H

/*
 * recorder.h - writes each call of a handle into a history (history_call.h), for kvcheck(1).
 *
 * A write is noted before it is sent, and again with its answer: if the process is killed in
 * between, an open call remains. A Get is noted with its answer only. Each note is one write(2) to
 * a file opened for appending, so processes and threads may share the file.
 *
 * A history must not lack a write, or it would accuse the store: a write that cannot be noted
 * beforehand is not sent. An answer that cannot be noted leaves an open call, a Get none; both are
 * no more than unused evidence.
 */

#include <stdatomic.h>

#include <kv/kv.h>

#include "history_record.h"

struct recorder;

/*
 * Opens or makes the file, readable by its owner. `path` NULL: *recorder is NULL, and records
 * nothing. KV_INVALID: it cannot be opened; errno says why. KV_NOMEM.
 */
enum kv_status history_log_open(const char *path, struct recorder **recorder);
void history_log_close(struct recorder *recorder);

/*
 * Before the call: sets its client and call_ns, and notes a write. KV_OK; else the call must not
 * be sent, and this is its status.
 */
enum kv_status history_log_begin(struct recorder *recorder, struct history_call *call);

/* After the call: `call` has its status, and on KV_OK what was got. Sets return_ns. */
void history_log_end(struct recorder *recorder, struct history_call *call);

/* Why notes were lost, as an errno; 0: none was. */
int history_log_error(const struct recorder *recorder);

#endif

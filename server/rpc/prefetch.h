/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PREFETCH_H
#define PREFETCH_H

/*
 * prefetch.h - prefetches hash-table lines and entries for the keys of pipelined calls, before the
 * first of them runs.
 *
 * It parses only the common header layout and never rejects a call: a wrong guess wastes a
 * prefetch, nothing else.
 */

#include <stdbool.h>
#include <stddef.h>

#include "core/service.h"
#include "core/store.h"

/*
 * Looks at the records at the beginning of a stream's bytes, marks included, and writes the keys
 * that Gets, Puts and Appends name to `keys`: they lie in `bytes`. Returns how many, and in *end
 * how many bytes it looked at: the next records are behind them.
 */
unsigned prefetch_keys(struct kv_bytes bytes, struct kv_bytes keys[STORE_PREFETCH_MAX],
		       size_t *end);

/* The same for a record that came alone. Returns false if it did not, or names no key. */
bool prefetch_key(struct kv_bytes bytes, struct kv_bytes *key);

/*
 * Fetches the memory for the calls at the beginning of these bytes, if there is more than one.
 * Returns for how many bytes: before the calls behind them are run, it should be called again.
 */
size_t prefetch_records(const struct service *service, const void *bytes, size_t size);

#endif

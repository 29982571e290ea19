/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FORESIGHT_H
#define FORESIGHT_H

/*
 * foresight.h - the keys of calls that came together, read before the first of them runs, so that
 * the memory for all of them can be fetched at the same time.
 *
 * It looks at calls of the usual form only, believes nothing, and refuses nothing: what it finds is
 * a guess that costs a little time if it is wrong.
 */

#include <stdbool.h>
#include <stddef.h>

#include "core/service.h"
#include "core/store.h"

/*
 * Looks at the records at the beginning of a stream's bytes, marks included, and writes the keys
 * that Gets, Puts and Appends name to `keys`: they lie in `bytes`. Answers how many, and in *end
 * how many bytes it looked at: the next records are behind them.
 */
unsigned prefetch_keys(struct kv_bytes bytes, struct kv_bytes keys[STORE_PREFETCH_MAX],
			size_t *end);

/* The same of a record that came alone. False: it did not, or names no key. */
bool prefetch_key(struct kv_bytes bytes, struct kv_bytes *key);

/*
 * Fetches the memory for the calls at the beginning of these bytes, if there is more than one.
 * Answers for how many bytes: before the calls behind them are run, it should be called again.
 */
size_t prefetch_records(const struct service *service, const void *bytes, size_t size);

#endif

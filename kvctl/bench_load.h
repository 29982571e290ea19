/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

/*
 * bench_load.h - Load on a server from threads that call libkv, and the latencies of its replies.
 *
 * A thread makes one call at a time. Without a rate it makes the next when the one before is
 * answered; with a rate its calls are due at even distances, and a latency begins when the call was
 * due: a server that stalls is charged with all calls that were due meanwhile.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "histogram.h"
#include "workload.h"

enum { LOAD_PREFIX_MAX = KV_KEY_MAX - WORKLOAD_DIGITS };

/* Laid out by the caller, all zero but for what is asked of it; load_free() frees what it holds. */
struct load {
	struct workload workload;
	const char *prefix; /* of all keys; at most LOAD_PREFIX_MAX bytes */
	struct kv_bytes value;
	unsigned threads;
	unsigned duration_ms;
	double rate; /* calls a second, all together; 0: as many as are answered */

	struct load_thread *members; /* owned */
	_Atomic uint64_t answered;   /* so far, for progress; what fills included while it fills */
	_Atomic uint64_t next_key;   /* of filling */
	_Atomic bool is_over;	     /* a call failed */
	double begin_ms, end_ms;     /* of what was measured */
	uint64_t conflicts; /* Puts of WORK_MODIFY that came too late; they count as done */
	struct histogram *latencies; /* owned; WORKS of them, in nanoseconds */

	/* The first call that failed. */
	_Atomic bool has_failed;
	enum kv_status status;
	struct kv_client *failed_client;
};

/*
 * Starts the threads; each uses its handle among `clients` (threads of them; the same one more than
 * once is fine). If `fills`, they write each key once; else they make calls for duration_ms. False:
 * no memory, or no more threads; load_wait() and load_free() all the same.
 */
bool load_start(struct load *load, struct kv_client *const clients[], bool fills);

/* Whether all threads are done. Waits for that up to wait_ms. */
bool load_is_done(struct load *load, unsigned wait_ms);

/* Waits for all threads. True: every call was answered; `latencies` and `conflicts` are complete.
 */
bool load_wait(struct load *load);

void load_free(struct load *load);

#endif
